"""Closed forms, limits and invariances that the weighting and the magnitude must obey."""

import warnings

import numpy as np
import pytest
import torch
from known_spaces import K32_POLE, KNOWN, cycle, k32, line, polygon, six_points

import magnitude_ae as mag

SCALES = [10.0**k for k in range(-7, 4)]


def error(space, scale, dtype, solver=None):
    "The largest relative error of magnitude and weighting (of the latter, by its largest entry)."
    points = torch.tensor(space.points, dtype=dtype)
    w = mag.weighting(points, scale, metric=space.metric, solver=solver)
    assert w.dtype == dtype and w.shape == (space.n,)
    w, truth, size = w.double().numpy(), space.weighting(scale), space.magnitude(scale)
    return max(np.abs(w - truth).max() / np.abs(truth).max(), abs(w.sum() - size) / abs(size))


def condition(space, scale, dtype):
    d = space.points
    if space.metric != "precomputed":
        d = np.linalg.norm(d[:, None] - d, axis=2, ord=1 if space.metric == "cityblock" else 2)
    return np.linalg.cond(np.exp(-scale * d).astype(dtype).astype("float64"))


@pytest.mark.parametrize("space", KNOWN, ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_the_two_closed_forms_agree(space, scale):
    "The oracle's own weights sum to its magnitude, and solve ζw = 1 where float64 can tell."
    w, d = space.weighting(scale), mag.distance_matrix(space.points, metric=space.metric)
    rounding = 1e-13 * max(1, np.abs(w).max())  # the six points' weights are ±1/t
    np.testing.assert_allclose(
        w.sum(), space.magnitude(scale), rtol=0, atol=max(rounding, 1e-13 * space.n)
    )
    np.testing.assert_allclose(np.exp(-scale * d) @ w, 1, rtol=0, atol=rounding)


@pytest.mark.parametrize("space", KNOWN, ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_weighting_in_float64(space, scale):
    tolerance = space.tolerance(scale)
    if tolerance > 1e-2:
        pytest.skip("at this scale one rounding of the distances changes the weighting altogether")
    assert error(space, scale, torch.float64) <= tolerance


@pytest.mark.parametrize("space", KNOWN, ids=str)
@pytest.mark.parametrize("scale", SCALES)
def test_weighting_in_float32(space, scale):
    """float32 input is exact for these spaces, and solver=None may go to float64.

    1e-4, or a warning; never a silent error.
    """
    tolerance = max(1e-4, space.tolerance(scale))
    if tolerance > 1e-2:
        pytest.skip("even float64 is not enough at this scale")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        wrong = error(space, scale, torch.float32)
    assert wrong <= tolerance or seen, f"relative error {wrong:.1e} and no warning"


@pytest.mark.parametrize("space", [s for s in KNOWN if s.positive_definite], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", SCALES)
def test_cholesky(space, dtype, scale):
    "As accurate as the distances allow at any scale: it never forms ζ where ζ is nearly all ones."
    tolerance = space.tolerance(scale, dtype)
    if tolerance > 1e-2:
        pytest.skip("rounding the distances to this precision changes the weighting altogether")
    assert error(space, scale, getattr(torch, dtype), mag.Cholesky()) <= tolerance


@pytest.mark.parametrize("space", KNOWN, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("solver", [mag.LU(), mag.Inverse()], ids=lambda s: type(s).__name__)
@pytest.mark.filterwarnings("ignore:the weighting's residual:RuntimeWarning")
def test_elimination_and_inversion(space, dtype, solver):
    """They work on ζ itself, so they lose its condition number.

    Within 1e-10 (1e-4) or that loss, or they say no.
    """
    eps, answered = np.finfo(dtype).eps, 0
    for scale in SCALES:
        lost = 8 * eps * condition(space, scale, dtype)
        if lost > 0.1:
            continue  # no digit is promised there; refusing it is tested in test_solvers
        assert error(space, scale, getattr(torch, dtype), solver) <= max(
            1e-10 if dtype == "float64" else 1e-4, lost
        )
        answered += 1
    assert answered >= 3


def test_cholesky_refuses_an_indefinite_space():
    for dtype in (torch.float64, torch.float32):
        for scale in [s for s in SCALES if s < K32_POLE]:
            with pytest.raises(mag.NotPositiveDefiniteError, match="LU"):
                mag.weighting(
                    torch.tensor(k32().points, dtype=dtype),
                    scale,
                    metric="precomputed",
                    solver=mag.Cholesky(),
                )


# ---- limits


@pytest.mark.parametrize("dimension", [1, 2, 3, 20])
def test_limits_of_a_euclidean_cloud(dimension):
    points = np.random.default_rng(dimension).standard_normal((50, dimension))
    for t in (1e-4, 1e-6, 1e-8):
        assert 0 < mag.magnitude(points, t) - 1 < 100 * t  # 1 + O(t), from above
    np.testing.assert_allclose(mag.weighting(points, 1e5), 1, rtol=1e-12)
    assert mag.magnitude(points, 1e5) == pytest.approx(50, rel=1e-12)


def test_magnitude_leaves_one_with_the_slope_of_the_line():
    "Mag ≈ 1 + t·length/2 for points on a line, from tanh(x) ≈ x: digits that 1 − q would lose."
    space = line([0, 3, 40, 64])
    assert (mag.magnitude(space.points, 1e-7) - 1) / 1e-7 == pytest.approx(0.5, rel=1e-6)


def test_six_points_tend_to_six_fifths():
    assert mag.magnitude(six_points().points, 1e-4, metric="precomputed") == pytest.approx(
        6 / 5, rel=1e-3
    )
    assert mag.magnitude(six_points().points, 1e3, metric="precomputed") == pytest.approx(
        6, rel=1e-12
    )


def test_k32_is_not_monotone_and_has_a_pole():
    def size(t):
        return mag.magnitude(k32().points, t, metric="precomputed")

    assert size(K32_POLE - 1e-4) < -100 < 100 < size(K32_POLE + 1e-4)
    assert size(K32_POLE + 1e-3) > size(2.0)
    for t in (
        K32_POLE - 1e-6,
        K32_POLE + 1e-6,
    ):  # the condition number is 1e6 there: 1e-9 is what is left
        assert size(t) == pytest.approx(k32().magnitude(t), rel=1e-8)


def test_infinitely_far_parts_add_up():
    a, b = cycle(5), cycle(4)
    distances = np.full((9, 9), np.inf)
    distances[:5, :5], distances[5:, 5:] = a.points, b.points
    w = mag.weighting(distances, 0.7, metric="precomputed")
    np.testing.assert_allclose(w, np.concatenate([a.weighting(0.7), b.weighting(0.7)]), rtol=1e-10)


def test_samples_approach_continuous_spaces_from_below():
    interval = [mag.magnitude(np.linspace(0, 3, n)[:, None]) for n in (10, 50, 250)]
    assert interval[0] < interval[1] < interval[2] < 1 + 3 / 2
    assert interval[2] == pytest.approx(1 + 3 / 2, rel=1e-4)
    radius, limit = (
        2.0,
        2 * np.pi / (1 - np.exp(-2 * np.pi)),
    )  # πR/(1 − e^{-πR}) with distances along the arc
    steps = [np.abs(np.arange(n)[:, None] - np.arange(n)) for n in (10, 50, 250)]
    arcs = [2 * np.pi * radius / len(s) * np.minimum(s, len(s) - s) for s in steps]
    circle = [mag.magnitude(d, metric="precomputed") for d in arcs]
    assert circle[0] < circle[1] < circle[2] < limit
    assert circle[2] == pytest.approx(limit, rel=1e-3)
    ball = mag.magnitude(mag.datasets.ball(600, radius=1.0, random_state=0))
    assert 2.5 < ball < 1 + 2 + 1 + 1 / 6


# ---- inequalities and invariances


@pytest.mark.parametrize("space", [s for s in KNOWN if s.positive_definite], ids=str)
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0])
def test_spread_is_at_most_the_magnitude(space, scale):
    spread = mag.spread(space.points, scale, metric=space.metric)
    assert 1 <= spread <= space.magnitude(scale) * (1 + 1e-12)


def test_spread_by_its_definition():
    points = np.random.default_rng(0).standard_normal((30, 2))
    zeta = np.exp(-0.8 * np.linalg.norm(points[:, None] - points, axis=2))
    assert mag.spread(points, 0.8) == pytest.approx((1 / zeta.sum(1)).sum(), rel=1e-13)


@pytest.mark.parametrize("dimension", [1, 2, 3, 30])
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_more_points_have_more_magnitude(dimension, scale):
    points = np.random.default_rng(7).standard_normal((40, dimension))
    sizes = [mag.magnitude(points[:n], scale) for n in range(1, 41, 3)]
    assert sizes[0] == 1
    assert (np.diff(sizes) > -1e-12).all() and sizes[-1] > sizes[0]


@pytest.fixture(params=[2, 3, 25], ids=lambda d: f"{d}-D")
def cloud(request):
    return np.random.default_rng(request.param).standard_normal((60, request.param)) * 2


def test_permuting_points_permutes_weights(cloud):
    order = np.random.default_rng(1).permutation(len(cloud))
    np.testing.assert_allclose(
        mag.weighting(cloud[order]), mag.weighting(cloud)[order], rtol=0, atol=1e-12
    )


def test_rigid_motion_changes_nothing(cloud):
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((cloud.shape[1],) * 2))[0]
    np.testing.assert_allclose(
        mag.weighting(cloud @ turn + 5), mag.weighting(cloud), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("factor", [2.0**-20, 1 / 3, 1000.0, 2.0**40])
def test_points_times_c_at_scale_over_c(cloud, factor):
    expected = mag.weighting(cloud, 0.7)
    np.testing.assert_allclose(
        mag.weighting(cloud * factor, 0.7 / factor), expected, rtol=0, atol=1e-11
    )
    distances = mag.distance_matrix(cloud)
    np.testing.assert_allclose(
        mag.weighting(distances * factor, 0.7 / factor, metric="precomputed"),
        expected,
        rtol=0,
        atol=1e-10,
    )


def test_polygon_corners_weigh_the_same():
    w = mag.weighting(polygon(24).points, 1e-3)
    np.testing.assert_allclose(w, w.mean(), rtol=1e-10)
