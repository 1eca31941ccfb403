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
from sklearn.datasets import make_blobs, make_circles, make_moons
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
        BoundaryDetector(1.0, n_subsets=3, subset_size=2, n_jobs=2),
        BoundaryDetector(1.0, method="exact", solver=mag.LU()),
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
    detector = BoundaryDetector(scale, metric=metric, method="exact").fit(points)
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
    scores = BoundaryDetector(t, method="exact").fit(points).score_samples(places)
    np.testing.assert_allclose(scores, -1 - process.predict(places), atol=1e-9)


@pytest.mark.parametrize("method", ["subsets", "exact"])
@pytest.mark.parametrize("scale", ["auto", "boundary", "outliers"])
@pytest.mark.parametrize("contamination", [0.05, 0.1, "auto"])
def test_the_hole_of_an_annulus_is_outside(method, scale, contamination):
    ring = make_circles((400, 0), noise=0.03, random_state=1)[0]
    detector = BoundaryDetector(scale, contamination=contamination, method=method).fit(ring)
    angle = np.linspace(0, 6, 50)
    assert (detector.predict([[0, 0], [0.3, 0], [0, -0.3], [4, 4], [-2, 0.1]]) == -1).all()
    # at the scale for outliers, halves of 400 points leave gaps in the ring
    most = 0.9 if method == "exact" or scale == "boundary" else 0.7
    assert (detector.predict(np.c_[np.cos(angle), np.sin(angle)]) == 1).mean() > most


@pytest.mark.parametrize(
    "metric", ["chebyshev", "seuclidean", "mahalanobis", "canberra", "l1", "minkowski"]
)
def test_other_metrics_agree_on_the_points_of_fit_in_any_batch(cloud, metric):
    with warnings.catch_warnings():
        # chebyshev has rectangles, whose points may need merging
        warnings.simplefilter("ignore", RuntimeWarning)
        detector = BoundaryDetector(2.0, metric=metric, method="exact").fit(cloud)
    np.testing.assert_allclose(detector.score_samples(cloud), -detector.weighting_, atol=1e-6)
    two = detector.score_samples(cloud[7:9])
    np.testing.assert_allclose(two, -detector.weighting_[7:9], atol=1e-6)


def test_sets_are_compared_as_sets():
    bits = np.random.default_rng(0).integers(0, 2, (40, 12))
    detector = BoundaryDetector(3.0, metric="jaccard", method="exact").fit(bits)
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
    detector = BoundaryDetector(50.0, method="exact").fit(
        [[0.0, 0.0]] * 4 + [[5.0, 5.0], [9.0, 0.0]]
    )
    np.testing.assert_allclose(detector.weighting_, [0.25] * 4 + [1, 1], atol=1e-9)
    np.testing.assert_allclose(detector.score_samples([[0, 0], [5, 5]]), [-0.25, -1], atol=1e-9)


def test_thousands_of_points_by_conjugate_gradients():
    points = np.random.default_rng(0).normal(size=(4000, 2))
    detector = BoundaryDetector(6.0, method="exact").fit(points)
    some = detector.score_samples(points[::5])
    np.testing.assert_allclose(some, -detector.weighting_[::5], atol=1e-8)
    assert (detector.predict(points) == -1).sum() == 400
    assert len(pickle.dumps(detector)) < 4000 * 8 * 7


def test_an_approximation_keeps_the_share_it_was_asked_for(cloud):
    detector = BoundaryDetector(method="exact", solver=mag.Vecchia(40), contamination=0.2).fit(
        cloud
    )
    assert (detector.predict(cloud) == -1).sum() == 24
    exact = BoundaryDetector(detector.scale_, contamination=0.2, method="exact").fit(cloud)
    assert np.corrcoef(detector.score_samples(cloud), exact.score_samples(cloud))[0, 1] > 0.99


def test_doubt_is_told(cloud):
    solver = mag.ConjugateGradient(max_steps=1, preconditioner=None)
    words = "scores of the points of fit.*max_steps"
    with pytest.warns(RuntimeWarning, match=words) as caught:
        BoundaryDetector(0.1, solver=solver, method="exact").fit(cloud)
    assert caught[-1].filename == __file__, "it points to the line that fits"


# Thresholds


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.25, 0.5])
def test_contamination_is_the_share_outside(cloud, contamination):
    detector = BoundaryDetector(contamination=contamination, method="exact")
    n_outside = (detector.fit_predict(cloud) == -1).sum()
    assert n_outside == pytest.approx(contamination * len(cloud), abs=1)
    threshold = np.percentile(-detector.weighting_, 100 * contamination)
    assert detector.offset_ == pytest.approx(threshold, abs=1e-9)
    expected = np.where(detector.decision_function(cloud) < 0, -1, 1)
    np.testing.assert_array_equal(detector.predict(cloud), expected)


def test_without_a_share_outside_is_what_weighs_more_than_half(cloud):
    detector = BoundaryDetector("outliers", contamination="auto", method="exact").fit(cloud)
    assert detector.offset_ == -0.5
    np.testing.assert_array_equal(detector.predict(cloud) == -1, detector.weighting_ > 0.5)


@pytest.mark.parametrize("name", FRACTIONS)
def test_named_scales_are_choices_by_fraction(cloud, name):
    expected = mag.choose_scale(cloud, fraction=FRACTIONS[name])
    assert BoundaryDetector(name, method="exact").fit(cloud).scale_ == expected


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
    detector = BoundaryDetector(1.0, method="exact").fit(cloud)
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
    detector = BoundaryDetector(1.0, method="exact").fit(points)
    scores = detector.score_samples(points)
    assert scores.dtype == detector.weighting_.dtype == dtype
    assert detector.predict(points).dtype == torch.int64
    assert_close(scores, -detector.weighting_)
    expected = BoundaryDetector(1.0, method="exact").fit(cloud).score_samples(cloud)
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
    detector = BoundaryDetector(1.0, method="exact").fit(points)
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
        ({"method": "all"}, ValueError, "method 'all' is not known"),
        ({"n_subsets": 0}, ValueError, "n_subsets must be at least 1"),
        ({"subset_size": 1}, ValueError, "subset_size must be at least 2"),
        ({"subset_size": 61}, ValueError, "subset_size must be.* 60.*: half of the 120 points"),
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


# Random subsets


def moons(n, seed):
    return make_moons(n, noise=0.05, random_state=seed)[0]


@given(clouds.filter(lambda points: len(points) > 3), scales, st.integers(2, 5))
@settings(max_examples=40)
def test_the_score_is_minus_the_mean_over_subsets(points, scale, n_subsets):
    "From dense matrices, whatever subsets were drawn; equal rows are left to the other tests."
    points = np.unique(points, axis=0)
    if len(points) < 4:
        return
    detector = BoundaryDetector(scale, n_subsets=n_subsets).fit(points)
    f = mag.boundary_function(
        points, scale, n_subsets=n_subsets, subset_size=len(points) // 2, random_state=0
    )
    expected = np.zeros(len(points))
    for subset in f.subsets:
        part = points[subset]
        zeta = np.exp(-scale * pairwise_distances(part))
        c = np.exp(-scale * pairwise_distances(points, part))
        v = np.linalg.solve(zeta, np.linalg.solve(zeta, np.ones(len(part))) - 1)
        expected += 1 + c @ v
    np.testing.assert_allclose(detector.score_samples(points), -expected / n_subsets, atol=1e-6)


@pytest.mark.parametrize("n_jobs", [None, 2, -1])
def test_threads_do_not_change_the_scores(n_jobs):
    points = np.random.default_rng(0).normal(size=(20_000, 2))
    detector = BoundaryDetector(n_jobs=n_jobs).fit(points)
    few = detector.score_samples(points[5::1000])
    np.testing.assert_allclose(detector.score_samples(points)[5::1000], few, atol=1e-12)
    assert (detector.predict(points) == -1).mean() == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("scale", [1.0, "auto", "boundary", "outliers"])
@pytest.mark.parametrize("metric", ["euclidean", "cityblock", "chebyshev", "seuclidean"])
def test_equal_rows_have_equal_scores(scale, metric):
    points = np.repeat(moons(60, 0), 5, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # chebyshev may merge points
        scores = BoundaryDetector(scale, metric=metric).fit(points).score_samples(points)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores.reshape(60, 5), scores[::5, None] + np.zeros(5), atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 20])
def test_fewer_points_than_a_subset(n):
    points = moons(max(n, 4), 0)[:n]
    detector = BoundaryDetector("outliers").fit(points)
    assert np.isfinite(detector.score_samples(points)).all()
    np.testing.assert_allclose(detector.score_samples([[1e4, 1e4]]), -1, atol=1e-9)


def test_exact_weights_are_computed_when_asked_for():
    points = moons(300, 0)
    detector = BoundaryDetector().fit(points)
    expected = mag.weighting(points, detector.scale_)
    np.testing.assert_allclose(detector.weighting_, expected, atol=1e-10)


def rim_of_a_ball(seed):
    points = mag.datasets.ball(1000, random_state=seed)
    radius = np.linalg.norm(points, axis=1)
    return points, radius >= np.quantile(radius, 6 / 7)


def test_the_rim_of_a_ball_is_found_by_points_of_fit_and_by_new_ones():
    points, rim = rim_of_a_ball(0)
    new, new_rim = rim_of_a_ball(1)
    detector = BoundaryDetector("boundary").fit(points)
    assert detector.score(points, np.where(rim, -1, 1)) > 0.97
    assert detector.score(new, np.where(new_rim, -1, 1)) > 0.97


# Files


@pytest.mark.parametrize("metric", ["euclidean", "cityblock", "seuclidean", "precomputed"])
@pytest.mark.parametrize("method", ["subsets", "exact"])
def test_a_file_gives_the_same_scores(tmp_path, metric, method):
    points = moons(200, 0)
    if metric == "precomputed":
        points = pairwise_distances(points)
    frame = pd.DataFrame(points, columns=[f"x{k}" for k in range(points.shape[1])])
    detector = BoundaryDetector(metric=metric, method=method, solver=mag.Cholesky()).fit(frame)
    detector.save(tmp_path / "d.safetensors")
    loaded = BoundaryDetector.load(tmp_path / "d.safetensors")
    assert loaded.get_params() == detector.get_params()
    assert loaded.offset_ == detector.offset_
    assert list(loaded.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(loaded.score_samples(frame), detector.score_samples(frame))
    np.testing.assert_array_equal(loaded.predict(frame), detector.predict(frame))
    with pytest.raises(AttributeError, match="mag.weighting"):
        loaded.weighting_  # noqa: B018


def test_files_that_are_no_detector_are_refused(tmp_path, cloud):
    with pytest.raises(NotFittedError):
        BoundaryDetector().save(tmp_path / "d.safetensors")
    with pytest.raises(FileNotFoundError, match="no file"):
        BoundaryDetector.load(tmp_path / "d.safetensors")
    BoundaryDetector(1.0).fit(cloud).save(tmp_path / "d.safetensors")
    with pytest.raises(ValueError, match="is a detector and not a model.*BoundaryDetector.load"):
        mag.MagnitudeAutoencoder.load(tmp_path / "d.safetensors")
    with pytest.raises(FileNotFoundError, match="folder"):
        BoundaryDetector(1.0).fit(cloud).save(tmp_path / "nowhere" / "d.safetensors")


# Streams


def test_a_stream_that_drifts_is_followed_and_the_past_forgotten():
    rng = np.random.default_rng(0)
    stream = BoundaryDetector("boundary", n_subsets=8, subset_size=50)
    inside = []
    for k in range(60):
        stream.partial_fit(rng.normal([0.2 * k, 0.0], 1.0, (40, 2)))
        new = rng.normal([0.2 * k, 0.0], 1.0, (40, 2))
        inside.append((stream.predict(new) == 1).mean())
    assert np.mean(inside[5:]) > 0.7
    assert (stream.predict([[0.0, 0.0], [-3.0, 0.0], [25.0, 0.0]]) == -1).all()
    assert stream.predict([[11.0, 0.0]]) == 1
    assert len(stream.points_) <= 8 * 50
    fixed = BoundaryDetector("boundary", n_subsets=8, subset_size=50)
    fixed.fit(rng.normal(0.0, 1.0, (400, 2)))
    assert fixed.predict([[11.0, 0.0]]) == -1


@pytest.mark.parametrize("loaded", [False, True])
def test_a_fit_goes_on_as_a_stream(tmp_path, loaded):
    rng = np.random.default_rng(0)
    detector = BoundaryDetector("boundary").fit(rng.normal(size=(2000, 2)))
    if loaded:
        detector.save(tmp_path / "d.safetensors")
        detector = BoundaryDetector.load(tmp_path / "d.safetensors")
    detector.partial_fit(rng.normal(size=(10, 2)))  # too few for a new subset
    assert detector.predict([[0.0, 0.0]]) == 1
    for _ in range(30):
        detector.partial_fit(rng.normal([9.0, 0.0], 1.0, (250, 2)))
    np.testing.assert_array_equal(detector.predict([[0.0, 0.0], [9.0, 0.0]]), [-1, 1])


def test_a_batch_that_cannot_be_used_leaves_the_stream_as_it_was(cloud):
    detector = BoundaryDetector(1.0).partial_fit(cloud)
    scores = detector.score_samples(cloud)
    for wrong in ([[np.nan, 1.0]], [[1.0]]):
        with pytest.raises(ValueError):
            detector.partial_fit(wrong)
    np.testing.assert_array_equal(detector.score_samples(cloud), scores)
    for without in ({"method": "exact"}, {"metric": "precomputed"}):
        with pytest.raises(AttributeError, match="partial_fit"):
            BoundaryDetector(**without).partial_fit(cloud)


# Thresholds of held-out rows, and features


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_false_alarms_are_as_rare_as_promised(rate):
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        detector = BoundaryDetector().fit(rng.normal(size=(400, 3)))
        detector.calibrate(rng.normal(size=(500, 3)), rate)
        found.append((detector.predict(rng.normal(size=(2000, 3))) == -1).mean())
    # the rate of one calibration varies by about √(rate / 500)
    assert abs(np.mean(found) - rate) < 3 * np.sqrt(rate / 500 / 12) + 1 / 500


def test_a_rate_that_cannot_be_promised_is_refused(cloud):
    detector = BoundaryDetector().fit(cloud)
    with pytest.raises(ValueError, match="needs at least 99 held-out points, not 50"):
        detector.calibrate(cloud[:50], 0.01)
    with pytest.raises(ValueError, match="false_alarm_rate must be above 0 and below 1"):
        detector.calibrate(cloud, 1.0)


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
def test_contributions_are_the_direction_of_the_gradient(cloud, metric):
    detector = BoundaryDetector("boundary", metric=metric).fit(cloud)
    places = torch.tensor(cloud[:30] + 0.1, requires_grad=True)
    (-detector.score_samples(places)).sum().backward()
    slope = places.grad / places.grad.abs().sum(1, keepdim=True)
    assert_close(detector.contributions(places.detach()), slope, rtol=1e-6, atol=1e-8)


def test_the_feature_that_is_off_stands_out_however_far():
    points = np.random.default_rng(0).normal(size=(500, 6))
    rows = np.zeros((3, 6))
    rows[0, 2], rows[1, 4], rows[2, 0] = 8.0, -50.0, 1e5
    found = BoundaryDetector("boundary").fit(points).contributions(rows)
    np.testing.assert_array_equal(abs(found).argmax(1), [2, 4, 0])
    np.testing.assert_array_equal(np.sign(found[[0, 1, 2], [2, 4, 0]]), [1, -1, 1])
    np.testing.assert_allclose(abs(found).sum(1), 1)
    with pytest.raises(ValueError, match="no gradient"):
        BoundaryDetector(metric="chebyshev").fit(points).contributions(rows)
