"""Magnitude functions and dimensions: limits, poles, derivatives of both orders."""

import numpy as np
import pytest
import torch
from known_spaces import K32_POLE, k32, line
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import hessian, jacobian

import magnitude_ae as mag
from magnitude_ae.functions import QuickMagnitudes, scale_range
from magnitude_ae.similarity import Similarity

POINTS = np.random.default_rng(0).integers(-40, 40, (30, 3)) / 16.0


def test_magnitude_function_spans_both_limits():
    curve = mag.magnitude_function(POINTS)
    scales, values = curve
    assert (
        scales.shape == values.shape == (50,)
        and (np.diff(scales) > 0).all()
        and curve.n_points == 30
    )
    assert values[0] == pytest.approx(1, abs=0.05) and values[-1] == pytest.approx(30, abs=0.5)
    np.testing.assert_allclose(values, mag.magnitude(POINTS, scales), rtol=1e-12)


def test_magnitude_function_of_tensors_differentiates():
    points = torch.from_numpy(POINTS.copy()).requires_grad_()
    scales, values = mag.magnitude_function(points, torch.tensor([0.5, 1.0], dtype=torch.float64))
    assert isinstance(values, torch.Tensor) and values.dtype == torch.float64
    values.sum().backward()
    assert points.grad.abs().max() > 0
    scales, values = mag.magnitude_function(points.detach())
    assert isinstance(scales, torch.Tensor) and isinstance(values, torch.Tensor)


def test_magnitude_function_at_a_pole():
    with pytest.warns(RuntimeWarning, match=f"no magnitude at scale {K32_POLE:g}"):
        scales, values = mag.magnitude_function(
            k32().points, [0.1, K32_POLE, 1.0], metric="precomputed"
        )
    assert np.isnan(values[1])
    np.testing.assert_allclose(
        np.array(values)[[0, 2]], [k32().magnitude(0.1), k32().magnitude(1.0)], rtol=1e-10
    )
    with pytest.warns(RuntimeWarning, match="no magnitude at scale"):
        values = mag.magnitude_function(
            torch.from_numpy(k32().points), [K32_POLE, 1.0], metric="precomputed"
        ).values
    assert values.dtype == torch.float64 and torch.isnan(values[0])
    assert values[1].item() == pytest.approx(k32().magnitude(1.0), rel=1e-10)


def test_magnitude_function_plots():
    import matplotlib.pyplot as plt

    ax = mag.magnitude_function(line([0, 10, 64]).points, [0.1, 1.0, 10.0]).plot()
    assert ax.get_xlabel() and ax.get_ylabel() and ax.get_xscale() == "log"
    assert any(len(artist.get_xdata()) == 3 for artist in ax.lines)
    mag.magnitude_function(torch.from_numpy(POINTS).requires_grad_(), [0.1, 1.0]).plot(ax=ax)
    plt.close("all")


def test_magnitude_function_of_one_point_and_of_copies():
    np.testing.assert_allclose(mag.magnitude_function(np.zeros((3, 2)), [0.1, 1.0]).values, 1)
    with pytest.raises(ValueError, match="all points coincide"):
        mag.magnitude_function(np.zeros((3, 2)))


@pytest.mark.parametrize("solver", [None, mag.ConjugateGradient(), mag.LU()], ids=str)
def test_dimension_is_the_slope_of_the_magnitude_function(solver):
    points = np.random.default_rng(0).normal(size=(40, 3))
    for t in (1e-3, 0.5, 20.0):
        up, down = mag.magnitude(points, [t * 1.0001, t / 1.0001])
        slope = np.log(up / down) / (2 * np.log(1.0001))
        assert mag.magnitude_dimension(points, t, solver=solver) == pytest.approx(slope, rel=1e-4)
    assert mag.magnitude_dimension(points, [0.5, 2.0]).shape == (2,)


def dimension_inputs():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 2))).requires_grad_()
    return points, torch.tensor(0.6, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_dimension_differentiates(check, metric):
    assert check(lambda x, t: mag.magnitude_dimension(x, t, metric=metric), dimension_inputs())


def plain_dimension(points, t, metric):
    "From the definition, in operations of torch that it differentiates twice at distinct points."
    own = torch.eye(len(points), dtype=points.dtype)
    difference = points[:, None] - points
    if metric == "cityblock":
        D = difference.abs().sum(-1)
    else:
        D = (difference.square().sum(-1) + own).sqrt() - own
    zeta = torch.exp(-t * D)
    w = torch.linalg.solve(zeta, torch.ones(len(points), dtype=points.dtype))
    return t * (w @ (D * zeta) @ w) / w.sum()


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("derivative", [jacobian, hessian])
def test_derivatives_of_the_dimension_are_those_of_plain_torch(derivative, metric):
    inputs = tuple(x.detach() for x in dimension_inputs())
    found = derivative(lambda x, t: mag.magnitude_dimension(x, t, metric=metric), inputs)
    expected = derivative(lambda x, t: plain_dimension(x, t, metric), inputs)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("scale", [np.float32(0.7), torch.tensor(0.7)], ids=["numpy", "torch"])
def test_a_scale_in_single_precision_costs_no_digits_of_the_dimension(scale):
    exact = mag.magnitude_dimension(POINTS, float(scale))
    assert float(mag.magnitude_dimension(POINTS, scale)) == pytest.approx(exact, rel=1e-12)


def test_dimension_of_unconnected_parts():
    inf = float("inf")
    D = np.array([[0, 1, inf], [1, 0, inf], [inf, inf, 0]])
    q = np.exp(-1.0)
    expected = 2 * q / (1 + q) ** 2 / (1 + 2 / (1 + q))
    assert mag.magnitude_dimension(D, metric="precomputed") == pytest.approx(expected, rel=1e-12)
    t = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    found = mag.magnitude_dimension(torch.from_numpy(D), t, metric="precomputed")
    (slope,) = torch.autograd.grad(found, t, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, t)
    step = 1e-5
    up, down = mag.magnitude_dimension(D, [1 + step, 1 - step], metric="precomputed")
    assert slope.item() == pytest.approx((up - down) / (2 * step), rel=1e-6)
    assert curvature.item() == pytest.approx((up + down - 2 * found.item()) / step**2, rel=1e-3)


# ---- the quick way, and the range of scales


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
def test_the_quick_way_is_right_or_declines(metric):
    "To twelve digits over ten decades, also for copies; it declines at some scale only if at all."
    points = np.random.default_rng(1).normal(size=(80, 2))
    quick = QuickMagnitudes(Similarity(np.repeat(points, 2, 0), 1.0, metric))
    scales = np.logspace(-6, 4, 21)
    found = [quick(t) for t in scales]
    answered = [value is not None for value in found]
    assert sum(answered) > 15
    expected = mag.magnitude(points, scales[answered], metric=metric)
    np.testing.assert_allclose(
        [value for value in found if value is not None], expected, rtol=1e-12
    )


def test_the_quick_way_declines_where_single_precision_cannot_tell_points_apart():
    points = np.vstack([POINTS, POINTS[:1] + 1e-9])
    assert QuickMagnitudes(Similarity(points))(1.0) is None
    values = mag.magnitude_function(points, [0.5, 1.0]).values
    np.testing.assert_allclose(values, mag.magnitude(points, [0.5, 1.0]), rtol=1e-12)


def test_scale_range_follows_units_and_ignores_copies():
    low, high = scale_range(Similarity(POINTS))
    assert mag.magnitude(POINTS, low) < 1.05
    assert mag.magnitude(POINTS, high) > 29.5
    assert scale_range(Similarity(POINTS * 8)) == (low / 8, high / 8)
    assert scale_range(Similarity(np.vstack([POINTS, POINTS])))[1] == high
    with pytest.raises(ValueError, match="a finite distance"):
        far = np.where(np.eye(3) > 0, 0, np.inf)
        scale_range(Similarity(far, 1.0, "precomputed"))
