"""Properties of every cloud Hypothesis can think of.

Examples are few and small: the file is to run within seconds.
"""

import warnings

import numpy as np
import pandas as pd
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from known_spaces import known_spaces

import magnitude_ae as mag

some = settings(max_examples=60)
few = settings(max_examples=25)


@st.composite
def clouds(draw, most=30, dimensions=5):
    """Points with coordinates on a grid of sixteenths.

    Neighbours, copies and lines occur, unlike in Gaussian clouds.
    """
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, dimensions)))
    whole = draw(hnp.arrays(np.int16, shape, elements=st.integers(-400, 400)))
    return whole / 16.0


scales = st.floats(-4, 4).map(lambda k: 10.0**k)


@some
@given(clouds(), scales, st.sampled_from(["euclidean", "cityblock"]))
def test_between_one_and_n(points, scale, metric):
    n, distinct = len(points), len(np.unique(points, axis=0))
    w, size = (
        mag.weighting(points, scale, metric=metric),
        mag.magnitude(points, scale, metric=metric),
    )
    assert w.shape == (n,) and np.isfinite(w).all()
    assert 1 - 1e-9 <= size <= distinct + 1e-9
    np.testing.assert_allclose(w.sum(), size, rtol=1e-12)


@some
@given(clouds(), scales)
def test_the_residual_is_small(points, scale):
    solution = mag.solve(points, scale)
    assert solution.converged and solution.residual <= 1e-10
    d = np.linalg.norm(points[:, None] - points, axis=2)
    np.testing.assert_allclose(np.exp(-scale * d) @ solution.value, 1, rtol=0, atol=1e-9)


@some
@given(known_spaces(), st.floats(-7, 3).map(lambda k: 10.0**k))
def test_closed_forms(space, scale):
    assume(space.positive_definite or abs(scale - 0.34657) > 1e-3)  # the pole of K_{3,2}
    tolerance = 10 * space.tolerance(
        scale
    )  # random spaces may be ten times worse than those in the list
    assume(tolerance < 1e-2)
    truth = space.weighting(scale)
    w = mag.weighting(space.points, scale, metric=space.metric)
    np.testing.assert_allclose(w, truth, rtol=0, atol=tolerance * np.abs(truth).max())
    np.testing.assert_allclose(
        mag.magnitude(space.points, scale, metric=space.metric),
        space.magnitude(scale),
        rtol=tolerance,
    )


@some
@given(clouds(), scales, st.randoms(use_true_random=False))
def test_permutations(points, scale, random):
    order = list(range(len(points)))
    random.shuffle(order)
    np.testing.assert_allclose(
        mag.weighting(points[order], scale), mag.weighting(points, scale)[order], rtol=0, atol=1e-8
    )


@some
@given(clouds(most=15), scales, st.data())
def test_copies_change_nothing_but_their_shares(points, scale, data):
    points = np.unique(points, axis=0)
    counts = data.draw(st.lists(st.integers(1, 4), min_size=len(points), max_size=len(points)))
    w = mag.weighting(np.repeat(points, counts, 0), scale)
    np.testing.assert_allclose(
        w, np.repeat(mag.weighting(points, scale) / counts, counts), rtol=0, atol=1e-8
    )


@some
@given(clouds(dimensions=1), st.lists(scales, min_size=2, max_size=6, unique=True))
def test_magnitude_on_a_line_increases_with_the_scale(points, several):
    sizes = mag.magnitude(points, sorted(several))
    assert (np.diff(sizes) >= -1e-9 * sizes[1:]).all()


@some
@given(clouds(), scales)
def test_one_more_point_is_not_less(points, scale):
    assume(len(points) > 1)
    assert mag.magnitude(points[:-1], scale) <= mag.magnitude(points, scale) * (1 + 1e-9)


@some
@given(clouds(), scales)
def test_spread_is_not_more_than_the_magnitude(points, scale):
    points = np.unique(points, axis=0)
    assert 1 - 1e-12 <= mag.spread(points, scale) <= mag.magnitude(points, scale) * (1 + 1e-9)


@some
@given(
    clouds(),
    scales,
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["euclidean", "cityblock"]),
)
def test_gradients_are_finite(points, scale, dtype, metric):
    x = torch.from_numpy(points).to(dtype).requires_grad_()
    t = torch.tensor(scale, dtype=dtype, requires_grad=True)
    pull = torch.linspace(-1, 1, len(points), dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        to_points, to_scale = torch.autograd.grad(
            (mag.weighting(x, t, metric=metric) * pull).sum(), (x, t)
        )
    assert torch.isfinite(to_points).all() and torch.isfinite(to_scale)
    # moving everything at once changes no distance; the sum cancels to rounding
    total = to_points.sum(0).abs().max()
    assert total <= (1e-3 if dtype == torch.float32 else 1e-10) * max(1.0, to_points.abs().sum())


@few
@given(clouds(most=10, dimensions=3), scales.filter(lambda t: 1e-2 < t < 1e2))
def test_gradients_are_those_of_finite_differences(points, scale):
    points = np.unique(points, axis=0)
    assume(len(points) > 1)
    x = torch.from_numpy(points.copy()).requires_grad_()
    (gradient,) = torch.autograd.grad(mag.magnitude(x, scale), x)
    direction = np.random.default_rng(0).standard_normal(points.shape)
    step = 1e-5
    difference = (
        mag.magnitude(points + step * direction, scale)
        - mag.magnitude(points - step * direction, scale)
    ) / (2 * step)
    slope = (gradient.numpy() * direction).sum()
    np.testing.assert_allclose(slope, difference, rtol=1e-4, atol=1e-5)


CONTAINERS = {
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(map(tuple, x.tolist())),
    "DataFrame": pd.DataFrame,
    "Fortran": np.asfortranarray,
    "reversed twice": lambda x: x[::-1].copy()[::-1],
    "float32": lambda x: x.astype(np.float32),
    "tensor": torch.from_numpy,
    "float tensor": lambda x: torch.from_numpy(x).float(),
}


@some
@given(clouds(most=12), st.sampled_from(sorted(CONTAINERS)), scales.filter(lambda t: t > 1e-2))
def test_any_container(points, name, scale):
    w = mag.weighting(CONTAINERS[name](points), scale)
    assert isinstance(w, torch.Tensor) == ("tensor" in name)
    single = name in ("float32", "float tensor")
    np.testing.assert_allclose(
        np.asarray(w), mag.weighting(points, scale), rtol=0, atol=1e-4 if single else 1e-11
    )


@few
@given(clouds(), st.floats(0.02, 0.98))
def test_choose_scale_reaches_the_fraction(points, fraction):
    n = len(np.unique(points, axis=0))
    assume(n > 1)
    t = mag.choose_scale(points, fraction=fraction)
    np.testing.assert_allclose((mag.magnitude(points, t) - 1) / (n - 1), fraction, rtol=1e-2)


numbers = st.floats(-(2.0**50), 2.0**50, width=32)


@some
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 3)), elements=numbers),
    st.sampled_from([np.float32, np.float64]),
)
def test_any_finite_numbers(points, dtype):
    """From 1e-45 to 1e15 in one cloud: an answer, or a warning with a reason.

    Never NaN, never a message from LAPACK.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        w = mag.weighting(points.astype(dtype))
    assert np.isfinite(w).all() and -1e-3 < w.sum() - 1 < len(points) - 1 + 1e-3
