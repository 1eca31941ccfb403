"""scikit-learn's own checks, and the places where estimators are used."""

import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from small_models import POINTS, quick

import magnitude_ae as mag

plan = mag.BurnIn(n_burn_in_epochs=2)
ESTIMATORS = [mag.MagnitudeAutoencoder(max_epochs=2, strategy=plan, progress=False)]
if os.environ.get("MAGNITUDE_AE_ALL_CHECKS"):  # six minutes: 800 epochs in each of a hundred fits
    ESTIMATORS.append(mag.MagnitudeAutoencoder())


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn(estimator, check):
    "Every check there is; none is expected to fail."
    check(estimator)


ARRAY_API = """
import magnitude_ae as mag
from sklearn.utils.estimator_checks import estimator_checks_generator

model = mag.MagnitudeAutoencoder(max_epochs=2, strategy=mag.Joint(2), progress=False)
checks = list(estimator_checks_generator(model))
checks = [(estimator, check) for estimator, check in checks if "array_api" in check.func.__name__]
for estimator, check in checks:
    check(estimator)
print(len(checks))
"""


def test_scikit_learn_with_the_array_api():
    "One check is skipped unless SciPy is told at its first import that array namespaces may come."
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-c", ARRAY_API]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


# ---- score


@pytest.fixture(scope="module")
def model():
    return quick(scale=0.7, weighting_coefficient=3.0).fit(POINTS)


KINDS = {"NumPy": np.asarray, "torch": torch.from_numpy, "pandas": pd.DataFrame}


@pytest.mark.parametrize("kind", KINDS)
def test_score_is_the_mean_of_two_numbers(kind, model):
    new = np.random.default_rng(1).standard_normal((25, 3))
    latent = model.transform(new)
    rho = np.corrcoef(mag.weighting(new, 0.7), mag.weighting(latent, 0.7))[0, 1]
    back = r2_score(new, model.inverse_transform(latent), multioutput="variance_weighted")
    score = model.score(KINDS[kind](new.copy()))
    assert type(score) is float
    assert score == pytest.approx((rho + back) / 2, rel=1e-9)


def identity():
    "A network that keeps everything: encoder and decoder are the identity."
    layers = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    for layer in layers:
        torch.nn.init.eye_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return layers


class OnePlace(torch.nn.Module):
    "An encoder that sends every point to one place."

    def forward(self, points):
        return 0 * points


def test_scores_of_a_perfect_and_of_a_useless_network():
    settings = {"strategy": mag.Joint(1), "learning_rate": 1e-12}
    points = POINTS[:, :2]
    perfect = quick(architecture=identity(), **settings).fit(points)
    assert perfect.score(points) == pytest.approx(1, abs=1e-6)
    useless = (OnePlace(), torch.nn.Linear(2, 2, bias=False))
    flat = quick(architecture=useless, **settings).fit(points)
    # no variance comes back, and no weighting agrees
    assert flat.score(points) == pytest.approx(0, abs=1e-6)


def test_score_wants_three_points(model):
    with pytest.raises(ValueError, match=r"points has 2 row\(s\); a score needs at least three"):
        model.score(POINTS[:2])
    assert model.score(POINTS[:3]) <= 1


def test_grid_search_by_score_finds_the_better_model():
    "One candidate is hardly trained at all; the score must see it."
    grid = {"learning_rate": [1e-6, 3e-2]}
    search = GridSearchCV(quick(strategy=mag.Joint(), max_epochs=60), grid, cv=2).fit(POINTS)
    assert search.best_params_ == {"learning_rate": 3e-2}
    assert search.best_estimator_.score(POINTS) > 0.5
    low, high = search.cv_results_["mean_test_score"]
    assert np.isfinite([low, high]).all()
    assert high > low + 0.3


def test_the_score_does_not_depend_on_units():
    "In other units, with λ in them, the same model has the same score."
    scores = []
    for unit in (1.0, 1024.0):
        in_unit = {"scale": 1 / unit, "weighting_coefficient": unit**2}
        fitted = quick(strategy=mag.Joint.report(5), **in_unit).fit(POINTS * unit)
        scores.append(fitted.score(POINTS * unit))
    assert scores[0] == pytest.approx(scores[1], abs=0.02)  # Adam's ε does not scale


# ---- where estimators go


def test_grid_search_in_a_pipeline_over_processes():
    reduce = quick(strategy=mag.Joint(3), max_epochs=None)
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", reduce)])
    grid = {
        "reduce__weighting_coefficient": [1.0, 20.0],
        "reduce__strategy": [mag.Joint(2), mag.BurnIn(1, joint=mag.Joint(2))],
    }
    here, there = (
        GridSearchCV(pipeline, grid, cv=2, n_jobs=n, error_score="raise").fit(POINTS)
        for n in (1, 2)
    )
    scores = [search.cv_results_["mean_test_score"] for search in (here, there)]
    np.testing.assert_allclose(*scores, atol=0.05)
    assert there.best_estimator_.transform(POINTS).shape == (40, 2)


def test_cross_val_score():
    assert np.isfinite(cross_val_score(quick(), POINTS, cv=2)).all()


def test_names_go_through_a_pipeline():
    frame = pd.DataFrame(POINTS, columns=["x", "y", "z"], index=np.arange(40) + 100)
    pipeline = make_pipeline(StandardScaler(), quick()).set_output(transform="pandas")
    names = ["magnitudeautoencoder0", "magnitudeautoencoder1"]
    for answer in (pipeline.fit_transform(frame), pipeline.transform(frame)):
        assert list(answer.columns) == names
        assert (answer.index == frame.index).all()
    assert list(pipeline.get_feature_names_out()) == names
    with pytest.raises(ValueError, match="feature names"):
        pipeline[1].transform(frame.rename(columns={"x": "other"}))


@pytest.mark.parametrize("store", ["pickle", "joblib"])
def test_stored_and_restored(store, tmp_path):
    callbacks = [
        mag.EarlyStopping(2),
        mag.Snapshots(1),
        mag.Checkpoint(tmp_path / "c"),
        mag.LogFile(tmp_path / "log.csv"),
    ]
    model = quick(callbacks=callbacks, solver=mag.LU()).fit(POINTS)
    if store == "joblib":
        joblib.dump(model, tmp_path / "model.joblib")
        twin = joblib.load(tmp_path / "model.joblib")
    else:
        twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.transform(POINTS), model.transform(POINTS))
    assert twin.get_params() == model.get_params()
    assert list(twin.notes_["snapshots"]) == [1, 2, 3, 4, 5]


def test_clones_share_nothing():
    model = quick(callbacks=[mag.Snapshots(2)]).fit(POINTS)
    twin = clone(model)
    assert not hasattr(twin, "module_")
    assert twin.get_params()["callbacks"] == model.callbacks
    np.testing.assert_array_equal(twin.fit_transform(POINTS), model.embedding_)


# ---- words that scikit-learn's users look for


@pytest.mark.parametrize(
    "points, error, ours, theirs",
    [
        (POINTS + 1j, (TypeError, ValueError), "points is complex", "Complex data not supported"),
        (
            np.array([[{"a": 1}, 2.0]], dtype=object),
            (TypeError, ValueError),
            "points holds something that is not a number",
            "argument must be a string or a.* number, not 'dict'",
        ),
        (POINTS[:, 0], ValueError, r"pass points.reshape\(-1, 1\)", "Reshape your data"),
        (
            np.empty((5, 0)),
            ValueError,
            "points is empty",
            r"0 feature\(s\) \(shape=\(5, 0\)\) while a minimum of 1 is required",
        ),
        (POINTS[:1], ValueError, "points has a single row", "1 sample"),
    ],
    ids=["complex", "dict", "one dimension", "no features", "one row"],
)
def test_messages_say_it_twice(points, error, ours, theirs):
    for kind in error if isinstance(error, tuple) else (error,):
        with pytest.raises(kind, match=f"{ours}.*{theirs}"):
            quick().fit(points)
