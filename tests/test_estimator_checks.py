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

import magnitude_ae as mag

POINTS = np.random.default_rng(0).standard_normal((40, 3)) * [3, 2, 0.1]


def quick(**settings):
    return mag.MagnitudeAutoencoder(
        **{
            "scale": 1.0,
            "max_epochs": 3,
            "strategy": mag.BurnIn(n_burn_in_epochs=2, batch_size=15),
            "progress": False,
            "random_state": 0,
            **settings,
        }
    )


ESTIMATORS = [
    mag.MagnitudeAutoencoder(max_epochs=2, strategy=mag.BurnIn(n_burn_in_epochs=2), progress=False)
]
if os.environ.get(
    "MAGNITUDE_AE_ALL_CHECKS"
):  # six minutes: the estimator as it comes, 800 epochs in each of a hundred fits
    ESTIMATORS.append(mag.MagnitudeAutoencoder())


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn(estimator, check):
    "Every check there is; none is expected to fail."
    check(estimator)


ARRAY_API = """
import magnitude_ae as mag
from sklearn.utils.estimator_checks import estimator_checks_generator
checks = [check for check in estimator_checks_generator(mag.MagnitudeAutoencoder(max_epochs=2, strategy=mag.Joint(2), progress=False)) if "array_api" in check[1].func.__name__]
for estimator, check in checks: check(estimator)
print(len(checks))
"""


def test_scikit_learn_with_the_array_api():
    "One check is skipped unless SciPy is told at its first import that array namespaces may come."
    done = subprocess.run(
        [sys.executable, "-c", ARRAY_API],
        capture_output=True,
        text=True,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )
    assert done.returncode == 0 and int(done.stdout) >= 1, done.stderr


# ---- score


@pytest.mark.parametrize(
    "kind", [np.asarray, torch.from_numpy, pd.DataFrame], ids=["NumPy", "torch", "pandas"]
)
def test_score_is_the_mean_of_two_numbers(kind):
    model = quick(scale=0.7, weighting_coefficient=3.0).fit(POINTS)
    new = np.random.default_rng(1).standard_normal((25, 3))
    latent = model.transform(new)
    rho = np.corrcoef(mag.weighting(new, 0.7), mag.weighting(latent, 0.7))[0, 1]
    back = r2_score(new, model.inverse_transform(latent), multioutput="variance_weighted")
    score = model.score(kind(new.copy()))
    assert type(score) is float and score == pytest.approx((rho + back) / 2, rel=1e-9)


def identity():
    "A network that keeps everything: encoder and decoder are the identity."
    layers = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    for layer in layers:
        torch.nn.init.eye_(layer.weight), torch.nn.init.zeros_(layer.bias)
    return layers


class OnePlace(torch.nn.Module):
    "An encoder that sends every point to one place."

    def forward(self, points):
        return 0 * points


def test_scores_of_a_perfect_and_of_a_useless_network():
    settings = {"strategy": mag.Joint(1), "learning_rate": 1e-12}
    perfect = quick(architecture=identity(), **settings).fit(POINTS[:, :2])
    assert perfect.score(POINTS[:, :2]) == pytest.approx(1, abs=1e-6)
    flat = quick(architecture=(OnePlace(), torch.nn.Linear(2, 2, bias=False)), **settings).fit(
        POINTS[:, :2]
    )
    assert flat.score(POINTS[:, :2]) == pytest.approx(0, abs=1e-6), (
        "no variance comes back, and no weighting agrees"
    )


def test_score_wants_three_points():
    model = quick().fit(POINTS)
    with pytest.raises(ValueError, match=r"points has 2 row\(s\); a score needs at least three"):
        model.score(POINTS[:2])
    assert model.score(POINTS[:3]) <= 1


def test_grid_search_by_score_finds_the_better_model():
    "One candidate is hardly trained at all; the score must see it."
    search = GridSearchCV(
        quick(strategy=mag.Joint(), max_epochs=60), {"learning_rate": [1e-6, 3e-2]}, cv=2
    ).fit(POINTS)
    assert (
        search.best_params_ == {"learning_rate": 3e-2}
        and search.best_estimator_.score(POINTS) > 0.5
    )
    low, high = search.cv_results_["mean_test_score"]
    assert high > low + 0.3 and np.isfinite([low, high]).all()


def test_the_score_does_not_depend_on_units():
    "In other units, with λ in them, the same model has the same score."
    scores = [
        quick(strategy=mag.Joint.report(5), scale=1 / unit, weighting_coefficient=unit**2)
        .fit(POINTS * unit)
        .score(POINTS * unit)
        for unit in (1.0, 1024.0)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)  # Adam's ε does not scale


# ---- where estimators go


def test_grid_search_in_a_pipeline_over_processes():
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("reduce", quick(strategy=mag.Joint(3), max_epochs=None))]
    )
    grid = {
        "reduce__weighting_coefficient": [1.0, 20.0],
        "reduce__strategy": [mag.Joint(2), mag.BurnIn(1, joint=mag.Joint(2))],
    }
    here, there = (
        GridSearchCV(pipeline, grid, cv=2, n_jobs=n, error_score="raise").fit(POINTS)
        for n in (1, 2)
    )
    np.testing.assert_allclose(
        there.cv_results_["mean_test_score"], here.cv_results_["mean_test_score"], atol=0.05
    )
    assert there.best_estimator_.transform(POINTS).shape == (40, 2)


def test_cross_val_score():
    assert np.isfinite(cross_val_score(quick(), POINTS, cv=2)).all()


def test_names_go_through_a_pipeline():
    frame = pd.DataFrame(POINTS, columns=["x", "y", "z"], index=np.arange(40) + 100)
    pipeline = make_pipeline(StandardScaler(), quick()).set_output(transform="pandas")
    for answer in (pipeline.fit_transform(frame), pipeline.transform(frame)):
        assert (
            list(answer.columns) == ["magnitudeautoencoder0", "magnitudeautoencoder1"]
            and (answer.index == frame.index).all()
        )
    assert list(pipeline.get_feature_names_out()) == [
        "magnitudeautoencoder0",
        "magnitudeautoencoder1",
    ]
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
    assert twin.get_params() == model.get_params() and list(twin.notes_["snapshots"]) == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_clones_share_nothing():
    model = quick(callbacks=[mag.Snapshots(2)]).fit(POINTS)
    twin = clone(model)
    assert not hasattr(twin, "module_") and twin.get_params()["callbacks"] == model.callbacks
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
