"""For tests with drawn inputs: the inputs, what they mean, and the exact answers.

An input is drawn together with what it means: its numbers as float64, or None when it is no input
at all. The answer is compared with one in mpmath, to as many digits as it takes. Whatever happens,
nothing is printed, nothing hangs, the input keeps its bytes, and warnings are the library's own.

`FUZZ_TIMES=10 pytest tests/test_fuzz*` draws ten times as many cases, and others every time.
"""

import functools
import inspect
import os
import re
import signal
import warnings
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import magnitude_ae as mag

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
LONGEST_CALL = 30  # seconds
PLANNED: dict[str, int] = {}  # test -> cases planned
CARRIED_OUT: Counter = Counter()  # test -> cases carried out
FILES = sorted(Path(__file__).parent.glob("test_fuzz_*.py"))

within_limits = pytest.mark.usefixtures("limits")  # of time and memory: tests/conftest.py


def cases(count, **drawn):
    """Makes a test of `count` drawn cases, each counted, limited in time, and printing nothing."""

    def decorate(test):
        name = f"{test.__module__}.{test.__name__}"
        PLANNED[name] = count

        @functools.wraps(test)
        def carried_out(capfd, **values):
            CARRIED_OUT[name] += 1
            signal.setitimer(signal.ITIMER_REAL, LONGEST_CALL)
            try:
                test(**values)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            printed = capfd.readouterr()
            assert printed.out == printed.err == "", printed

        # pytest is to see `capfd`, hypothesis the names of what is drawn.
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [inspect.Parameter(each, keyword) for each in ("capfd", *drawn)]
        carried_out.__signature__ = inspect.Signature(parameters)
        del carried_out.__wrapped__
        quiet = settings(
            max_examples=count * TIMES,
            derandomize=TIMES == 1,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        return quiet(given(**drawn)(carried_out))

    return decorate


# Calling

OWN_WARNINGS = (
    "the weighting's residual is",
    "some points are closer together than",
    "no magnitude at scale",
    "training ended at epoch",
    "X has feature names",
    "the gradient's solve",
)
# Words by which one would know that an error of another library was let through.
FOREIGN_WORDS = re.compile(
    r"lapack|linalg|info\b|the input matrix|leading minor|Traceback|argument \d|dtype of"
    r"|Expected all|mat1|tensors? of size",
    re.IGNORECASE,
)
DOCUMENTED = (ValueError, TypeError, MemoryError, IndexError, FileNotFoundError)
BASES = (ValueError, TypeError, IndexError, OSError, np.linalg.LinAlgError, MemoryError)


@dataclass
class Outcome:
    """What came of a call: a value or an error, and the warnings."""

    value: object = None
    error: Exception | None = None
    warned: tuple = ()

    def refused(self, *names, also=()):
        """Whether it raised; if it did, as documented, with one of `names` in the message."""
        if self.error is None:
            return False
        own = type(self.error).__module__.startswith("magnitude_ae.")
        assert isinstance(self.error, (*BASES, *also)), repr(self.error)
        assert own or type(self.error) in (*DOCUMENTED, *also), repr(self.error)
        message = str(self.error)
        assert any(re.search(name, message) for name in names), f"{message!r} names none of {names}"
        assert not FOREIGN_WORDS.search(message), message
        return True


def call(function, *args, **kwargs):
    """What `function` does with arguments that must keep their bytes."""
    before = fingerprint((args, kwargs))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = Outcome(function(*args, **kwargs))
        except Exception as error:
            outcome = Outcome(error=error)
    assert fingerprint((args, kwargs)) == before, "the input was written to"
    for warning in caught:
        where = f"{warning.filename}:{warning.lineno}"
        told = f"{warning.category.__name__}: {warning.message} at {where}"
        assert str(warning.message).startswith(OWN_WARNINGS), told
    outcome.warned = tuple(str(warning.message) for warning in caught)
    return outcome


def fingerprint(thing):
    """Something that changes when the thing does."""
    if isinstance(thing, torch.Tensor):
        return fingerprint_of_tensor(thing)
    if isinstance(thing, np.ma.MaskedArray):
        return thing.data.tobytes(), np.ma.getmaskarray(thing).tobytes()
    if isinstance(thing, np.ndarray):
        content = repr(thing.tolist()) if thing.dtype == object else thing.tobytes()
        return content, thing.strides, thing.flags.writeable
    if isinstance(thing, pd.DataFrame | pd.Series):
        return thing.to_csv()
    if isinstance(thing, dict):
        return [(repr(key), fingerprint(value)) for key, value in thing.items()]
    if isinstance(thing, list | tuple):
        return [fingerprint(part) for part in thing]
    if type(thing).__module__.startswith("matplotlib"):
        return type(thing).__name__  # is there to be drawn on
    return re.sub(" at 0x[0-9a-f]+", "", repr(thing))


def fingerprint_of_tensor(thing):
    """Whether it takes gradients, whether it has one, and its bytes."""
    if thing.layout != torch.strided or thing.device.type == "meta":
        return str(thing)
    flat = torch.empty(thing.numel(), dtype=thing.dtype).copy_(thing.detach().reshape(-1))
    without_gradient = thing.is_leaf and thing.grad is None
    return thing.requires_grad, without_gradient, flat.view(torch.uint8).numpy().tobytes()


# Numbers

PLAIN = st.integers(-64, 64).map(lambda k: k / 8)
WIDE = st.floats(-1e6, 1e6)
SMALL = st.sampled_from(
    [0.0, -0.0, 5e-324, -1e-310, 2.3e-308, 1e-200, 1e-162, 1e-45, 1e-38, 1e-20, 1e-8]
)
HUGE = st.sampled_from([1e15, -1e18, 3e19, 1e38, -1e150, 1e154, 1e200, 1.7e308, -1.7e308])
ODD = st.sampled_from([np.nan, np.inf, -np.inf])
REGIMES = {
    "plain": PLAIN,
    "wide": WIDE,
    "small": st.one_of(PLAIN, SMALL),
    "tiny": SMALL,
    "huge": st.one_of(PLAIN, HUGE),
    "odd": st.one_of(PLAIN, ODD),
}
SCALES = st.one_of(st.sampled_from([1.0, 0.5, 3.0]), st.floats(-3, 3).map(lambda k: 10.0**k))
METRICS = st.sampled_from(["euclidean", "cityblock"])


@st.composite
def arrays(draw, regimes=tuple(REGIMES), most=5, widest=3, least=1):
    """A float64 array (n, d)."""
    regime = draw(st.sampled_from(regimes))
    n = draw(st.integers(least, most))
    d = draw(st.integers(1, widest))
    if regime == "plain" and draw(st.integers(0, 19)) == 0:
        d = 20
    return draw(hnp.arrays(np.float64, (n, d), elements=REGIMES[regime], fill=st.nothing()))


# Containers


def clipped(x, low, high):
    """The numbers of `x` between two bounds, none of them NaN."""
    return np.clip(np.nan_to_num(x, posinf=high, neginf=low), low, high)


def strided(x):
    """A view of every second row and third column of something larger."""
    return np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3]


def flipped(x):
    """A view with negative strides."""
    return x[::-1, ::-1].copy()[::-1, ::-1]


def frozen(x):
    """A copy that must not be written to."""
    x = x.copy()
    x.flags.writeable = False
    return x


def quietly(function, x):
    """`function(x)` without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(x)


def tensor(x):
    """A tensor of its own."""
    return torch.from_numpy(x.copy())


def fractions(x):
    """A list of lists of `Fraction`."""
    return [[Fraction(v) for v in row] for row in clipped(x, -1e300, 1e300).tolist()]


def named_frame(x):
    """A DataFrame with names for its columns and an index that does not begin at 0."""
    columns = [f"x{k}" for k in range(x.shape[1])]
    return pd.DataFrame(x, columns=columns, index=range(7, 7 + len(x)))


def frame_of_integers(x):
    """A DataFrame of pandas' own whole numbers."""
    return pd.DataFrame(clipped(x, -1000, 1000).astype(np.int64)).astype("Int64")


NUMPY = {
    "float64": np.copy,
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "big-endian": lambda x: x.astype(">f8"),
    "int64": lambda x: clipped(x, -(2**62), 2**62).astype(np.int64),
    "int8": lambda x: clipped(x, -127, 127).astype(np.int8),
    "uint8": lambda x: clipped(x, 0, 255).astype(np.uint8),
    "uint64": lambda x: clipped(x, 0, 2**63).astype(np.uint64),
    "bool": lambda x: clipped(x, 0, 1).astype(bool),
    "Fortran": np.asfortranarray,
    "negative strides": flipped,
    "strided": strided,
    "read-only": frozen,
    "one row again and again": lambda x: np.broadcast_to(x[:1], x.shape),
    "transposed": lambda x: x.T.copy().T,
    "matrix": lambda x: quietly(np.asmatrix, x),
    "masked nowhere": lambda x: np.ma.masked_array(x, np.zeros(x.shape, bool)),
    "object": lambda x: x.astype(object),
    "list": np.ndarray.tolist,
    "tuple": lambda x: tuple(map(tuple, x.tolist())),
    "list of arrays": list,
    "list of whole numbers": lambda x: clipped(x, -(2**53), 2**53).astype(np.int64).tolist(),
    "fractions": fractions,
    "decimals": lambda x: [[Decimal(v) for v in row] for row in x.tolist()],
    "DataFrame": pd.DataFrame,
    "DataFrame with names": named_frame,
    "DataFrame of float32": lambda x: pd.DataFrame(x.astype(np.float32)),
    "DataFrame of Int64": frame_of_integers,
    "DataFrame of Float64": lambda x: pd.DataFrame(clipped(x, -1e300, 1e300)).astype("Float64"),
}
SINGLE = ("float32", "float16", "DataFrame of float32")  # computed in single precision
TORCH = {
    "tensor": tensor,
    "float32 tensor": lambda x: tensor(x).float(),
    "float16 tensor": lambda x: tensor(x).half(),
    "bfloat16 tensor": lambda x: tensor(x).bfloat16(),
    "int64 tensor": lambda x: tensor(clipped(x, -(2**40), 2**40)).long(),
    "uint8 tensor": lambda x: tensor(clipped(x, 0, 255)).to(torch.uint8),
    "bool tensor": lambda x: tensor(clipped(x, 0, 1)).bool(),
    "tensor with gradient": lambda x: tensor(x).requires_grad_(),
    "inner tensor": lambda x: tensor(x).requires_grad_() * 1,
    "parameter": lambda x: torch.nn.Parameter(tensor(x)),
    "transposed tensor": lambda x: tensor(x.T).T,
    "expanded tensor": lambda x: tensor(x[:1]).expand(x.shape),
    "strided tensor": lambda x: tensor(np.repeat(x, 2, 0))[::2],
}
USELESS = {
    "None": lambda x: None,
    "number": lambda x: 3.0,
    "string": lambda x: "points.csv",
    "bytes": lambda x: b"\x00\x01",
    "dict": lambda x: {"x": x.tolist()},
    "set": lambda x: {1.0, 2.0},
    "object()": lambda x: object(),
    "generator": lambda x: (row for row in x),
    "type": lambda x: np.ndarray,
    "function": lambda x: np.linalg.norm,
    "text": lambda x: x.astype(str),
    "bytes array": lambda x: np.full(x.shape, b"1"),
    "objects that are text": lambda x: x.astype(str).astype(object),
    "list of lists of text": lambda x: x.astype(str).tolist(),
    "objects that are nothing": lambda x: np.full(x.shape, None),
    "objects that are objects": lambda x: np.full(x.shape, object()),
    "DataFrame of text": lambda x: pd.DataFrame(x).astype(str),
    "DataFrame with NA": lambda x: pd.DataFrame(np.full(x.shape, pd.NA)),
    "categories": lambda x: pd.DataFrame({"a": pd.Categorical(list("ab"))}),
    "complex": lambda x: x.astype(complex),
    "complex tensor": lambda x: tensor(x).to(torch.complex128),
    "sparse": lambda x: scipy.sparse.csr_matrix(x),
    "sparse array": lambda x: scipy.sparse.coo_array(x),
    "sparse tensor": lambda x: tensor(x).to_sparse(),
    "compressed tensor": lambda x: quietly(torch.Tensor.to_sparse_csr, tensor(x)),
    "meta tensor": lambda x: torch.empty(x.shape, device="meta"),
    "masked": lambda x: np.ma.masked_array(x, np.ones(x.shape, bool)),
    "dates": lambda x: np.zeros(x.shape, "datetime64[D]"),
    "durations": lambda x: np.zeros(x.shape, "timedelta64[s]"),
    "records": lambda x: np.zeros(len(x), [("x", float), ("y", float)]),
    "one dimension": lambda x: x[:, 0],
    "one dimension of a tensor": lambda x: tensor(x)[:, 0],
    "Series": lambda x: pd.Series(x[:, 0]),
    "three dimensions": lambda x: x[None],
    "three dimensions of a tensor": lambda x: tensor(x)[None],
    "no dimension": lambda x: x[0, 0],
    "no dimension of an array": lambda x: np.array(x[0, 0]),
    "no dimension of a tensor": lambda x: tensor(x)[0, 0],
    "no rows": lambda x: x[:0],
    "no columns": lambda x: x[:, :0],
    "no rows in a tensor": lambda x: tensor(x)[:0],
    "empty list": lambda x: [],
    "empty lists": lambda x: [[], []],
    "empty DataFrame": lambda x: pd.DataFrame(),
    "ragged": lambda x: [[1.0, 2.0], [3.0]],
    "nested too deep": lambda x: [[[1.0], [2.0]]],
}


@dataclass
class Input:
    """What is passed, and what it means.

    `meaning` is float64, as rounded by the precision it is computed in; None: it must be refused.
    """

    container: str
    given: object
    meaning: np.ndarray | None
    dtype: np.dtype | torch.dtype | None  # of the answer
    precision: type | None  # of the computation

    @property
    def tensor(self):
        """Whether the answer is to be a tensor."""
        return isinstance(self.given, torch.Tensor)

    @property
    def finite(self):
        """Whether it can be used."""
        return self.meaning is not None and np.isfinite(self.meaning).all()

    def __repr__(self):
        if self.meaning is None:
            return f"{self.container}: {self.given!r}"
        return f"{self.container}: {np.array2string(self.meaning, floatmode='unique')}"


def contained(container, x):
    """The array `x` in a container."""
    if container in USELESS:
        return Input(container, USELESS[container](x), None, None, None)
    with np.errstate(all="ignore"):
        passed = (NUMPY | TORCH)[container](x)
        if isinstance(passed, torch.Tensor):
            double = passed.dtype == torch.float64
            working = torch.float64 if double else torch.float32
            meaning = passed.detach().to(working).double().numpy()
            dtype = passed.dtype if passed.is_floating_point() else torch.float32
            return Input(container, passed, meaning, dtype, np.float64 if double else np.float32)
        precision = np.float32 if container in SINGLE else np.float64
        meaning = np.array(passed, dtype=np.float64)
        return Input(container, passed, meaning, np.dtype(precision), precision)


def inputs(regimes=tuple(REGIMES), containers=(*NUMPY, *TORCH, *USELESS), **shape):
    """Points in any container, or something that is none."""
    return st.builds(contained, st.sampled_from(containers), arrays(regimes, **shape))


def good_inputs(regimes=("plain", "wide", "small"), **shape):
    """Points that can be used."""
    return inputs(regimes, (*NUMPY, *TORCH), **shape).filter(lambda points: points.finite)


# Exact answers


def distances_of(x, metric):
    """The distances in mpmath, as a list of lists."""
    rows = [[mpmath.mpf(float(v)) for v in row] for row in x]

    def distance(p, q):
        differences = [abs(a - b) for a, b in zip(p, q, strict=True)]
        if metric == "cityblock":
            return mpmath.fsum(differences)
        return mpmath.sqrt(mpmath.fsum(differences, squared=True))

    return [[distance(p, q) for q in rows] for p in rows]


@dataclass
class Truth:
    """A space at a scale; `w` is None where it has no weighting."""

    D: list
    zeta: list
    w: list | None
    contrast: float  # largest distance over smallest

    @property
    def magnitude(self):
        """The sum of the weights."""
        return mpmath.fsum(self.w)


def truth(x, scale, metric="euclidean", D=None):
    """The exact weighting of the rows of `x`, or of distances `D`; copies share equally.

    It is solved with as many digits as the distances need.
    """
    with mpmath.workdps(60):
        rough = distances_of(x, metric) if D is None else exactly(D)
        apart = [d for row in rough for d in row if 0 < d < mpmath.inf]
        nearest = min(apart, default=mpmath.mpf(1))
        small = nearest * mpmath.mpf(float(scale))
        ratio = max(apart, default=1) / min(apart, default=1)
        contrast = float(min(ratio, mpmath.mpf(10) ** 100))
    digits = 60 + 3 * max(0, int(-mpmath.log10(small)))
    with mpmath.workdps(digits):
        distances = rough if x is None else distances_of(x, metric)
        t = mpmath.mpf(float(scale))
        zeta = [[similarity(t, d) for d in row] for row in distances]
        return Truth(distances, zeta, weights(distances, zeta), contrast)


def exactly(matrix):
    """A matrix of floats as a list of lists in mpmath."""
    return [[mpmath.mpf(float(v)) for v in row] for row in matrix]


def similarity(t, d):
    """exp(−t d), 0 at an infinite distance."""
    return mpmath.mpf(0) if d == mpmath.inf else mpmath.exp(-t * d)


def weights(distances, zeta):
    """The solution of ζw = 1 in which copies share equally; None where there is none."""
    groups = {}
    n = len(distances)
    for i, row in enumerate(distances):
        twin = next(j for j in range(n) if row[j] == 0 and distances[j] == row)
        groups.setdefault(twin, []).append(i)
    first = list(groups)
    matrix = mpmath.matrix([[zeta[i][j] for j in first] for i in first])
    try:
        v = mpmath.lu_solve(matrix, mpmath.ones(len(first), 1))
    except ZeroDivisionError:
        return None
    w = [mpmath.mpf(0)] * n
    for k, members in enumerate(groups.values()):
        for i in members:
            w[i] = v[k] / len(members)
    return w


# Comparing


def reach(x, precision):
    """Whether the squares of the distances stay within the numbers."""
    with np.errstate(over="ignore"):
        extent = (x.max(0) - x.min(0)).astype(precision)
        total = np.square(extent).sum()
        return np.isfinite(total) and np.isfinite(np.float64(x.max()) - x.min())


def underflows(x, precision):
    """Whether squares of distances fall below the numbers of this precision."""
    gaps = np.abs(x[:, None] - x)
    least = np.sqrt(np.finfo(precision).tiny) * 1e8
    return bool(((gaps > 0) & (gaps < least)).any())


def within_reach(points):
    """Whether squares of distances neither overflow nor underflow.

    If they do, points may be refused.
    """
    x = points.meaning
    return reach(x, points.precision) and not underflows(x, points.precision)


def refused_or_answered(points, done):
    """True when there is an answer to check; else the refusal has been checked."""
    if not points.finite or (done.error is not None and not within_reach(points)):
        assert done.refused("points")
        return False
    assert done.error is None, repr(done.error)
    return True


def plain_array(numbers):
    """Numbers as a float64 array, whatever the container."""
    if isinstance(numbers, torch.Tensor):
        return numbers.detach().double().numpy()
    return np.asarray(numbers, dtype=np.float64)


def as_numbers(answer, like, shape):
    """The answer as float64, after a look at its container, dtype and shape."""
    assert isinstance(answer, torch.Tensor) == like.tensor, type(answer)
    assert answer.dtype == like.dtype, (answer.dtype, like.dtype)
    assert tuple(np.shape(answer)) == shape, (np.shape(answer), shape)
    numbers = plain_array(answer)
    assert np.isfinite(numbers).all(), numbers
    return numbers


def rounding(like):
    """The unit of the answer's precision."""
    return torch.finfo(like.dtype).eps if like.tensor else np.finfo(like.dtype).eps


def unit(like):
    """The larger of the units of the answer's and of the computation's precision."""
    return max(rounding(like), np.finfo(like.precision).eps)


def as_floats(numbers):
    """Numbers of mpmath as an array."""
    return np.array([float(v) for v in numbers])


def largest_miss(zeta, w):
    """How far ζw is from 1, at most, with the exact ζ."""
    rows = (mpmath.fsum(z * float(v) for z, v in zip(row, w, strict=True)) for row in zeta)
    return max(abs(float(1 - total)) for total in rows)


def check_weighting(w, exact, like, warned):
    """A weighting is right when it solves the exact equation.

    Where that says something, it is also near the exact solution.
    """
    eps = unit(like)
    miss = largest_miss(exact.zeta, w)
    loose = 1e-5 if warned else 2e4 * eps
    assert miss <= max(loose, 20 * rounding(like)) * (1 + np.abs(w).sum()), (miss, w)
    tolerance = 1e3 * float(eps) * exact.contrast**2
    if tolerance < 1e-2 and not warned:
        true = as_floats(exact.w)
        largest = max(1.0, np.abs(true).max())
        assert np.abs(w - true).max() <= max(2e4 * eps, tolerance) * largest, (w, true)


# Anything

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
NUMBERS = [
    np.bool_(True),
    np.float32(2),
    np.int8(-1),
    np.float64("nan"),
    np.float16(1),
    np.uint8(3),
    np.longdouble(2),
]
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.fractions(),
    st.decimals(),
    st.sampled_from(NUMBERS),
    st.sampled_from(["auto", "euclidean", "precomputed", "nan", "1", "adam", "last", "cells"]),
    st.builds(np.array, st.floats() | st.booleans() | st.integers(-5, 5) | st.text(max_size=2)),
    st.builds(lambda v: np.array([v]), st.floats(0, 5)),
    st.builds(torch.tensor, st.floats() | st.booleans() | st.integers(-5, 5)),
    st.builds(lambda v: 10**v, st.integers(10, 400)),
    st.lists(st.floats() | st.text(max_size=2), max_size=3),
    st.lists(st.integers(), max_size=2).map(tuple),
    st.just({}),
    st.just({"t": 1}),
    st.sampled_from([object, len, mag.Cholesky, mag.Cholesky()]),
    st.builds(object),
    st.sampled_from([np.zeros((2, 2)), torch.ones(3), pd.Series([1.0, 2.0])]),
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    st.integers(1, 5),
    st.floats(0, 1),
)
