"""What cannot be used is refused: with the usual type of exception, a name, and a remedy."""

import types

import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.sparse
import torch
from sklearn.exceptions import NotFittedError

import magnitude_ae as mag

GOOD = np.random.default_rng(0).standard_normal((12, 3))


def fit(points, **settings):
    return mag.MagnitudeAutoencoder(progress=False, max_epochs=1, **settings).fit(points)


FUNCTIONS = {
    "weighting": mag.weighting,
    "magnitude": mag.magnitude,
    "solve": mag.solve,
    "spread": mag.spread,
    "similarity_matrix": mag.similarity_matrix,
    "distance_matrix": mag.distance_matrix,
    "magnitude_function": mag.magnitude_function,
    "choose_scale": mag.choose_scale,
    "Similarity": mag.Similarity,
    "fit": fit,
}
every = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
SCALED = ("weighting", "magnitude", "solve", "spread", "similarity_matrix", "Similarity")
scaled = pytest.mark.parametrize("function", [FUNCTIONS[name] for name in SCALED], ids=SCALED)
WITH_METRIC = [name for name in FUNCTIONS if name != "fit"]
with_metric = pytest.mark.parametrize(
    "function", [FUNCTIONS[name] for name in WITH_METRIC], ids=WITH_METRIC
)


def spoiled(value, rows=(3,)):
    points = GOOD.copy()
    points[list(rows), 1] = value
    return points


BAD_POINTS = {
    "NaN": (
        spoiled(np.nan),
        ValueError,
        r"points has 1 row\(s\) with NaN or infinity, first at 3; drop or impute",
    ),
    "infinity": (spoiled(np.inf, (2, 5)), ValueError, r"points has 2 row\(s\).*first at 2, 5"),
    "minus infinity": (torch.from_numpy(spoiled(-np.inf)), ValueError, "first at 3;"),
    "many rows": (
        spoiled(np.nan, range(1, 9)),
        ValueError,
        r"points has 8 row\(s\).*first at 1, 2, 3, 4, 5, …",
    ),
    "NaN in a DataFrame": (pd.DataFrame(spoiled(np.nan)), ValueError, "first at 3;"),
    "missing value": (
        pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
        ValueError,
        "points.*(first at 1|not a number)",
    ),
    "None in a list": ([[1.0], [None]], ValueError, "points.*(first at 1|not a number)"),
    "overflow to infinity": (np.array([[1e300], [np.inf]]), ValueError, "first at 1;"),
    "one dimension": (
        GOOD[:, 0],
        ValueError,
        r"points must have two dimensions.*\(12,\).*reshape\(-1, 1\)",
    ),
    "three dimensions": (GOOD[None], ValueError, r"points must have two dimensions.*\(1, 12, 3\)"),
    "no dimension": (np.array(3.0), ValueError, "points must have two dimensions"),
    "tensor of one dimension": (
        torch.ones(5),
        ValueError,
        "points must have two dimensions.*reshape",
    ),
    "no points": (np.empty((0, 3)), ValueError, "points is empty.*at least one point"),
    "no coordinates": (np.empty((3, 0)), ValueError, "points is empty.*coordinate"),
    "empty list": ([], ValueError, "points"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "points.*rectangular"),
    "words": (np.array([["a", "b"], ["c", "d"]]), ValueError, "points.*not a number.*text"),
    "text column": (
        pd.DataFrame({"x": [1.0, 2.0], "name": ["a", "b"]}),
        ValueError,
        "points.*not a number.*text columns",
    ),
    "a string": ("points.csv", TypeError, "points must be an array of numbers, not str"),
    "None": (None, TypeError, "points must be an array of numbers, not NoneType"),
    "a number": (3.0, TypeError, "points must be an array of numbers, not float"),
    "a dict": ({"x": [1.0]}, TypeError, "points must be an array of numbers, not dict"),
    "a set": ({1.0, 2.0}, TypeError, "points must be an array of numbers, not set"),
    "complex": (GOOD + 1j, TypeError, "points is complex"),
    "complex tensor": (torch.ones(3, 2, dtype=torch.complex64), TypeError, "points is complex"),
    "dates": (
        np.array([["2020-01-01"]], dtype="datetime64[D]"),
        TypeError,
        "points holds dates.*convert",
    ),
    "sparse": (
        scipy.sparse.eye(3).tocsr(),
        TypeError,
        r"points is a sparse matrix; pass points.toarray\(\)",
    ),
    "sparse tensor": (
        torch.eye(3).to_sparse(),
        TypeError,
        r"points is a sparse tensor; pass points.to_dense\(\)",
    ),
    "masked": (np.ma.masked_array(GOOD, GOOD > 1), ValueError, "points has masked entries"),
}


@every
@pytest.mark.parametrize("case", BAD_POINTS)
def test_points(function, case):
    points, error, message = BAD_POINTS[case]
    with pytest.raises(error, match=message):
        function(points)


@every
def test_distances_that_overflow(function):
    """Finite points whose distances are not.

    The answer must not silently be that of copies, and nothing may hang.
    """
    points = np.array([[0.0], [1.5e308], [-1.5e308]])
    try:
        answer = function(points)
    except (ValueError, OverflowError) as error:
        assert any(word in str(error) for word in ("points", "scale", "distance")), error
        return
    if function is mag.weighting:
        np.testing.assert_allclose(answer, 1)


@pytest.mark.parametrize(
    "name",
    [n for n in FUNCTIONS if n not in ("magnitude_function", "choose_scale", "fit", "Similarity")],
)
def test_one_point_works(name):
    answer = FUNCTIONS[name]([[2.0, 3.0]])
    answer = answer.value if name == "solve" else answer
    np.testing.assert_array_equal(np.ravel(answer), 0 if name == "distance_matrix" else 1)


@pytest.mark.parametrize("function", [mag.choose_scale, mag.magnitude_function])
@pytest.mark.parametrize("points", [[[1.0, 2.0]], [[1.0, 2.0]] * 4], ids=["one point", "copies"])
def test_no_scale_without_distances(function, points):
    with pytest.raises(ValueError, match="all points coincide.*pass one"):
        function(points)


# scale


@scaled
@pytest.mark.parametrize(
    "scale",
    [
        0,
        0.0,
        -1.0,
        -1e-300,
        float("inf"),
        float("-inf"),
        float("nan"),
        np.float32(-1),
        torch.tensor(0.0),
        torch.tensor(float("nan")),
    ],
    ids=repr,
)
def test_scale_that_is_not_positive_and_finite(function, scale):
    with pytest.raises(ValueError, match="scale must be positive and finite, not"):
        function(GOOD, scale)


@scaled
@pytest.mark.parametrize(
    "scale", ["1.0", None, 1j, {"t": 1}, object()], ids=lambda s: type(s).__name__
)
def test_scale_that_is_no_number(function, scale):
    with pytest.raises((TypeError, ValueError), match="scale must be"):
        function(GOOD, scale)


@scaled
@pytest.mark.parametrize(
    "scale", [True, np.bool_(True), torch.tensor(True)], ids=lambda s: type(s).__name__
)
def test_a_truth_value_is_no_scale(function, scale):
    with pytest.raises((TypeError, ValueError), match="scale must be"):
        function(GOOD, scale)


@pytest.mark.parametrize(
    "function", [mag.weighting, mag.magnitude, mag.spread, mag.magnitude_function]
)
@pytest.mark.parametrize(
    "scales, error",
    [
        ([], ValueError),
        (np.array([]), ValueError),
        ([1.0, 0.0], ValueError),
        ([1.0, np.nan], ValueError),
        ([1.0, "x"], TypeError),
        ([[1.0, 2.0]], TypeError),
        (np.ones((2, 2)), TypeError),
        (torch.ones(2, 2), TypeError),
    ],
    ids=repr,
)
def test_sequences_of_scales(function, scales, error):
    with pytest.raises(error, match="scale"):
        function(GOOD, scales)


# metric, solver, method


@with_metric
@pytest.mark.parametrize(
    "metric",
    ["euclid", "", None, 2, ["euclidean"], np.linalg.norm],
    ids=["euclid", "empty", "None", "2", "list", "function"],
)
def test_unknown_metric_lists_the_known(function, metric):
    with pytest.raises(
        ValueError, match="metric .* is not known.*cityblock.*cosine.*euclidean.*precomputed"
    ):
        function(GOOD, metric=metric)


@pytest.mark.parametrize(
    "function", [mag.weighting, mag.magnitude, mag.solve, mag.magnitude_function, mag.choose_scale]
)
@pytest.mark.parametrize("solver", ["cholesky", mag.Cholesky, 3], ids=repr)
def test_solver_that_is_none(function, solver):
    with pytest.raises(
        TypeError, match=r"solver must be a solver such as mag.Cholesky\(\), or None"
    ):
        function(GOOD, solver=solver)


def test_choose_scale_arguments():
    with pytest.raises(ValueError, match="method 'best' is not known.*fraction.*convergence"):
        mag.choose_scale(GOOD, "best")
    with pytest.raises(ValueError, match="method None is not known"):
        mag.choose_scale(GOOD, None)
    for fraction in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="fraction must be above 0 and below 1"):
            mag.choose_scale(GOOD, fraction=fraction)
    for fraction in ("half", True):
        with pytest.raises(TypeError, match="fraction must be a number"):
            mag.choose_scale(GOOD, fraction=fraction)
    with pytest.raises(ValueError, match="fraction goes with method='fraction'"):
        mag.choose_scale(GOOD, "convergence", fraction=0.5)


@pytest.mark.parametrize(
    "points",
    [GOOD[:, :2], np.random.default_rng(0).random((6, 2)) + 100],
    ids=["negative", "large"],
)
def test_a_metric_that_does_not_fit_the_points(points):
    with pytest.raises(ValueError, match="metric='haversine' cannot be used|haversine"):
        mag.weighting(np.hstack([points, points]), metric="haversine")


# precomputed

SQUARE = np.abs(GOOD[:, :1] - GOOD[:, 0])


def changed(value, i=2, j=5, both=True):
    matrix = SQUARE.copy()
    matrix[i, j] = value
    if both:
        matrix[j, i] = value
    return matrix


BAD_MATRICES = {
    "not square": (SQUARE[:5], r"must be square, not \(5, 12\).*metric='euclidean'"),
    "points": (GOOD, "must be square"),
    "not symmetric": (
        changed(9.0, both=False),
        r"not symmetric: entry \(2, 5\) is 9, entry \(5, 2\) is",
    ),
    "negative": (changed(-0.5), "negative entries, first in row 2"),
    "negative infinity": (changed(-np.inf), "negative entries, first in row 2"),
    "NaN": (changed(np.nan), "NaN, first in row 2"),
    "non-zero diagonal": (changed(0.5, 4, 4), "non-zero diagonal, first at 4.*similarities"),
    "similarities": (np.exp(-SQUARE), "non-zero diagonal, first at 0.*similarities"),
    "infinite diagonal": (changed(np.inf, 4, 4), "non-zero diagonal"),
    "one dimension": (SQUARE[0], "the precomputed distance matrix must have two dimensions"),
    "empty": (np.empty((0, 0)), "the precomputed distance matrix is empty"),
    "one infinite, not its twin": (changed(np.inf, both=False), "not symmetric"),
}


@with_metric
@pytest.mark.parametrize("as_tensor", [False, True], ids=["numpy", "torch"])
@pytest.mark.parametrize("case", BAD_MATRICES)
def test_precomputed(function, case, as_tensor):
    matrix, message = BAD_MATRICES[case]
    with pytest.raises(ValueError, match=message):
        function(torch.from_numpy(matrix) if as_tensor else matrix, metric="precomputed")


def test_precomputed_forgives_rounding():
    uneven = SQUARE * (1 + 1e-15 * np.random.default_rng(0).standard_normal(SQUARE.shape))
    np.testing.assert_allclose(
        mag.weighting(uneven, metric="precomputed"),
        mag.weighting(SQUARE, metric="precomputed"),
        atol=1e-10,
    )


# memory


SOLVERS = [None, mag.Cholesky(), mag.LU(), mag.Inverse()]
TOO_LARGE = [
    (metric, solver)
    for metric in ("euclidean", "precomputed", "chebyshev")
    for solver in SOLVERS
    if solver or metric != "euclidean"
]


@pytest.fixture
def free(monkeypatch):
    """Says how many bytes of memory there are from now on."""

    def leave(n_bytes):
        memory = types.SimpleNamespace(available=n_bytes)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)

    return leave


@pytest.mark.parametrize("n_free", [0, 50_000])
def test_points_without_memory_for_a_matrix_are_solved_in_steps(free, n_free):
    """What `solver=None` does then: conjugate gradients, and the same answer."""
    points = np.random.default_rng(0).random((100, 2))
    exact = mag.weighting(points, 10.0)
    free(n_free)
    answer = mag.solve(points, 10.0)
    assert "ConjugateGradient" in repr(answer.solver) and answer.residual <= 1e-8
    np.testing.assert_allclose(answer.value, exact, rtol=0, atol=1e-6)


def named(value):
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize("metric, solver", TOO_LARGE, ids=named)
@pytest.mark.parametrize("n_free", [0, 50_000])
def test_a_problem_larger_than_memory(free, metric, solver, n_free):
    points = np.random.default_rng(0).random((100, 2))
    if metric == "precomputed":
        points = mag.distance_matrix(points)
    free(n_free)
    needed = rf"(80,000|1[26]0,000|240,000|320,000) bytes needed, {n_free:,} free"
    with pytest.raises(MemoryError, match=needed) as caught:
        mag.weighting(points, 10.0, metric=metric, solver=solver)
    assert "points" in str(caught.value)


def test_the_similarity_matrix_larger_than_memory(free):
    free(10)
    with pytest.raises(MemoryError, match="100 points.*bytes needed"):
        mag.similarity_matrix(np.random.default_rng(0).random((100, 2)))
    in_tiles = mag.spread(np.random.default_rng(0).random((100, 2)))
    assert np.isfinite(in_tiles)


ROOMY = {  # what takes a lot of memory, and what to do instead
    "Vecchia": (
        lambda x: mag.weighting(x, solver=mag.Vecchia(n_neighbors=1000)),
        "1000 neighbours .* lower n_neighbors",
    ),
    "HODLR, leaves": (
        lambda x: mag.weighting(x, solver=mag.HODLR(leaf_size=3000)),
        "leaves of 3000 points .* lower leaf_size",
    ),
    "HODLR, ranks": (
        lambda x: mag.weighting(x, solver=mag.HODLR(rtol=1e-12)),
        r"rank .* HODLR is for one or two dimensions: use mag.ConjugateGradient\(\)",
    ),
    "training": (
        lambda x: mag.MagnitudeAutoencoder(
            scale=1.0, strategy=mag.Joint(2), solver=mag.Vecchia(5), progress=False
        ).fit(x),
        r"of 3,000 points for the backward pass .* use strategy=mag.Subsets\(\)",
    ),
}


@pytest.mark.parametrize("what", ROOMY)
def test_what_needs_memory_asks_first(free, what):
    function, words = ROOMY[what]
    points = np.random.default_rng(0).random((3000, 5)) * 3
    free(10_000_000)
    with pytest.raises(MemoryError, match=words + r".*\(\d[\d,]* bytes needed, 10,000,000 free\)"):
        function(points)


def test_batches_that_fit_are_trained(free):
    "The remedy that the message names."
    points = np.random.default_rng(0).random((3000, 5)) * 3
    free(10_000_000)
    strategy = mag.Cells(n_burn_in_epochs=1, n_epochs=1)
    model = mag.MagnitudeAutoencoder(
        scale=1.0, strategy=strategy, solver=mag.Vecchia(5), progress=False, random_state=0
    ).fit(points)
    assert np.isfinite(model.embedding_).all()


# the estimator


def quick(**settings):
    return mag.MagnitudeAutoencoder(
        **{"progress": False, "max_epochs": 1, "strategy": mag.Joint(1), **settings}
    )


BAD_SETTINGS = {
    "architecture": [
        ("conv", ValueError, "architecture 'conv' is not known.*'linear'"),
        (None, ValueError, "architecture"),
        ((torch.nn.Identity(),), ValueError, "pair of modules"),
        (3, ValueError, "architecture"),
    ],
    "n_components": [
        (0, ValueError, "at least 1"),
        (-1, ValueError, "at least 1"),
        (1.5, TypeError, "whole"),
        ("2", TypeError, "whole"),
        (True, TypeError, "whole"),
        (None, TypeError, "whole"),
    ],
    "max_epochs": [(0, ValueError, "at least 1"), (2.5, TypeError, "whole")],
    "batch_size": [(0, ValueError, "at least 1"), ("all", TypeError, "whole")],
    "learning_rate": [
        (0.0, ValueError, "positive"),
        (-1e-3, ValueError, "positive"),
        (float("nan"), ValueError, "finite"),
        ("fast", TypeError, "number"),
    ],
    "weighting_coefficient": [
        (-1, ValueError, "at least 0"),
        (float("nan"), ValueError, "finite"),
        ("10", TypeError, "number"),
    ],
    "weighting_loss": [
        ("l3", ValueError, "not known.*'l1', 'l2'"),
        (None, ValueError, "not known"),
        (["l1"], (TypeError, ValueError), "l1"),
    ],
    "scale": [
        ("large", ValueError, "'auto'"),
        (0, ValueError, "positive"),
        (None, TypeError, "positive"),
        ([1.0, 2.0], TypeError, "one"),
    ],
    "solver": [("lu", TypeError, "mag.Cholesky"), (mag.LU, TypeError, r"mag.Cholesky\(\)")],
    "strategy": [
        ("joint", TypeError, "mag.Subsets"),
        (3, TypeError, "mag.Subsets"),
        (mag.Joint, TypeError, r"mag.Subsets\(\)"),
    ],
    "device": [("gpu", ValueError, "device 'gpu'"), (3.5, ValueError, "device 3.5")],
    "random_state": [
        ("lucky", ValueError, "seed|random_state"),
        (-1, ValueError, "seed|between|random_state"),
    ],
    "callbacks": [(3, TypeError, "callbacks"), (["print"], TypeError, "callback")],
}


@pytest.mark.parametrize(
    "name, value, error, message",
    [(name, *case) for name, cases in BAD_SETTINGS.items() for case in cases],
)
def test_settings(name, value, error, message):
    with pytest.raises(error, match=message) as caught:
        quick(**{name: value}).fit(GOOD)
    assert name in str(caught.value) or name == "random_state"


def test_settings_are_stored_as_given_and_checked_only_in_fit():
    assert quick(n_components=-3).n_components == -3


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_before_fit(method):
    with pytest.raises(NotFittedError, match="not fitted.*fit"):
        getattr(quick(), method)(GOOD[:, :2])


def test_save_before_fit(tmp_path):
    with pytest.raises(NotFittedError, match="not fitted"):
        quick().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def fitted():
    return quick(random_state=0, scale=1.0).fit(GOOD)


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_transform_with_other_columns(fitted, columns):
    with pytest.raises(ValueError, match=f"{columns} features.*expecting 3 features"):
        fitted.transform(np.ones((4, columns)))


def test_inverse_transform_with_other_columns(fitted):
    with pytest.raises(ValueError, match="latent has 3 columns.*n_components=2"):
        fitted.inverse_transform(GOOD)


def test_transform_with_other_names():
    named = quick(scale=1.0).fit(pd.DataFrame(GOOD, columns=["x", "y", "z"]))
    with pytest.raises(ValueError, match="feature names should match"):
        named.transform(pd.DataFrame(GOOD, columns=["x", "z", "y"]))


@pytest.mark.parametrize(
    "case", [c for c in BAD_POINTS if c not in ("no coordinates", "empty list")]
)
def test_points_to_transform(fitted, case):
    points, error, message = BAD_POINTS[case]
    with pytest.raises(error, match=message):
        fitted.transform(points)
    with pytest.raises(error, match=message.replace("points", "latent")):
        fitted.inverse_transform(points)


def test_one_point_is_too_few_to_train_on():
    with pytest.raises(ValueError, match="at least two points"):
        quick(scale=1.0).fit(GOOD[:1])
    with pytest.raises(ValueError, match="at least two points|all points coincide"):
        quick().fit(GOOD[:1])


def test_a_strategy_with_a_plan_that_cannot_be_carried_out():
    from magnitude_ae.strategies import Phase

    class Plan:
        def __init__(self, *phases):
            self.plan = list(phases)

        def phases(self, *_, **__):
            return self.plan

    with pytest.raises(ValueError, match="no phases"):
        quick(strategy=Plan()).fit(GOOD)
    with pytest.raises(TypeError, match="Phase"):
        quick(strategy=Plan("joint")).fit(GOOD)
    with pytest.raises(ValueError, match="subsets of no size; set batch_size"):
        plan = Plan(Phase("joint", 3, batches="subsets", weighting_coefficient=1.0))
        quick(strategy=plan).fit(GOOD)
    with pytest.raises(ValueError, match="batch_size 1, but batch normalisation needs"):
        quick(strategy=Plan(Phase("burn-in", 3, batch_size=1))).fit(GOOD)


# data sets


@pytest.mark.parametrize("name", ["ball", "disc", "sphere", "swiss_roll"])
def test_datasets(name):
    make = getattr(mag.datasets, name)
    for count, error in (
        (0, ValueError),
        (-1, ValueError),
        (2.5, TypeError),
        ("9", TypeError),
        (True, TypeError),
    ):
        with pytest.raises(error, match="n_points"):
            make(count)
    for radius, error in (
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
    ):
        with pytest.raises(error, match="radius"):
            make(5, radius=radius)
    for state, error in ((-1, ValueError), ("x", TypeError), (1.5, TypeError)):
        with pytest.raises(error, match="random_state"):
            make(5, random_state=state)


# files of the command line

BAD_FILES = {
    "text column": ("t.csv", "x,name\n1,ann\n2,bob\n", ValueError, "text in column.*name"),
    "empty": ("t.csv", "", ValueError, "is empty"),
    "ragged": ("t.csv", "1,2\n3,4,5\n6\n", ValueError, "t.csv.*cannot be read|first at|text"),
    "not a table": ("t.csv", b"\xff\xfe\x00\x81" * 20, ValueError, "t.csv"),
    "no array": ("t.npy", "x,y\n1,2\n", ValueError, "t.npy.*cannot be read as .npy"),
    "unknown ending": ("t.xlsx", "1,2\n", ValueError, "unknown ending.*csv.*npy"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_files(tmp_path, case):
    from magnitude_ae.cli import read_table

    name, content, error, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(error, match=message):
        read_table(tmp_path / name)


def test_a_file_that_does_not_exist(tmp_path):
    from magnitude_ae.cli import read_table

    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(FileNotFoundError, match="no file"):
            read_table(path)


def test_an_array_of_objects_runs_no_code(tmp_path):
    from magnitude_ae.cli import read_table

    np.save(tmp_path / "t.npy", np.array([{}, "a"], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as .npy"):
        read_table(tmp_path / "t.npy")
