"""The detector of boundary points and outliers: scikit-learn's own checks, and its definition."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.datasets import make_blobs, make_circles
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.testing import assert_close

import magnitude_ae as mag
from magnitude_ae.boundary import FRACTIONS, BoundaryDetector


@parametrize_with_checks(
    [
        BoundaryDetector(),
        BoundaryDetector("outliers", metric="cityblock"),
        BoundaryDetector(1.0, solver=mag.LU()),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def cloud():
    return make_blobs(120, centers=2, random_state=0)[0]


# The definition


# A grid, so that points coincide or lie apart, but are never nearer than rounding can tell.
clouds = st.tuples(st.integers(2, 25), st.integers(1, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(-40, 40).map(lambda k: k / 10))
)
scales = st.floats(-3, 3).map(lambda e: 10.0**e)


@given(clouds, scales, st.sampled_from(["euclidean", "cityblock"]))
@settings(max_examples=60)
def test_training_scores_are_minus_the_weights(points, scale, metric):
    detector = BoundaryDetector(scale, metric=metric).fit(points)
    expected = mag.weighting(points, scale, metric=metric)
    np.testing.assert_allclose(detector.weighting_, expected, atol=1e-9)
    np.testing.assert_allclose(detector.score_samples(points), -expected, atol=1e-8)


@given(clouds, scales, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_scores_are_continuous_with_the_stated_constant(points, scale, random):
    "Near the points of fit above all: steps of all sizes from a point in all directions."
    detector = BoundaryDetector(scale).fit(points)
    rng = np.random.default_rng(random.getrandbits(32))
    x = np.repeat(points, 4, axis=0)
    y = x + rng.normal(size=x.shape) * 10.0 ** rng.uniform(-9, 1, (len(x), 1))
    rise = abs(detector.score_samples(x) - detector.score_samples(y))
    bound = detector.scale_ * abs(detector.coefficients_).sum() * np.linalg.norm(x - y, axis=1)
    assert (rise <= bound * (1 + 1e-9) + 1e-11).all()


@given(clouds, scales, st.integers(0, 3))
@settings(max_examples=40)
def test_far_away_every_score_is_minus_one(points, scale, axis):
    detector = BoundaryDetector(scale).fit(points)
    places = np.zeros((3, points.shape[1]))
    places[:, axis % points.shape[1]] = 60 / scale + 10, -1e8 / scale - 10, 1e300
    np.testing.assert_allclose(detector.score_samples(places), -1, atol=1e-12)
    if detector.offset_ > -1 + 1e-9:  # else too many points of fit stand as alone as that
        assert (detector.predict(places) == -1).all()


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_extension_is_kriging(d):
    "As scikit-learn's Gaussian process of covariance exp(−t·d), given the weights less one."
    rng = np.random.default_rng(d)
    points = rng.normal(size=(60, d))
    places = rng.normal(size=(40, d)) * 2
    t = 1.7
    kernel = Matern(length_scale=1 / t, nu=0.5)
    process = GaussianProcessRegressor(kernel, alpha=0, optimizer=None)
    process.fit(points, mag.weighting(points, t) - 1)
    scores = BoundaryDetector(t).fit(points).score_samples(places)
    np.testing.assert_allclose(scores, -1 - process.predict(places), atol=1e-9)


@pytest.mark.parametrize("scale", ["auto", "boundary", "outliers"])
@pytest.mark.parametrize("contamination", [0.05, 0.1, "auto"])
def test_the_hole_of_an_annulus_is_outside(scale, contamination):
    ring = make_circles((400, 0), noise=0.03, random_state=1)[0]
    detector = BoundaryDetector(scale, contamination=contamination).fit(ring)
    angle = np.linspace(0, 6, 50)
    assert (detector.predict([[0, 0], [0.3, 0], [0, -0.3], [4, 4], [-2, 0.1]]) == -1).all()
    assert (detector.predict(np.c_[np.cos(angle), np.sin(angle)]) == 1).mean() > 0.9


@pytest.mark.parametrize(
    "metric", ["chebyshev", "seuclidean", "mahalanobis", "canberra", "l1", "minkowski"]
)
def test_other_metrics_agree_on_the_points_of_fit_in_any_batch(cloud, metric):
    with warnings.catch_warnings():
        # chebyshev has rectangles, whose points may need merging
        warnings.simplefilter("ignore", RuntimeWarning)
        detector = BoundaryDetector(2.0, metric=metric).fit(cloud)
    np.testing.assert_allclose(detector.score_samples(cloud), -detector.weighting_, atol=1e-6)
    two = detector.score_samples(cloud[7:9])
    np.testing.assert_allclose(two, -detector.weighting_[7:9], atol=1e-6)


def test_sets_are_compared_as_sets():
    bits = np.random.default_rng(0).integers(0, 2, (40, 12))
    detector = BoundaryDetector(3.0, metric="jaccard").fit(bits)
    np.testing.assert_allclose(detector.score_samples(5 * bits), -detector.weighting_, atol=1e-9)


def test_distances_given_beforehand(cloud):
    train = cloud[:80]
    new = cloud[80:]
    by_points = BoundaryDetector().fit(train).score_samples(new)
    by_distances = BoundaryDetector(metric="precomputed").fit(pairwise_distances(train))
    scores = by_distances.score_samples(pairwise_distances(new, train))
    np.testing.assert_allclose(scores, by_points, atol=1e-9)
    with pytest.raises(ValueError, match="negative"):
        by_distances.score_samples(-pairwise_distances(new, train))
    with pytest.raises(ValueError, match="80 features"):
        by_distances.score_samples(pairwise_distances(new))


def test_distances_are_cut_on_both_sides_by_cross_validation(cloud):
    y = np.where(np.arange(len(cloud)) % 10, 1, -1)
    precomputed = BoundaryDetector(1.0, metric="precomputed")
    by_distances = cross_val_score(precomputed, pairwise_distances(cloud), y)
    by_points = cross_val_score(BoundaryDetector(1.0), cloud, y)
    np.testing.assert_allclose(by_distances, by_points, atol=1e-12)


def test_copies_share_their_weight():
    detector = BoundaryDetector(50.0).fit([[0.0, 0.0]] * 4 + [[5.0, 5.0], [9.0, 0.0]])
    np.testing.assert_allclose(detector.weighting_, [0.25] * 4 + [1, 1], atol=1e-9)
    np.testing.assert_allclose(detector.score_samples([[0, 0], [5, 5]]), [-0.25, -1], atol=1e-9)


def test_thousands_of_points_by_conjugate_gradients():
    points = np.random.default_rng(0).normal(size=(4000, 2))
    detector = BoundaryDetector(6.0).fit(points)
    some = detector.score_samples(points[::5])
    np.testing.assert_allclose(some, -detector.weighting_[::5], atol=1e-8)
    assert (detector.predict(points) == -1).sum() == 400
    assert len(pickle.dumps(detector)) < 4000 * 8 * 6


def test_an_approximation_keeps_the_share_it_was_asked_for(cloud):
    detector = BoundaryDetector(solver=mag.Vecchia(40), contamination=0.2).fit(cloud)
    assert (detector.predict(cloud) == -1).sum() == 24
    exact = BoundaryDetector(detector.scale_, contamination=0.2).fit(cloud)
    assert np.corrcoef(detector.score_samples(cloud), exact.score_samples(cloud))[0, 1] > 0.99


def test_doubt_is_told(cloud):
    solver = mag.ConjugateGradient(max_steps=1, preconditioner=None)
    words = "scores of the points of fit.*max_steps"
    with pytest.warns(RuntimeWarning, match=words) as caught:
        BoundaryDetector(0.1, solver=solver).fit(cloud)
    assert caught[-1].filename == __file__, "it points to the line that fits"


# Thresholds


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.25, 0.5])
def test_contamination_is_the_share_outside(cloud, contamination):
    detector = BoundaryDetector(contamination=contamination)
    n_outside = (detector.fit_predict(cloud) == -1).sum()
    assert n_outside == pytest.approx(contamination * len(cloud), abs=1)
    threshold = np.percentile(-detector.weighting_, 100 * contamination)
    assert detector.offset_ == pytest.approx(threshold, abs=1e-9)
    expected = np.where(detector.decision_function(cloud) < 0, -1, 1)
    np.testing.assert_array_equal(detector.predict(cloud), expected)


def test_without_a_share_outside_is_what_weighs_more_than_half(cloud):
    detector = BoundaryDetector("outliers", contamination="auto").fit(cloud)
    assert detector.offset_ == -0.5
    np.testing.assert_array_equal(detector.predict(cloud) == -1, detector.weighting_ > 0.5)


@pytest.mark.parametrize("name", FRACTIONS)
def test_named_scales_are_choices_by_fraction(cloud, name):
    expected = mag.choose_scale(cloud, fraction=FRACTIONS[name])
    assert BoundaryDetector(name).fit(cloud).scale_ == expected


# In company


def test_pipeline_search_and_copies(cloud):
    y = np.where(np.arange(len(cloud)) % 12, 1, -1)
    points = np.where(y[:, None] == 1, cloud, cloud + [15, 0])
    pipeline = make_pipeline(StandardScaler(), BoundaryDetector())
    grid = {"boundarydetector__scale": ["auto", "outliers", 0.5]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(points, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.7
    best = search.best_estimator_
    twin = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(twin.score_samples(points), best.score_samples(points))
    copy = clone(best.steps[-1][1])
    assert copy.get_params() == best.steps[-1][1].get_params()
    assert not hasattr(copy, "offset_")


def test_score_is_the_area_under_the_curve(cloud):
    detector = BoundaryDetector(1.0).fit(cloud)
    heavy = detector.weighting_ > np.median(detector.weighting_)
    assert detector.score(cloud, np.where(heavy, -1, 1)) == 1
    assert detector.score(cloud, np.where(heavy, 1, 0)) == 0
    for y in (None, np.ones(len(cloud)), [1, -1]):
        with pytest.raises(ValueError, match="y must hold 120 labels"):
            detector.score(cloud, y)


def test_names_of_columns(cloud):
    frame = pd.DataFrame(cloud, columns=["x", "y"], index=range(5, 125))
    detector = BoundaryDetector(1.0).fit(frame)
    assert list(detector.feature_names_in_) == ["x", "y"]
    expected = BoundaryDetector(1.0).fit(cloud).score_samples(cloud)
    np.testing.assert_array_equal(detector.score_samples(frame), expected)
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[["y", "x"]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_in_tensors_out(cloud, dtype):
    points = torch.tensor(cloud, dtype=dtype)
    detector = BoundaryDetector(1.0).fit(points)
    scores = detector.score_samples(points)
    assert scores.dtype == detector.weighting_.dtype == dtype
    assert detector.predict(points).dtype == torch.int64
    assert_close(scores, -detector.weighting_)
    expected = BoundaryDetector(1.0).fit(cloud).score_samples(cloud)
    assert_close(scores.double().numpy(), expected, rtol=1e-4, atol=1e-5)  # float32 moves points
    assert_close(detector.fit_predict(points), detector.predict(points))


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("d", [2, 20])
def test_scores_have_gradients(metric, d):
    rng = np.random.default_rng(0)
    detector = BoundaryDetector(0.7, metric=metric).fit(rng.normal(size=(30, d)))
    places = torch.tensor(rng.normal(size=(4, d)), requires_grad=True)
    assert torch.autograd.gradcheck(detector.score_samples, places)
    with pytest.raises(ValueError, match="detach"):
        detector.fit(places)
    with pytest.raises(ValueError, match="no gradient"):
        BoundaryDetector(0.7, metric="chebyshev").fit(places.detach()).score_samples(places)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.float16),
        lambda x: x[::-1],
        np.asfortranarray,
        lambda x: x.tolist(),
    ],
)
def test_containers_are_read_and_left_alone(cloud, convert):
    points = convert(np.round(cloud, 1))
    before = np.array(points)
    if isinstance(points, np.ndarray):
        points.flags.writeable = False
    detector = BoundaryDetector(1.0).fit(points)
    scores = detector.score_samples(points)
    assert scores.dtype == np.float64
    expected = -mag.weighting(before.astype(float), 1.0)
    np.testing.assert_allclose(scores, expected, atol=1e-8)
    np.testing.assert_array_equal(np.array(points), before)


# What cannot be used


@pytest.mark.parametrize(
    "settings, error, words",
    [
        ({"scale": 0}, ValueError, "scale must be positive"),
        (
            {"scale": "small"},
            ValueError,
            "scale must be a positive number or one of 'auto', 'boundary', 'outliers'",
        ),
        ({"scale": None}, TypeError, "scale"),
        ({"contamination": 0}, ValueError, "contamination must be above 0 and at most 0.5"),
        ({"contamination": 0.6}, ValueError, "contamination must be above 0 and at most 0.5"),
        ({"contamination": float("nan")}, ValueError, "contamination"),
        ({"contamination": "some"}, TypeError, "contamination must be a number.*or pass 'auto'"),
        ({"contamination": True}, TypeError, "contamination"),
        ({"metric": "nearness"}, ValueError, "metric 'nearness' is not known"),
        ({"metric": "precomputed"}, ValueError, "square"),
        ({"solver": "cholesky"}, TypeError, "solver must be a solver"),
        ({"solver": mag.Cholesky}, TypeError, "solver must be a solver"),
    ],
)
def test_settings_that_cannot_be_used(cloud, settings, error, words):
    with pytest.raises(error, match=words):
        BoundaryDetector(**settings).fit(cloud)


@pytest.mark.parametrize(
    "points, words",
    [
        ([[1.0, 2.0]], "1 sample"),
        ([[1.0], [np.nan], [2.0]], r"1 row\(s\) with NaN or infinity, first at 1"),
        ([[1.0], [np.inf]], "first at 1"),
        ([[1.0, 2.0]] * 3, "coincide"),
        ([["a"], ["b"]], "points holds something that is not a number: text"),
        ([1.0, 2.0], r"pass points.reshape\(-1, 1\).*Reshape your data"),
        ([[1j], [2.0]], "points is complex.*Complex data not supported"),
        (np.ma.masked_less([[1.0], [2.0], [3.0]], 2), "masked"),
        (torch.ones(1, 3), "1 sample"),
        (torch.tensor([[1.0], [float("nan")]]), "first at 1"),
    ],
)
def test_points_that_cannot_be_used(points, words):
    with pytest.raises(ValueError, match=words):
        BoundaryDetector().fit(points)


def test_unfitted_or_of_another_width(cloud):
    with pytest.raises(NotFittedError):
        BoundaryDetector().predict(cloud)
    detector = BoundaryDetector(1.0).fit(cloud)
    for wrong in (cloud[:, :1], torch.tensor(cloud[:, :1])):
        with pytest.raises(ValueError, match="1 features.*2 features"):
            detector.predict(wrong)
    with pytest.raises(ValueError, match="first at 0"):
        detector.score_samples([[np.nan, 1.0]])
