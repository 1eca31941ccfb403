"""Odd matrices, metrics, right-hand sides and parameters for solvers and strategies."""

import functools
import operator
import re
from dataclasses import fields

import fuzz
import numpy as np
import scipy.sparse
import torch
from fuzz import (
    ANYTHING,
    METRICS,
    PLAIN,
    SCALES,
    SQUARE,
    as_numbers,
    call,
    cases,
    check_weighting,
    contained,
    frozen,
    good_inputs,
    inputs,
    largest_miss,
    plain_array,
    rounding,
    truth,
)
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.neighbors import VALID_METRICS

import magnitude_ae as mag

pytestmark = fuzz.within_limits

EXACT = [
    mag.Inverse(),
    mag.LU(),
    mag.Cholesky(),
    mag.Schur(),
    mag.Schur(2),
    mag.ConjugateGradient(),
    mag.ConjugateGradient(memory=0),
    mag.ConjugateGradient(preconditioner=mag.Vecchia(3)),
    mag.HODLR(),
    mag.HODLR(leaf_size=2),
]
SOLVERS = st.sampled_from([*EXACT, mag.Vecchia(20), mag.Vecchia(1, "random")])


# Spaces given by their distances

DISTANCES = st.integers(0, 40).map(lambda k: k / 8) | st.just(np.inf)
SPOILED = ["asymmetric", "negative", "nan", "diagonal", "not square", "minus infinity"]
CONTAINERS = [
    "float64",
    "float32",
    "Fortran",
    "negative strides",
    "read-only",
    "strided",
    "list",
    "DataFrame",
    "tensor",
    "float32 tensor",
    "tensor with gradient",
    "object",
    "longdouble",
]
OF_DISTANCES = [mag.weighting, mag.magnitude, mag.solve, mag.spread, mag.similarity_matrix]


@st.composite
def matrices(draw):
    """A matrix (n, n), and whether it is one of distances."""
    n = draw(st.integers(1, 5))
    drawn = draw(hnp.arrays(np.float64, (n, n), elements=DISTANCES, fill=st.nothing()))
    D = np.triu(drawn, 1) + np.triu(drawn, 1).T
    how = draw(st.sampled_from([None] * 6 + SPOILED))
    i = draw(st.integers(0, n - 1))
    j = draw(st.integers(0, n - 1))
    if how == "not square":
        return (D[:, :0] if n == 1 else D[:-1]), False
    if how == "diagonal":
        D[i, i] = 1.0
        return D, False
    if how is None or i == j:
        return D, True
    D[i, j] = {
        "asymmetric": D[j, i] + 1 if np.isfinite(D[j, i]) else 0.0,
        "negative": -1.0,
        "nan": np.nan,
        "minus infinity": -np.inf,
    }[how]
    return D, False


@cases(
    700,
    drawn=matrices(),
    scale=SCALES,
    container=st.sampled_from(CONTAINERS),
    function=st.sampled_from(OF_DISTANCES),
)
def test_precomputed(drawn, scale, container, function):
    D, good = drawn
    points = contained(container, D)
    done = call(function, points.given, scale, metric="precomputed")
    if not good:
        assert done.refused("the precomputed distance matrix")
        return
    single = points.precision == np.float32
    exact = truth(None, scale, D=points.meaning)
    zeta = np.array(exact.zeta, dtype=np.float64)
    if done.error is not None:
        assert isinstance(done.error, mag.SingularSimilarityError)
        assert done.refused("singular|no weighting|positive definite")
        assert function in (mag.weighting, mag.magnitude, mag.solve)
        assert np.linalg.cond(zeta) > 1e-2 / np.finfo(points.precision).eps
    elif function in (mag.weighting, mag.solve):
        value = done.value.value if function is mag.solve else done.value
        w = as_numbers(value, points, (len(D),))
        loose = 1e-5 if done.warned or function is mag.solve else 0
        tolerance = max(1e-4 if single else 1e-9, loose)
        assert largest_miss(exact.zeta, w) <= tolerance * (1 + np.abs(w).sum())
    elif function is mag.similarity_matrix:
        found = as_numbers(done.value, points, D.shape)
        np.testing.assert_allclose(found, zeta, rtol=0, atol=1e-5 if single else 1e-12)


# Metrics of scikit-learn's

OURS = {"euclidean", "cityblock", "l1", "l2", "manhattan", "precomputed"}
FOREIGN = sorted(set(VALID_METRICS["brute"]) - OURS)


@cases(
    600,
    points=inputs(("plain", "small", "odd", "huge")),
    metric=st.sampled_from(FOREIGN),
    scale=SCALES,
)
def test_foreign_metrics(points, metric, scale):
    """What scikit-learn computes is solved as given.

    What it cannot compute, or what is no distance, is refused under the metric's name.
    """
    done = call(mag.weighting, points.given, scale, metric=metric)
    if not points.finite:
        assert done.refused("points")
    elif points.tensor and points.given.requires_grad:
        assert done.refused("has no gradient here")
    elif done.error is not None:
        assert done.refused(f"metric='{metric}'|distance", "singular|no weighting")
    else:
        w = as_numbers(done.value, points, (len(points.meaning),))
        zeta = plain_array(mag.similarity_matrix(points.given, scale, metric=metric))
        tolerance = 1e-4 if rounding(points) > 1e-10 or done.warned else 1e-8
        if rounding(points) > 1e-4:
            tolerance = 1e-2
        assert np.abs(1 - zeta @ w).max() <= tolerance * (1 + np.abs(w).sum())


# Solvers, factors and right-hand sides


@cases(
    900, points=good_inputs(("plain", "wide"), most=7), scale=SCALES, metric=METRICS, solver=SOLVERS
)
def test_solvers(points, scale, metric, solver):
    """A solver that says that it converged has; one that says it cannot names what to do."""
    done = call(mag.solve, points.given, scale, metric=metric, solver=solver)
    if done.error is not None:
        assert isinstance(done.error, mag.SingularSimilarityError)
        assert done.refused(r"mag\.|solver=None|rtol|larger scale|float64")
        return
    w = as_numbers(done.value.value, points, (len(points.meaning),))
    if done.value.converged:
        check_weighting(w, truth(points.meaning, scale, metric), points, True)
    elif not isinstance(solver, mag.Vecchia):
        assert re.search("above .*;", done.value.message), done.value.message


GOOD_SIDES = {
    "vector": lambda b: b[:, 0],
    "matrix": lambda b: b,
    "integers": lambda b: b.astype(int),
    "list": lambda b: b.tolist(),
    "float32": lambda b: b.astype(np.float32),
    "bools": lambda b: b > 0,
    "tensor": torch.from_numpy,
    "read-only": frozen,
}
BAD_SIDES = {
    "wrong length": lambda b: b[:-1],
    "three dimensions": lambda b: b[None],
    "number": lambda b: 1.0,
    "text": lambda b: "ones",
    "none": lambda b: None,
    "complex": lambda b: b + 1j,
    "nan": lambda b: b * np.nan,
    "sparse": scipy.sparse.csr_matrix,
    "no columns": lambda b: b[:, :0],
}


@st.composite
def right_hand_sides(draw, n):
    """Something to solve for, and whether it can be solved for."""
    kind = draw(st.sampled_from([*GOOD_SIDES, *BAD_SIDES]))
    shape = (n, draw(st.integers(1, 3)))
    b = draw(hnp.arrays(np.float64, shape, elements=PLAIN, fill=st.nothing()))
    return (GOOD_SIDES | BAD_SIDES)[kind](b), kind in GOOD_SIDES


@cases(600, solver=SOLVERS, drawn=right_hand_sides(4))
def test_right_hand_sides(solver, drawn):
    b, good = drawn
    factor = solver.factor(mag.Similarity(SQUARE, 2.0))
    done = call(factor.solve, b)
    if not good:
        assert done.refused("right_hand_side")
        return
    assert done.error is None, repr(done.error)
    v = done.value.value.numpy()
    assert v.shape == np.shape(b)
    if not isinstance(solver, mag.Vecchia):
        product = mag.similarity_matrix(SQUARE, 2.0) @ v
        tolerance = 2e-8 * max(1, np.linalg.norm(b))
        np.testing.assert_allclose(product, np.asarray(b, float), rtol=0, atol=tolerance)


@cases(400, drawn=right_hand_sides(4))
def test_products(drawn):
    vector, good = drawn
    done = call(operator.matmul, mag.Similarity(SQUARE, 2.0), vector)
    if good and isinstance(vector, torch.Tensor):
        expected = mag.similarity_matrix(SQUARE, 2.0) @ vector.numpy()
        np.testing.assert_allclose(done.value.numpy(), expected, atol=1e-12)
    elif done.error is not None:
        assert done.refused("vector")
    else:
        expected = mag.similarity_matrix(SQUARE, 2.0) @ np.asarray(vector, dtype=float)
        np.testing.assert_allclose(np.asarray(done.value), expected, atol=1e-6)


# Parameters of solvers and strategies

SOLVER_CLASSES = (mag.Schur, mag.Vecchia, mag.HODLR, mag.ConjugateGradient)
STRATEGY_CLASSES = (mag.Joint, mag.BurnIn, mag.PredictorCorrector, mag.Cells)
PARAMETERS = [
    (make, field.name) for make in SOLVER_CLASSES + STRATEGY_CLASSES for field in fields(make)
]


@cases(1500, where=st.sampled_from(PARAMETERS), value=ANYTHING)
def test_parameters(where, value):
    """Solvers say at once what is wrong with a parameter, strategies when they make their plan."""
    make, name = where

    def made(value):
        thing = make(**{name: value})
        return hash(thing) if make in SOLVER_CLASSES else thing.phases(1.0)

    done = call(made, value)
    if done.error is not None:
        assert done.refused(f"^{name}")
    usual = next(field.default for field in fields(make) if field.name == name)
    if type(value) is type(usual) and value == usual:
        assert done.error is None, repr(done.error)


# Memory

DENSE = {
    "similarity_matrix": mag.similarity_matrix,
    "distance_matrix": mag.distance_matrix,
    "another metric": functools.partial(mag.weighting, metric="chebyshev"),
    "Cholesky": functools.partial(mag.weighting, solver=mag.Cholesky()),
    "LU": functools.partial(mag.magnitude, solver=mag.LU()),
    "Inverse": functools.partial(mag.solve, solver=mag.Inverse()),
    "Schur": functools.partial(mag.weighting, solver=mag.Schur()),
    "WeightedSpace": mag.WeightedSpace,
}


@cases(
    60, n=st.integers(200_000, 300_000), name=st.sampled_from(sorted(DENSE)), single=st.booleans()
)
def test_memory_is_predicted(n, name, single):
    """Points that take little room, and whose matrix is larger than any machine here.

    They are refused before anything is taken.
    """
    points = torch.arange(n, dtype=torch.float32 if single else torch.float64)[:, None]
    done = call(DENSE[name], points)
    assert isinstance(done.error, MemoryError), repr(done.error)
    assert re.search(r"[\d,]+ bytes needed, [\d,]+ free", str(done.error)), repr(done.error)
    assert done.refused("points")
