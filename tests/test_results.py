"""What the studies' full runs stored, held against the configurations of today.

And every claim of the studies that rests on stored numbers, with its bounds.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import magnitude_ae as mag
from magnitude_ae.reproduce import (
    SHAPES,
    STRATEGIES,
    TASKS,
    TRACE,
    Baselines,
    Experiment,
    completed,
    made_by,
    parameter_experiments,
    stored,
)

root = Path(__file__).parent.parent
folder = root / "results" / "experiments"
seeds = range(5)
others = ("PCA", "t-SNE", "UMAP")


# ---- what each study needs


def study_20():
    "Shapes: the default and the report's recipe, other methods, and the ball from λ = 0 to 300."
    for shape in SHAPES:
        for seed in seeds:
            yield Experiment(shape, "default", seed)
            yield Experiment(shape, "report", seed)
            yield Baselines(shape, seed, methods=others)
    for coefficient in (0.0, 3.0, 10.0, 30.0, 100.0, 300.0):
        for seed in seeds:
            yield Experiment("ball", seed=seed, weighting_coefficient=coefficient)


def study_21():
    "Parameters: λ and t on the Swiss roll."
    for seed in seeds:
        for part in parameter_experiments(seed):
            yield from part


def study_23():
    "Strategies, on shapes and digits."
    for task in ("Swiss roll", "ball"):
        for recipe in STRATEGIES:
            for seed in seeds:
                yield Experiment(task, recipe, seed)
    for recipe in STRATEGIES:
        if recipe != "falling λ":
            yield Experiment("MNIST", recipe, 0)


def study_24():
    "MNIST: the default, the report's recipe, other methods, and a scan over t on fewer points."
    for seed in range(3):
        yield Experiment("MNIST", seed=seed)
        yield Baselines("MNIST", seed, methods=others)
    for seed in range(2):
        yield Experiment("MNIST", "report", seed)
    for scale in (0.1, 0.2, 0.4, 0.6, 0.8):
        yield Experiment("MNIST", scale=scale, n_points=1000, max_epochs=50)


STUDIES = {
    "20_shapes": study_20,
    "21_parameters": study_21,
    "23_strategies": study_23,
    "24_mnist": study_24,
}
NEEDED = {name: list(experiments()) for name, experiments in STUDIES.items()}
EACH_NEEDED = [
    pytest.param(name, each, id=f"{name[:2]}-{each.stem}")
    for name, needed in NEEDED.items()
    for each in needed
]


@pytest.mark.parametrize("study, experiment", EACH_NEEDED)
def test_the_study_is_stored_as_it_would_be_run_today(study, experiment):
    found = stored(experiment, folder)
    assert found is not None, f"stale or missing: run nbs/{study}.ipynb in full"


def test_no_study_names_an_experiment_twice():
    for needed in NEEDED.values():
        assert len({experiment.stem for experiment in needed}) == len(needed)


# ---- each file


paths = sorted(folder.glob("*.json"))
each_path = pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


def experiment_of(result):
    "The experiment that a stored result says it is."
    fields = dict(completed(result["configuration"])["experiment"])
    kind = {"Experiment": Experiment, "Baselines": Baselines}[fields.pop("kind")]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return kind(**values)


def finite(table):
    return all(np.isfinite(value) for row in table.values() for value in row.values())


@each_path
def test_a_stored_result_says_how_it_was_made(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    experiment = experiment_of(result)
    assert completed(result["configuration"]) == experiment.configuration()
    assert path.stem == experiment.stem
    assert {"magnitude_ae", "torch", "numpy", "python"} <= set(result["versions"])
    assert result["device"]
    assert 0 < result["fit_seconds"] <= result["seconds"] + 0.1
    assert finite(result["table"])
    assert finite(result.get("held_out", {}))
    for row in result["table"].values():
        assert -1 <= row["rho"] <= row["rho at best scale"] + 0.01 <= 1.01
        assert 0 <= row["trustworthiness"] <= 1
        assert 0 <= row["continuity"] <= 1


@each_path
def test_a_stored_result_says_which_version_made_it(path, record_property):
    "0.2 draws other random numbers than 0.1, so the same seed is another training."
    result = json.loads(path.read_text(encoding="utf-8"))
    record_property("version", result["version"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", result["version"])
    assert result["version"] == result["versions"]["magnitude_ae"]


@pytest.mark.parametrize("path", sorted((root / "results" / "benchmarks").glob("*.json")))
def test_a_stored_benchmark_says_which_version_made_it(path):
    assert re.fullmatch(r"\d+\.\d+\.\d+", json.loads(path.read_text())["version"])


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_of_one_version(study):
    "Numbers of two versions are not compared with each other in one table."
    results = [stored(experiment, folder)[0] for experiment in NEEDED[study]]
    assert len({result["version"] for result in results}) == 1, made_by(results)


@each_path
def test_the_arrays_beside_it_are_whole(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    experiment = experiment_of(result)
    n = experiment.n_points or TASKS[experiment.task].n_points
    with np.load(path.with_suffix(".npz")) as file:
        arrays = {name: file[name] for name in file.files}
    for method in result["table"]:
        assert arrays[method].shape == (n, 2)
        assert np.isfinite(arrays[method]).all()
    if isinstance(experiment, Baselines):
        assert set(arrays) == set(experiment.methods) == set(result["table"])
        return
    plan = result["configuration"]["phases"]
    order = plan["order"] or range(len(plan["phases"]))
    n_epochs = sum(plan["phases"][k]["n_epochs"] for k in order)
    for name in ("reconstruction_loss", "weighting_loss"):
        assert len(arrays[f"history {name}"]) == n_epochs, "the whole plan was carried out"
    assert len({arrays[f"trace {name}"].shape for name in TRACE}) == 1
    assert 0 < arrays["trace epoch"][-1] <= n_epochs
    assert arrays["weighting"].shape == (n,)
    assert (np.diff(arrays["trace seconds"]) >= 0).all()


def test_every_array_belongs_to_a_result():
    assert {path.stem for path in folder.glob("*.npz")} == {path.stem for path in paths}
    assert not [path.name for path in folder.glob(".*")]


def test_a_changed_configuration_is_not_found():
    assert stored(Experiment("ball", max_epochs=7), folder) is None


AGAIN = [
    *(Experiment(shape, seed=seed) for seed, shape in enumerate(SHAPES)),
    Baselines("ball", 1, methods=others),
    *parameter_experiments(0)[1][7:10:2],
]


@pytest.mark.parametrize("experiment", AGAIN, ids=lambda experiment: experiment.stem)
def test_stored_numbers_come_out_of_stored_arrays(experiment):
    "Every ρ of the table, computed afresh from the stored embedding and the points of the seed."
    result, arrays = stored(experiment, folder)
    points = Experiment(experiment.task, seed=experiment.seed).data()[0]
    scale = getattr(experiment, "scale", None) or TASKS[experiment.task].scale
    for method, row in result["table"].items():
        again = mag.boundary_correlation(points, arrays[method], scale)
        assert abs(again - row["rho"]) < 1e-3  # embeddings are stored in float32


# ---- the README


@pytest.mark.parametrize("shape", SHAPES)
def test_the_readme_quotes_what_is_stored(shape):
    readme = (root / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {shape} \|(.+)\|$", readme, re.MULTILINE)
    assert row, f"README.md has no row for {shape}"
    quoted = float(row[1].split("|")[-1].split("±")[0])
    results = [stored(Experiment(shape, seed=seed), folder)[0] for seed in seeds]
    mean = np.mean([result["table"]["Magnitude AE"]["rho"] for result in results])
    assert abs(quoted - mean) < 0.0006


def test_the_readme_tells_how_fast_the_slider_is():
    "Some 30 ms for a picture that was there before, a third of a second for a new one."
    path = root / "results" / "benchmarks" / "slider.json"
    medians = json.loads(path.read_text())["median"]
    assert max(medians["known"].values()) < 40
    assert max(medians["new"].values()) < 345
