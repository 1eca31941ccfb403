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
    parameter_experiments,
    stored,
)

root = Path(__file__).parent.parent
folder = root / "results" / "experiments"
seeds = range(5)
others = ("PCA", "t-SNE", "UMAP")
OF_0_1 = tuple(recipe for recipe in STRATEGIES if recipe != "default")


# ---- what each study needs


def study_20():
    "Shapes: three recipes, other methods, and the ball from λ = 0 to 300 with full batches."
    for shape in SHAPES:
        for seed in seeds:
            yield Experiment(shape, "default", seed)
            yield Experiment(shape, "burn-in", seed)
            yield Experiment(shape, "report", seed)
            yield Baselines(shape, seed, methods=others)
    for coefficient in (0.0, 3.0, 10.0, 30.0, 100.0, 300.0):
        for seed in seeds:
            yield Experiment("ball", "burn-in", seed, weighting_coefficient=coefficient)


def study_21():
    "Parameters: λ and t on the Swiss roll."
    for seed in seeds:
        for part in parameter_experiments(seed):
            yield from part


def study_23():
    "Strategies, on shapes and digits."
    for task in ("Swiss roll", "ball"):
        for recipe in OF_0_1:
            for seed in seeds:
                yield Experiment(task, recipe, seed)
    for recipe in OF_0_1:
        if recipe != "falling λ":
            yield Experiment("MNIST", recipe, 0)
    yield Experiment("Swiss roll", "cells", n_points=4000)
    yield Experiment("Swiss roll", "burn-in", n_points=4000, max_epochs=150)


def study_24():
    "MNIST: 0.1's default, the report's recipe, other methods, and a scan over t on fewer points."
    for seed in range(3):
        yield Experiment("MNIST", "burn-in", seed)
        yield Baselines("MNIST", seed, methods=others)
    for seed in range(2):
        yield Experiment("MNIST", "report", seed)
    for scale in (0.1, 0.2, 0.4, 0.6, 0.8):
        yield Experiment("MNIST", "burn-in", scale=scale, n_points=1000, max_epochs=50)


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
def test_a_recipe_is_of_one_version_in_each_study(study):
    "And 20_shapes, which compares recipes of two versions, says so."
    versions = {}
    for experiment in NEEDED[study]:
        result, _ = stored(experiment, folder)
        recipe = getattr(experiment, "recipe", "other methods")
        versions.setdefault(recipe, set()).add(result["version"])
    assert all(len(found) == 1 for found in versions.values()), versions
    if len(set.union(*versions.values())) > 1:
        text = (root / "nbs" / f"{study}.ipynb").read_text(encoding="utf-8")
        assert re.search(r"results: \d+ by version \S+, \d+ by version", text)


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
    *(Experiment(shape, "burn-in", seed) for seed, shape in enumerate(SHAPES)),
    *(Experiment(shape, "default", seed) for seed, shape in enumerate(SHAPES)),
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


# ---- what the studies conclude from them

NEW, TRAINED = "new, within the whole", "trained, within the whole"


def values(measure, task, recipe="burn-in", of="Magnitude AE", n_seeds=5, **changes):
    "A measure of every seed: of a method, or of new or trained points within the whole."
    found = []
    for seed in range(n_seeds):
        if of in others:
            result, _ = stored(Baselines(task, seed, methods=others), folder)
        else:
            result, _ = stored(Experiment(task, recipe, seed, **changes), folder)
        found.append((result["table"] | result.get("held_out", {}))[of][measure])
    return np.array(found)


def mean(*args, **options):
    return values(*args, **options).mean()


LEAST = {"Swiss roll": 0.99, "sphere": 0.985, "ball": 0.60}  # ρ of the points trained on


@pytest.mark.parametrize("shape", SHAPES)
def test_the_burn_in_exceeds_the_report_and_its_recipe(shape):
    rho = mean("rho", shape)
    assert rho > LEAST[shape] > TASKS[shape].report_rho["Magnitude AE"]
    by_report = mean("rho", shape, "report")
    assert TASKS[shape].report_rho["Magnitude AE"] - 0.01 < by_report < rho
    trust = mean("trustworthiness", shape)
    assert trust > mean("trustworthiness", shape, "report") - 0.002
    assert mean("reconstruction error", shape) < mean("reconstruction error", shape, "report")


REACHED = {"Swiss roll": (0.96, 0.99), "sphere": (0.9, 0.985), "ball": (0.6, 0.95)}


@pytest.mark.parametrize("shape", SHAPES)
def test_random_subsets_carry_over_to_new_points(shape):
    "With every seed ahead of full batches in ρ of new points, and ahead of the report in-sample."
    rho, trust = REACHED[shape]
    new = values("rho", shape, "default", NEW)
    assert new.mean() > rho
    for recipe in ("burn-in", "report"):
        assert (new > values("rho", shape, recipe, NEW)).all()
    assert mean("trustworthiness", shape, "default", NEW) > trust
    assert mean("rho", shape, "default") > TASKS[shape].report_rho["Magnitude AE"]


def test_no_lambda_of_full_batches_brings_new_points_of_the_ball_as_far():
    steps = (0.0, 3.0, 10.0, None, 30.0, 100.0, 300.0)
    by_lambda = [mean("rho", "ball", of=NEW, weighting_coefficient=step) for step in steps]
    assert max(by_lambda) < 0.6 < mean("rho", "ball", "default", NEW)


@pytest.fixture(scope="module")
def boundaries():
    "recipe -> what was read off the flat pictures of the ball, a table for each seed."
    content = json.loads((root / "results" / "boundaries.json").read_text(encoding="utf-8"))
    assert re.fullmatch(r"\d+\.\d+\.\d+", content["version"])
    found = {}
    for run in content["runs"]:
        found.setdefault(run["recipe"], {})[run["seed"]] = run["table"]
    assert all(sorted(tables) == [0, 1, 2] for tables in found.values())
    return found


def test_the_true_boundary_of_new_points_is_read_off_the_default_alone(boundaries):
    def aucs(recipe, row="model"):
        return [table[row]["boundary AUC"] for table in boundaries[recipe].values()]

    assert min(aucs("default", "input")) > 0.98
    assert min(aucs("default")) > 0.9
    assert max(aucs("burn-in") + aucs("report") + aucs("default", "PCA")) < 0.8
    assert max(aucs("default", "λ = 0")) < 0.6


def test_the_judged_trainings_of_the_default_are_the_stored_ones(boundaries):
    for seed, table in boundaries["default"].items():
        row = stored(Experiment("ball", "default", seed), folder)[0]
        assert table["model"]["rho in-sample"] == pytest.approx(
            row["table"]["Magnitude AE"]["rho"], abs=1e-5
        )
        assert table["model"]["rho new"] == pytest.approx(row["held_out"][NEW]["rho"], abs=1e-5)


@pytest.mark.parametrize("method", others)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_other_method_comes_as_near_on_the_points_trained_on(shape, method):
    best = mean("rho at best scale", shape, of=method)
    assert best < min(mean("rho", shape, recipe) for recipe in ("burn-in", "default")) - 0.12


@pytest.mark.parametrize(
    "shape, least, most", [("Swiss roll", 0.9, 1), ("sphere", 0.8, 1), ("ball", 0.4, 0.5)]
)
def test_how_much_of_rho_new_points_keep(shape, least, most):
    assert least < mean("rho", shape, of=NEW) / mean("rho", shape, of=TRAINED) < most


def test_on_the_ball_boundary_is_traded_for_neighbours():
    "Up to λ = 100 ρ rises, at 300 it is lower again; new points gain all the way."
    steps = (0.0, 3.0, 10.0, None, 30.0, 100.0, 300.0)  # None: the recipe's, 20

    def at(measure, of="Magnitude AE"):
        return [mean(measure, "ball", of=of, weighting_coefficient=step) for step in steps]

    rho, new = at("rho"), at("rho", NEW)
    assert (np.diff(rho[:-1]) > 0).all()
    assert rho[-1] < rho[-2]
    assert (np.diff(new) > 0).all()
    assert (np.diff(at("trustworthiness")) < 0).all()
    by_report = mean("rho", "ball", "report", of=NEW)
    assert new[3] < by_report < new[5], "above it only where λ is 100 or more"


def roll(measure, of="Magnitude AE", **changes):
    "A measure of the shorter trainings on the Swiss roll, seed by seed."
    return values(measure, "Swiss roll", of=of, max_epochs=300, **changes)


COSTS = (0.0, 1.0, 5.0, 10.0, 15.0, 20.0)


def over_coefficients(measure, of="Magnitude AE"):
    return {c: roll(measure, of, weighting_coefficient=c) for c in COSTS}


def test_what_lambda_costs():
    error, weigh = over_coefficients("reconstruction error"), over_coefficients("weighting loss")
    assert (error[5.0] < error[0.0]).sum() == 4
    assert 0.7 < error[5.0].mean() / error[0.0].mean() < 0.8
    assert error[0.0].max() < 0.0013
    assert all(error[c].mean() > 2 * error[0.0].mean() for c in (10.0, 15.0, 20.0))
    assert (error[10.0] < 0.001).sum() == 2
    assert (error[10.0] > 0.0028).sum() == 3
    means = [weigh[c].mean() for c in COSTS]
    assert (np.diff(means) < 0).all()
    assert weigh[0.0].mean() > 20 * weigh[5.0].mean()
    assert 0.7 < weigh[20.0].mean() / weigh[5.0].mean() < 0.8


def test_what_lambda_gains():
    rho = [found.mean() for found in over_coefficients("rho").values()]
    new = {c: found.mean() for c, found in over_coefficients("rho", NEW).items()}
    trust = over_coefficients("trustworthiness")
    assert (np.diff(rho) > 0).all()
    assert 0.965 < rho[1] < rho[-1] < 0.992
    assert all(0.945 < new[c] < 0.97 for c in COSTS[1:])
    assert max(new, key=new.get) == 5
    assert all(trust[c].mean() > 0.999 for c in COSTS[1:])


SCALES = tuple(2.0**k for k in range(-5, 6))


def test_the_loss_does_not_tell_the_scale():
    losses = {
        t: roll("reconstruction error", scale=t) + 20 * roll("weighting loss", scale=t)
        for t in SCALES
    }
    rho = {t: roll("rho", scale=t) for t in SCALES}
    for seed in seeds:
        assert min(SCALES, key=lambda t: losses[t][seed]) == 32
        assert max(SCALES, key=lambda t: rho[t][seed]) == 16
    assert losses[32].mean() < max(found.mean() for found in losses.values()) / 9
    assert rho[16].mean() > 0.998


def test_the_spread_of_weights_depends_on_the_scale():
    spread, level, missed = {}, {}, {}
    for t in SCALES:
        weights = [
            stored(Experiment("Swiss roll", "burn-in", s, scale=t, max_epochs=300), folder)[1][
                "weighting"
            ]
            for s in seeds
        ]
        each = np.array([np.abs(w - np.median(w)).mean() for w in weights])
        spread[t], level[t] = each.mean(), np.mean(weights)
        missed[t] = (roll("weighting loss", scale=t) / each).mean()
    assert max(spread, key=spread.get) == 4
    assert spread[4] > 9 * spread[32]
    assert spread[32] < 1.01 * min(spread.values())
    assert level[2**-5] < 0.002
    assert spread[2**-5] > 10 * level[2**-5]
    assert min(missed, key=missed.get) in (8, 16)
    assert max(missed[8], missed[16]) < 0.06
    assert missed[2**-5] > 0.75


@pytest.fixture(scope="module")
def as_reported():
    "The trainings literally as in the report, and those with squared differences."
    path = root / "results" / "benchmarks" / "report_recipe.json"
    return json.loads(path.read_text(encoding="utf-8"))["runs"]


def of_recipe(runs, measure, coefficient, t=1.0, shape="Swiss roll", kind=None, recipe="report"):
    "One number for each seed."
    settings = {"weighting_coefficient": coefficient}
    if kind is not None:
        settings["weighting_loss"] = kind
    what = {"recipe": recipe, "shape": shape, "t": t, "settings": settings}
    found = [run for run in runs if all(run[key] == value for key, value in what.items())]
    assert [run["seed"] for run in sorted(found, key=lambda run: run["seed"])] == list(
        range(len(found))
    )
    assert found
    return np.array([run[measure] for run in sorted(found, key=lambda run: run["seed"])])


def test_lambda_by_the_reports_own_recipe(as_reported):
    "The weighting loss falls and ρ rises up to λ = 20; the reconstruction differs by seed."
    coefficients = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)
    error, weigh, rho, new = (
        np.array([of_recipe(as_reported, measure, c) for c in coefficients])
        for measure in ("reconstruction loss", "weighting loss", "rho", "held-out rho")
    )
    assert error.shape == (6, 3)
    assert (np.diff(weigh.mean(1)) < 0).all()
    assert (np.diff(rho.mean(1)) > 0).all()
    assert (np.diff(new.mean(1)) > 0).all()
    assert error.mean(1).argmin() == 5
    assert (error[5] < error[0]).sum() == 2


def test_the_scale_by_the_reports_own_recipe_and_units(as_reported):
    "Of data multiplied by t the total loss is lowest at ½, and grows by reconstruction error."
    error, weigh = (
        np.array([of_recipe(as_reported, measure, 10.0, t) for t in SCALES])
        for measure in ("reconstruction loss", "weighting loss")
    )
    total = error + 10 * weigh
    assert total.shape == (11, 3)
    assert [SCALES[place] for place in total.argmin(0)] == [0.5] * 3
    assert (np.diff(total.mean(1)[5:]) > 0).all()
    assert error.mean(1)[-1] > 0.99 * total.mean(1)[-1]
    assert error.mean(1)[0] < 0.01 * total.mean(1)[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_squared_differences_do_as_well_with_a_larger_lambda(as_reported, shape):
    "By the report's recipe: at ten times the λ, and not at the same."

    def rho(kind, coefficient):
        return of_recipe(as_reported, "rho", coefficient, shape=shape, kind=kind).mean()

    assert rho("l2", 10.0) < rho("l1", 10.0) - 0.05
    assert rho("l2", 100.0) > rho("l1", 10.0) - 0.01


@pytest.fixture(scope="module")
def ablation():
    "The default with one thing changed, at equal time: change, shape, seed -> what came out."
    path = root / "results" / "benchmarks" / "ablation.json"
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    found = {(run["change"], run["shape"], run["seed"]): run for run in runs}
    assert len(found) == len(runs)
    return found


def test_every_change_was_tried_on_what_the_default_was(ablation):
    tried = {}
    for change, shape, seed in ablation:
        tried.setdefault(change, set()).add((shape, seed))
    for places in tried.values():
        assert {("ball", 200), ("ball", 201), ("sphere", 200)} <= places <= tried["default"]


@pytest.mark.parametrize("seed", [200, 201])
def test_what_new_points_of_the_ball_owe_to_subsets_and_lambda(ablation, seed):
    "All points in every step are learned by heart; half the λ keeps less boundary."
    default = ablation["default", "ball", seed]
    by_heart = ablation["all points in every step", "ball", seed]
    half = ablation["λ / 2", "ball", seed]
    assert by_heart["rho in-sample"] > default["rho in-sample"] + 0.03
    assert by_heart["rho new"] < default["rho new"] - 0.2
    assert by_heart["boundary AUC"] < default["boundary AUC"] - 0.1
    assert by_heart["reconstruction error"] > 5 * default["reconstruction error"]
    assert half["rho new"] < default["rho new"] - 0.09
    assert half["boundary AUC"] < default["boundary AUC"] - 0.1
    assert half["trustworthiness (12)"] > default["trustworthiness (12)"]


@pytest.mark.parametrize("task", ["Swiss roll", "ball"])
def test_total_losses_of_the_strategies(task):
    "At λ = 20: joint, then the burn-in, then the report's recipe; taking turns comes last."
    total = {
        recipe: mean("reconstruction error", task, recipe)
        + 20 * mean("weighting loss", task, recipe)
        for recipe in OF_0_1
    }
    assert total["joint"] < total["burn-in"] < total["report"]
    assert max(total, key=total.get) == "predictor-corrector"


def test_what_taking_turns_reaches():
    for task, n_seeds in (("Swiss roll", 5), ("ball", 5), ("MNIST", 1)):
        reached = {
            recipe: mean("rho", task, recipe, n_seeds=n_seeds)
            for recipe in OF_0_1
            if (task, recipe) != ("MNIST", "falling λ")
        }
        assert min(reached, key=reached.get) == "predictor-corrector"
    assert mean("rho", "Swiss roll", "predictor-corrector") > 0.9
    assert mean("rho", "ball", "predictor-corrector") < 0.5 * mean("rho", "ball")


def test_on_the_ball_holes_cost_neighbours():
    trust = mean("trustworthiness", "ball")
    for recipe in ("joint", "falling λ"):
        assert mean("rho", "ball", recipe) > mean("rho", "ball")
        assert mean("trustworthiness", "ball", recipe) < trust


def digits(measure, recipe="burn-in", of="Magnitude AE"):
    return mean(measure, "MNIST", recipe, of=of, n_seeds=3 if recipe == "burn-in" else 2)


def test_digits():
    assert digits("rho") > 0.95
    assert abs(digits("rho", "report") - TASKS["MNIST"].report_rho["Magnitude AE"]) < 0.01
    assert digits("trustworthiness") >= digits("trustworthiness", "report")
    assert digits("reconstruction error") <= digits("reconstruction error", "report")
    best = max(digits("rho at best scale", of=method) for method in others)
    assert digits("rho") - best > 0.3, "on the digits trained on"
    for recipe in ("burn-in", "report"):
        kept = digits("rho", recipe, NEW) / digits("rho", recipe, TRAINED)
        assert 0.7 < kept < 0.9


def test_of_the_scales_tried_the_reports_trains_best():
    rho = {}
    for scale in (0.1, 0.2, 0.4, 0.6, 0.8):
        changes = {"scale": scale, "n_points": 1000, "max_epochs": 50}
        rho[scale] = mean("rho", "MNIST", n_seeds=1, **changes)
    assert max(rho, key=rho.get) == 0.6


# ---- what the study of scaling concludes


@pytest.fixture(scope="module")
def scaling():
    "(cloud, solver, n) -> what was measured."
    text = (root / "results" / "benchmarks" / "scaling.json").read_text()
    items = json.loads(text)["items"]
    assert not [item for item in items if "failed" in item]
    return {(item["cloud"], item["solver"], item["n"]): item for item in items}


def test_how_time_grows(scaling):
    def seconds(cloud, solver, n):
        item = scaling[cloud, solver, n]
        return item["forward"] + item["backward"]

    assert seconds("2-D", "CG", 300_000) < 60
    assert seconds("2-D", "CG", 60_000) < 30
    assert seconds("2-D", "CG", 20_000) < 0.15 * seconds("2-D", "Cholesky", 20_000)
    assert seconds("2-D", "CG, tiles", 60_000) > 4 * seconds("2-D", "CG", 60_000)
    assert seconds("3-D", "CG, tiles", 60_000) > 1.5 * seconds("3-D", "CG", 60_000)
    assert seconds("2-D", "HODLR", 20_000) < 0.6 * seconds("2-D", "Cholesky", 20_000)
    assert seconds("2-D", "HODLR", 1000) > seconds("2-D", "Cholesky", 1000)
    for n in (1000, 4000):
        assert seconds("3-D", "HODLR", n) > 1.5 * seconds("3-D", "Cholesky", n)
    for cloud, solver, n in scaling:
        if (cloud, solver) == ("2-D", "HODLR"):
            assert seconds("2-D", "HODLR", n) > seconds("2-D", "CG", n)
    wide = scaling["784-D", "CG", 30_000]["forward"]
    assert wide < 0.35 * scaling["784-D", "Cholesky", 30_000]["forward"]


def test_how_memory_grows(scaling):
    peak = {
        (solver, n): item["peak_bytes"]
        for (cloud, solver, n), item in scaling.items()
        if cloud == "2-D"
    }
    assert peak["CG", 20_000] < 0.5e9
    assert peak["CG", 60_000] < 1e9
    assert peak["CG, evaluated", 60_000] < peak["CG", 60_000] / 2


def test_residuals(scaling):
    for (_, solver, _), item in scaling.items():
        if solver == "CG":
            assert item["residual"] <= 1e-6
        if solver in ("Cholesky", "HODLR"):
            assert item["residual"] < 3e-6


def test_beside_other_libraries():
    peers = json.loads((root / "results" / "benchmarks" / "peers.json").read_text())
    items = {(item["n"], item["solver"]): item for item in peers["items"] if "seconds" in item}
    ours = {n: items[n, "ours, default"] for n in (1000, 5000, 20_000)}
    assert all(item["residual"] < 1e-10 for item in ours.values())
    assert items[1000, "SciPy, cho_solve"]["seconds"] < ours[1000]["seconds"]
    assert ours[5000]["seconds"] < 0.6 * items[5000, "SciPy, cho_solve"]["seconds"]
    rival = items[20_000, "gpytorch, float32, tol 1e-5"]
    assert ours[20_000]["seconds"] < 0.5 * rival["seconds"]
    for key in ("seconds", "residual"):
        assert items[5000, "ours, HODLR"][key] < items[5000, "george, tol 1e-8"][key]
    for (n, solver), item in items.items():
        if n > 1000 and not solver.startswith(("ours", "SciPy")):
            assert item["residual"] > 1e-10, "no other iterative solver came as far"


# ---- the README


QUOTED = [
    *((shape, recipe, 5) for shape in SHAPES for recipe in ("default", "report")),
    ("MNIST", "burn-in", 3),
    ("MNIST", "report", 2),
]


@pytest.mark.parametrize("task, recipe, n_seeds", QUOTED)
def test_the_readme_quotes_what_is_stored(task, recipe, n_seeds):
    readme = (root / "README.md").read_text(encoding="utf-8")
    names = {"default": "default", "burn-in": "default of 0.1", "report": "the report's method"}
    pattern = rf"^\| {task}[^|]*\| Magnitude AE, {names[recipe]} \|(.+)\|$"
    (row,) = re.findall(pattern, readme, re.MULTILINE)
    said = [cell.split("±") for cell in row.split("|")[-2:]]
    rho = values("rho", task, recipe, n_seeds=n_seeds)
    new = values("rho", task, recipe, NEW, n_seeds)
    for (quoted, spread), found in zip(said, (rho, new), strict=True):
        assert abs(float(quoted) - found.mean()) < 0.0006
        assert abs(float(spread) - found.std(ddof=1)) < 0.0006


def test_the_readme_tells_how_fast_the_slider_is():
    "Some 30 ms for a picture that was there before, a third of a second for a new one."
    path = root / "results" / "benchmarks" / "slider.json"
    medians = json.loads(path.read_text())["median"]
    assert max(medians["known"].values()) < 40
    assert max(medians["new"].values()) < 345
