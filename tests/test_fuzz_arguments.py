"""Anything at all as a scale, a metric, a solver or another setting of the verbs."""

import inspect
from fractions import Fraction

import fuzz
import numpy as np
import torch
from fuzz import ANYTHING, SQUARE, as_floats, call, cases, plain_array, truth
from hypothesis import strategies as st

import magnitude_ae as mag

pytestmark = fuzz.within_limits

SCALED = [
    mag.similarity_matrix,
    mag.Similarity,
    mag.solve,
    mag.weighting,
    mag.magnitude,
    mag.spread,
    mag.magnitude_dimension,
    mag.WeightedSpace,
]
# These take several scales at once, too.
FLEXIBLE = [
    mag.weighting,
    mag.magnitude,
    mag.spread,
    mag.magnitude_dimension,
    mag.magnitude_function,
]
SETTINGS = ("metric", "solver", "scales", "method", "fraction")
FUNCTIONS = [
    mag.similarity_matrix,
    mag.distance_matrix,
    mag.weighting,
    mag.magnitude,
    mag.solve,
    mag.spread,
    mag.magnitude_function,
    mag.magnitude_dimension,
    mag.choose_scale,
    mag.Similarity,
    mag.WeightedSpace,
    mag.boundary_correlation,
]
KEYWORDS = [
    (function, name)
    for function in FUNCTIONS
    for name in inspect.signature(function).parameters
    if name in SETTINGS
]


def is_scale(value):
    """Whether `value` is one positive finite number."""
    if isinstance(value, bool | np.bool_) or getattr(value, "dtype", None) in (bool, torch.bool):
        return False
    if isinstance(value, torch.Tensor):
        return value.ndim == 0 and 0 < value.item() < np.inf
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "fiu" and bool(0 < value < np.inf)
    if isinstance(value, np.complexfloating):
        return False
    try:
        return isinstance(value, int | float | Fraction | np.number) and 0 < float(value) < np.inf
    except OverflowError:
        return False


def are_scales(value):
    """Whether `value` is a sequence of scales."""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__") or np.ndim(value) == 0:
        return False
    return all(map(is_scale, value))


@cases(800, function=st.sampled_from(SCALED), scale=ANYTHING)
def test_scale(function, scale):
    done = call(function, SQUARE, scale)
    one_in_an_array = np.size(scale) == 1 and isinstance(scale, np.ndarray | torch.Tensor)
    if function is mag.WeightedSpace and is_scale(scale) and scale < 1e-12:
        assert done.error is None or done.refused("scale")
    elif is_scale(scale):
        assert done.error is None, repr(done.error)
    elif one_in_an_array and done.error is None:
        assert np.all(np.asarray(scale) > 0)
    elif not (function in FLEXIBLE and are_scales(scale)):
        assert done.refused("scale")
    if function is mag.weighting and is_scale(scale):
        exact = as_floats(truth(SQUARE, float(scale)).w)
        np.testing.assert_allclose(plain_array(done.value), exact, rtol=1e-9)


@cases(900, where=st.sampled_from(KEYWORDS), value=ANYTHING)
def test_keywords(where, value):
    function, name = where
    points = (SQUARE, SQUARE) if function is mag.boundary_correlation else (SQUARE,)
    done = call(function, *points, **{name: value})
    if name == "method" and callable(value):
        return  # what a function of the caller's raises is the caller's
    if is_usual(function, name, value):
        assert done.error is None, repr(done.error)
    elif done.error is not None:
        words = {"metric": ("metric", "the precomputed"), "scales": ("scale",)}.get(name, (name,))
        assert done.refused(*words)
    elif name in ("solver", "metric"):
        known = (None, "euclidean", "nan_euclidean", "l1", "l2")
        assert value in known, f"{name}={value!r} was accepted"


def is_usual(function, name, value):
    """Whether a setting has its default value, or one that is as good."""
    usual = inspect.signature(function).parameters[name].default
    if usual is None and value is None:
        return True
    if name == "solver" and isinstance(value, mag.Cholesky):
        return True
    return isinstance(value, type(usual)) and value == usual
