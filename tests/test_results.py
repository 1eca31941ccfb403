"""What the studies' full runs stored, held against the configurations of today and against the numbers in the README."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from magnitude_ae.reproduce import SHAPES, ShapeExperiment, configuration, points_of, stored

root = Path(__file__).parent.parent
folder = root / "results" / "shapes"
seeds = range(5)
study = [ShapeExperiment(shape, seed=seed, recipe=recipe) for shape in SHAPES for seed in seeds for recipe in ("default", "report")]
study += [ShapeExperiment("ball", seed=seed, weighting_coefficient=coefficient) for seed in seeds for coefficient in (10.0, 30.0, 100.0)]


@pytest.mark.parametrize("experiment", study, ids=str)
def test_the_study_is_stored_as_it_would_be_run_today(experiment):
    assert stored(experiment, folder) is not None, "stale or missing: run nbs/20_shapes.ipynb in full"


@pytest.mark.parametrize("path", sorted(folder.glob("*.json")), ids=lambda path: path.stem)
def test_a_stored_result_says_how_it_was_made(path):
    result = json.loads(path.read_text())
    experiment = ShapeExperiment(**result["configuration"]["experiment"])
    assert result["configuration"] == configuration(experiment)
    assert {"table", "fit_seconds", "versions", "device"} <= set(result)
    arrays = np.load(path.with_suffix(".npz"))
    assert arrays["Magnitude AE"].shape == (experiment.n_points, 2)


def test_a_changed_configuration_is_not_found():
    assert stored(ShapeExperiment("ball", seed=0, max_epochs=7), folder) is None


def test_stored_numbers_come_out_of_stored_arrays():
    """The table's ρ, computed afresh from the stored embedding and the points of the seed."""
    from magnitude_ae import evaluation

    experiment = ShapeExperiment("ball", seed=0)
    result, arrays = stored(experiment, folder)
    again = evaluation.boundary_correlation(points_of(experiment), arrays["Magnitude AE"], experiment.scale)
    assert abs(again - result["table"]["Magnitude AE"]["rho"]) < 1e-3  # embeddings are stored in float32


def mean_rho(shape: str, method: str) -> float:
    return float(np.mean([stored(ShapeExperiment(shape, seed=seed), folder)[0]["table"][method]["rho"] for seed in seeds]))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_readme_quotes_what_is_stored(shape):
    row = re.search(rf"^\| {shape} \|(.+)\|$", (root / "README.md").read_text(), re.MULTILINE)
    assert row, f"README.md has no row for {shape}"
    quoted = float(row[1].split("|")[-1].split("±")[0])
    assert abs(quoted - mean_rho(shape, "Magnitude AE")) < 0.0006
