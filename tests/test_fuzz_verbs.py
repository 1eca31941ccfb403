"""Odd points for the verbs: the right answer, or a documented exception that names the argument."""

import importlib

import fuzz
import mpmath
import numpy as np
import pandas as pd
import torch
from fuzz import (
    ANYTHING,
    METRICS,
    SCALES,
    as_floats,
    as_numbers,
    call,
    cases,
    check_weighting,
    contained,
    distances_of,
    good_inputs,
    inputs,
    plain_array,
    reach,
    refused_or_answered,
    rounding,
    truth,
    unit,
)
from hypothesis import strategies as st

import magnitude_ae as mag

pytestmark = fuzz.within_limits


@cases(1500, points=inputs(), scale=SCALES, metric=METRICS)
def test_weighting(points, scale, metric):
    done = call(mag.weighting, points.given, scale, metric=metric)
    if refused_or_answered(points, done):
        w = as_numbers(done.value, points, (len(points.meaning),))
        check_weighting(w, truth(points.meaning, scale, metric), points, done.warned)


@cases(700, points=inputs(), scale=SCALES, metric=METRICS)
def test_magnitude(points, scale, metric):
    done = call(mag.magnitude, points.given, scale, metric=metric)
    if refused_or_answered(points, done):
        value = float(as_numbers(done.value, points, ()))
        exact = truth(points.meaning, scale, metric).magnitude
        tolerance = max(2e4 * unit(points), 1e-5 if done.warned else 0)
        assert abs(float(exact - value)) <= tolerance * len(points.meaning), (value, exact)


@cases(500, points=inputs(), scale=SCALES, metric=METRICS)
def test_spread(points, scale, metric):
    done = call(mag.spread, points.given, scale, metric=metric)
    if refused_or_answered(points, done):
        zeta = truth(points.meaning, scale, metric).zeta
        exact = mpmath.fsum(1 / mpmath.fsum(row) for row in zeta)
        value = as_numbers(done.value, points, ())
        np.testing.assert_allclose(value, float(exact), rtol=200 * rounding(points))


@cases(500, points=inputs(), scale=SCALES, metric=METRICS)
def test_similarity_matrix(points, scale, metric):
    done = call(mag.similarity_matrix, points.given, scale, metric=metric)
    if refused_or_answered(points, done):
        n = len(points.meaning)
        exact = np.array(truth(points.meaning, scale, metric).zeta, dtype=np.float64)
        zeta = as_numbers(done.value, points, (n, n))
        np.testing.assert_allclose(zeta, exact, rtol=0, atol=100 * unit(points))


@cases(500, points=inputs(), metric=METRICS)
def test_distance_matrix(points, metric):
    done = call(mag.distance_matrix, points.given, metric=metric)
    if not refused_or_answered(points, done):
        return
    if not reach(points.meaning, np.float32 if points.tensor else points.dtype):
        return
    n = len(points.meaning)
    with np.errstate(over="ignore"):
        D = np.array(distances_of(points.meaning, metric), dtype=np.float64)
    if points.tensor and (torch.finfo(points.dtype).max / 2 < D).any():
        return
    found = as_numbers(done.value, points, (n, n))
    np.testing.assert_allclose(found, D, rtol=100 * rounding(points), atol=1e-160)


@cases(400, points=inputs(), scale=SCALES, metric=METRICS)
def test_solve(points, scale, metric):
    done = call(mag.solve, points.given, scale, metric=metric)
    if refused_or_answered(points, done):
        solution = done.value
        w = as_numbers(solution.value, points, (len(points.meaning),))
        assert isinstance(solution.message, str)
        assert solution.residual >= 0
        loose = not solution.converged or "merged" in solution.message
        check_weighting(w, truth(points.meaning, scale, metric), points, loose)


@cases(
    300,
    points=good_inputs(),
    scales=st.lists(SCALES, min_size=1, max_size=4),
    how=st.sampled_from([list, tuple, np.array, iter, pd.Series, torch.tensor]),
)
def test_many_scales(points, scales, how):
    done = call(mag.magnitude, points.given, how(scales))
    assert done.error is None, repr(done.error)
    like = points
    if how is torch.tensor and not points.tensor:
        container = "tensor" if points.dtype == np.float64 else "float32 tensor"
        like = contained(container, points.meaning)
    values = as_numbers(done.value, like, (len(scales),))
    tolerance = max(2e4 * max(rounding(like), np.finfo(points.precision).eps), 1e-5)
    for t, value in zip(scales, values, strict=True):
        exact = truth(points.meaning, np.float32(t) if how is torch.tensor else t).magnitude
        assert abs(float(exact) - value) <= tolerance * len(points.meaning)


@cases(300, points=inputs(most=4), solver=st.sampled_from([None, mag.LU()]))
def test_magnitude_function(points, solver):
    done = call(mag.magnitude_function, points.given, solver=solver)
    if points.finite and "all points coincide" in str(done.error):
        coincide = len(np.unique(points.meaning, axis=0)) == 1
        nearly = np.ptp(points.meaning, 0).max() < 1e-150
        assert coincide or nearly or points.precision == np.float32
        assert done.refused("points coincide")
    elif refused_or_answered(points, done):
        scales, values = done.value
        assert (np.diff(plain_array(scales)) > 0).all()
        assert len(scales) == len(values) == 50
        assert isinstance(values, torch.Tensor) == points.tensor


@cases(200, points=inputs(("plain", "odd", "wide"), most=4), fraction=st.floats(0.05, 0.9))
def test_choose_scale(points, fraction):
    done = call(mag.choose_scale, points.given, fraction=fraction)
    n = len(np.unique(points.meaning, axis=0)) if points.finite else 0
    if n == 1:
        assert done.refused("all points coincide")
    elif refused_or_answered(points, done):
        assert isinstance(done.value, float)
        reached = float(truth(points.meaning, done.value).magnitude) - 1
        assert abs(reached - fraction * (n - 1)) < 2e-2 * n


@cases(200, points=inputs(most=4), scale=SCALES, metric=METRICS)
def test_magnitude_dimension(points, scale, metric):
    done = call(mag.magnitude_dimension, points.given, scale, metric=metric)
    if not refused_or_answered(points, done):
        return
    value = float(as_numbers(done.value, points, ()))
    exact = truth(points.meaning, scale, metric)
    n = len(points.meaning)
    moment = mpmath.fsum(
        exact.w[i] * exact.w[j] * exact.D[i][j] * exact.zeta[i][j]
        for i in range(n)
        for j in range(n)
    )
    expected = float(scale * moment / exact.magnitude)
    tolerance = 1e3 * unit(points) * max(1.0, min(exact.contrast, 1e3))
    if not done.warned:
        assert abs(value - expected) < max(tolerance, 1e-6), value


@cases(
    200,
    points=good_inputs(("plain",)),
    index=st.lists(st.integers(-6, 6), min_size=1, max_size=4) | st.slices(5),
)
def test_blocks(points, index):
    done = call(mag.Similarity(points.given, 0.7).block, index, slice(None))
    n = len(points.meaning)
    if isinstance(index, list) and any(not -n <= i < n for i in index):
        assert done.refused("index", "out of", also=(IndexError,))
        return
    if isinstance(index, slice) and index.step is not None and index.step < 0:
        return
    whole = np.array(truth(points.meaning, 0.7).zeta, dtype=np.float64)
    tolerance = 1e-5 if points.precision == np.float32 else 1e-12
    np.testing.assert_allclose(plain_array(done.value), whole[index], atol=tolerance)


# Gradients


@cases(
    400,
    points=good_inputs(("plain",), most=5),
    scale=st.floats(-1, 1).map(lambda k: 10.0**k),
    metric=METRICS,
)
def test_gradients(points, scale, metric):
    """The magnitude's gradient against the formula, with the exact weighting."""
    x = torch.from_numpy(points.meaning.copy()).requires_grad_()
    (found,) = torch.autograd.grad(mag.magnitude(x, scale, metric=metric), x)
    exact = truth(points.meaning, scale, metric)
    w = as_floats(exact.w)
    expected = np.zeros_like(points.meaning)
    for i, p in enumerate(points.meaning):
        for j, q in enumerate(points.meaning):
            distance = max(float(exact.D[i][j]), 1e-300)
            pull = np.sign(p - q) if metric == "cityblock" else (p - q) / distance
            expected[i] += 2 * scale * w[i] * w[j] * float(exact.zeta[i][j]) * pull
    tolerance = 1e-7 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance)


# Spaces that grow and shrink


def tolerance_of(points):
    """How exact weights of this precision are."""
    name = str(points.dtype).removeprefix("torch.")
    return {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4, "float64": 1e-9}[name]


def check_space(space, x, scale, like):
    """The weighting of a space against the exact one."""
    exact = as_floats(truth(x, scale).w)
    np.testing.assert_allclose(plain_array(space.weighting), exact, atol=tolerance_of(like))


SPACES = {
    "first": inputs(("plain", "odd"), most=4),
    "scale": st.sampled_from([0.5, 1.0, 4.0]),
}


@cases(150, second=inputs(("plain", "odd"), most=3), **SPACES)
def test_points_added_to_a_space(first, second, scale):
    space = space_or_refusal(first, scale)
    if space is None:
        return
    added = call(space.add, second.given)
    deficit = call(space.deficit, second.given)
    if not second.finite or second.meaning.shape[1] != first.meaning.shape[1]:
        assert added.refused("points")
        assert deficit.refused("points")
    elif added.error is None:
        check_space(added.value, np.vstack([first.meaning, second.meaning]), scale, first)
    else:
        assert added.refused("points to add coincide")


@cases(150, index=ANYTHING | st.lists(st.integers(-5, 5), max_size=3), **SPACES)
def test_points_removed_from_a_space(first, index, scale):
    space = space_or_refusal(first, scale)
    if space is None:
        return
    done = call(space.remove, index)
    if done.error is not None:
        assert done.refused("index|removing all points")
    elif isinstance(index, list):
        left = np.delete(np.arange(len(first.meaning)), index)
        check_space(done.value, first.meaning[left], scale, first)


def space_or_refusal(points, scale):
    """The space of these points, checked; None when they were rightly refused."""
    done = call(mag.WeightedSpace, points.given, scale)
    if done.error is None:
        check_space(done.value, points.meaning, scale, points)
        return done.value
    assert done.refused("points")
    if points.finite:
        copies = len(np.unique(points.meaning, axis=0)) < len(points.meaning)
        assert copies or (points.tensor and points.given.requires_grad)
    return None


# How many


def test_ten_thousand():
    """Planned in all files of this name; carried out as planned by whoever runs a whole file."""
    for path in fuzz.FILES:
        importlib.import_module(path.stem)
    assert sum(fuzz.PLANNED.values()) >= 10_000
    here = {name: fuzz.CARRIED_OUT[name] for name in fuzz.PLANNED if __name__ in name}
    if all(here.values()):
        assert sum(here.values()) >= 0.9 * sum(fuzz.PLANNED[name] for name in here)
