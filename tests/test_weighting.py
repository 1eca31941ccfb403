"""What the public functions accept and give back.

Containers, precisions, scales, metrics, gradients, warnings.
"""

import importlib
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from known_spaces import k32
from sklearn.metrics import pairwise_distances

import magnitude_ae as mag

RNG = np.random.default_rng(0)
POINTS = RNG.integers(-40, 40, (30, 3)) / 16.0  # exact in float16 as well
TRUTH = np.linalg.solve(
    np.exp(-0.7 * np.linalg.norm(POINTS[:, None] - POINTS, axis=2)), np.ones(30)
)


def reading_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


CONTAINERS = {
    "list": POINTS.tolist(),
    "list of tuples": [tuple(row) for row in POINTS.tolist()],
    "tuple": tuple(map(tuple, POINTS.tolist())),
    "list of arrays": list(POINTS),
    "list of tensors": [
        [torch.tensor(x, dtype=torch.float64) for x in row] for row in POINTS.tolist()
    ],
    "float64": POINTS.copy(),
    "float32": POINTS.astype(np.float32),
    "float16": POINTS.astype(np.float16),
    "longdouble": POINTS.astype(np.longdouble),
    "big-endian": POINTS.astype(">f8"),
    "Fortran order": np.asfortranarray(POINTS),
    "read-only": reading_only(POINTS),
    "negative strides": POINTS[::-1, ::-1].copy()[::-1, ::-1],
    "every second": np.repeat(np.repeat(POINTS, 2, 0), 2, 1)[::2, ::2],
    "object": POINTS.astype(object),
    "DataFrame": pd.DataFrame(POINTS, columns=list("abc"), index=RNG.permutation(30)),
    "mixed DataFrame": pd.DataFrame(
        {"a": POINTS[:, 0], "b": POINTS[:, 1].astype(np.float32), "c": POINTS[:, 2]}
    ),
    "masked array, nothing masked": np.ma.masked_array(POINTS),
    "matrix": np.asmatrix(POINTS),
    "torch float64": torch.from_numpy(POINTS.copy()),
    "torch float32": torch.from_numpy(POINTS).float(),
    "torch float16": torch.from_numpy(POINTS).half(),
    "torch bfloat16": torch.from_numpy(POINTS).bfloat16(),
    "torch transposed": torch.from_numpy(POINTS.T.copy()).T,
    "torch expanded": torch.from_numpy(POINTS)[:, None].expand(30, 2, 3)[:, 1],
    "torch parameter": torch.nn.Parameter(torch.from_numpy(POINTS.copy())),
}


def copy_of(values):
    return (
        values.detach().clone()
        if isinstance(values, torch.Tensor)
        else values.copy()
        if hasattr(values, "copy")
        else values
    )


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name):
    given, before = CONTAINERS[name], copy_of(CONTAINERS[name])
    w, size = mag.weighting(given, 0.7), mag.magnitude(given, 0.7)
    if isinstance(given, torch.Tensor):
        assert isinstance(w, torch.Tensor) and w.dtype == given.dtype and w.device == given.device
        assert w.requires_grad == given.requires_grad and size.ndim == 0
        assert torch.equal(given.detach(), before), "the input was written to"
        w = w.detach().double().numpy()
    else:
        assert type(w) is np.ndarray and isinstance(size, np.floating)
        single = name in ("float32", "float16")
        assert w.dtype == (np.float32 if single else np.float64) == size.dtype
        if isinstance(given, np.ndarray | pd.DataFrame):
            np.testing.assert_array_equal(np.asarray(given), np.asarray(before))
    assert w.shape == (30,)
    coarse = {
        "float32": 1e-5,
        "float16": 1e-5,
        "torch float32": 1e-5,
        "torch float16": 1e-3,
        "torch bfloat16": 1e-2,
    }
    # bfloat16 does not hold all the coordinates exactly
    if name != "torch bfloat16":
        np.testing.assert_allclose(w, TRUTH, rtol=0, atol=coarse.get(name, 1e-11))


@pytest.mark.parametrize(
    "function",
    ["weighting", "magnitude", "solve", "spread", "similarity_matrix", "distance_matrix"],
)
@pytest.mark.parametrize("metric", ["euclidean", "cityblock", "precomputed", "chebyshev"])
def test_the_input_is_never_written_to(function, metric):
    points = POINTS.copy() if metric != "precomputed" else mag.distance_matrix(POINTS)
    given, tensor = points.copy(), torch.from_numpy(points.copy())
    answers = [getattr(mag, function)(values, metric=metric) for values in (given, tensor)]
    np.testing.assert_array_equal(given, points)
    np.testing.assert_array_equal(tensor.numpy(), points)
    if function in (
        "similarity_matrix",
        "distance_matrix",
    ):  # nor does the answer share memory with it
        for answer in answers:
            answer[0, 1] = 77
        np.testing.assert_array_equal(given, points)
        np.testing.assert_array_equal(tensor.numpy(), points)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, bool])
def test_whole_numbers(dtype):
    whole = RNG.integers(0, 2 if dtype is bool else 50, (12, 8)).astype(dtype)
    expected = mag.weighting(whole.astype(float), 0.1)
    np.testing.assert_allclose(mag.weighting(whole, 0.1), expected, rtol=0, atol=1e-13)
    w = mag.weighting(torch.from_numpy(whole), 0.1)
    assert w.dtype == torch.get_default_dtype()
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(mag.weighting(whole.tolist(), 0.1), expected, rtol=0, atol=1e-13)


def test_large_integers_keep_their_differences():
    "2^53 + small offsets: as float64, not as float32, or all points would coincide."
    base = np.array([[0], [2], [4]], dtype=np.int64)
    np.testing.assert_allclose(mag.weighting(base + 2**40), mag.weighting(base), rtol=1e-13)


# ---- scales


@pytest.mark.parametrize(
    "many",
    [
        [0.1, 1.0, 10.0],
        (0.1, 1.0, 10.0),
        np.array([0.1, 1.0, 10.0]),
        torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64),
        pd.Series([0.1, 1.0, 10.0]),
        range(1, 4),
        (t for t in (0.1, 1.0, 10.0)),
    ],
    ids=lambda s: type(s).__name__,
)
def test_several_scales(many):
    expected = [1, 2, 3] if isinstance(many, range) else [0.1, 1.0, 10.0]
    w = mag.weighting(POINTS, many)
    assert w.shape == (3, 30)
    np.testing.assert_allclose(
        np.asarray(w), [mag.weighting(POINTS, t) for t in expected], rtol=1e-13
    )


@pytest.mark.parametrize("function", ["weighting", "magnitude", "spread"])
def test_shapes_by_the_number_of_scales(function):
    call, per_point = getattr(mag, function), (30,) if function == "weighting" else ()
    for one in (1, 1.0, np.float32(1), np.array(1.0), np.int64(1), torch.tensor(1.0)):
        assert tuple(call(POINTS, one).shape) == per_point
    for some in ([1.0], np.array([1.0]), torch.tensor([1.0])):
        assert tuple(call(POINTS, some).shape) == (1, *per_point)


def test_several_scales_differentiate():
    points = torch.from_numpy(POINTS.copy()).requires_grad_()
    scales = torch.tensor([0.3, 2.0], dtype=torch.float64, requires_grad=True)
    to_points, to_scales = torch.autograd.grad(
        mag.magnitude(points, scales).sum(), (points, scales)
    )
    singles = [torch.autograd.grad(mag.magnitude(points, t), points)[0] for t in (0.3, 2.0)]
    torch.testing.assert_close(to_points, sum(singles))
    step = 1e-6
    for t, slope in zip((0.3, 2.0), to_scales, strict=True):
        difference = (mag.magnitude(POINTS, t + step) - mag.magnitude(POINTS, t - step)) / (
            2 * step
        )
        assert slope.item() == pytest.approx(difference, rel=1e-6)


def test_a_scale_that_is_a_tensor_keeps_its_gradient_with_numpy_points():
    scale = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    size = mag.magnitude(POINTS, scale)
    assert isinstance(size, torch.Tensor)
    (slope,) = torch.autograd.grad(size, scale)
    assert slope.item() == pytest.approx(
        (mag.magnitude(POINTS, 0.5 + 1e-6) - mag.magnitude(POINTS, 0.5 - 1e-6)) / 2e-6, rel=1e-6
    )


@pytest.mark.parametrize("points_type", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale_type", [torch.float32, torch.float64])
def test_points_and_scale_of_different_precision(points_type, scale_type):
    points = torch.from_numpy(POINTS).to(points_type).requires_grad_()
    scale = torch.tensor(0.5, dtype=scale_type, requires_grad=True)
    w = mag.weighting(points, scale)
    assert w.dtype == points_type
    to_points, to_scale = torch.autograd.grad(w.square().sum(), (points, scale))
    assert to_points.dtype == points_type and to_scale.dtype == scale_type
    (alone,) = torch.autograd.grad(mag.weighting(points.detach(), scale).square().sum(), scale)
    torch.testing.assert_close(alone, to_scale)


def test_a_scale_may_be_trained():
    "Gradient steps on log t towards a magnitude of 10 reach it."
    points, log_scale = (
        torch.from_numpy(POINTS),
        torch.zeros((), dtype=torch.float64, requires_grad=True),
    )
    optimizer = torch.optim.Adam([log_scale], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (mag.magnitude(points, log_scale.exp()) - 10).square()
        loss.backward()
        optimizer.step()
    assert loss < 1e-2 and mag.magnitude(POINTS, log_scale.exp().item()) == pytest.approx(
        10, abs=0.1
    )


def test_no_grad_gives_no_graph():
    points = torch.from_numpy(POINTS.copy()).requires_grad_()
    with torch.no_grad():
        assert not mag.weighting(points).requires_grad
        assert not mag.weighting(points, metric="chebyshev").requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(mag.weighting(points), mag.weighting(points.detach()))


def test_half_precision_differentiates():
    points = torch.from_numpy(POINTS).half().requires_grad_()
    mag.magnitude(points).backward()
    exact = torch.from_numpy(POINTS.copy()).requires_grad_()
    mag.magnitude(exact).backward()
    torch.testing.assert_close(
        points.grad.double(), exact.grad, rtol=1e-2, atol=1e-3
    )  # float16 keeps three digits


# ---- metrics


METRICS = [
    "cityblock",
    "l1",
    "manhattan",
    "euclidean",
    "l2",
    "cosine",
    "chebyshev",
    "canberra",
    "braycurtis",
    "correlation",
    "seuclidean",
    "mahalanobis",
    "minkowski",
]


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_of_scikit_learn(metric):
    points = np.abs(np.random.default_rng(1).standard_normal((20, 4))) + 0.1
    expected = pairwise_distances(points, metric=metric)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(
        mag.distance_matrix(points, metric=metric), expected, rtol=0, atol=1e-13 * expected.max()
    )
    w = mag.weighting(points, 3.0, metric=metric)
    np.testing.assert_allclose(np.exp(-3 * expected) @ w, 1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        w, mag.weighting(expected, 3.0, metric="precomputed"), rtol=0, atol=1e-8 * np.abs(w).max()
    )


@pytest.mark.parametrize(
    "metric", ["jaccard", "hamming", "dice", "rogerstanimoto", "russellrao", "yule"]
)
def test_metrics_of_truth_values(metric):
    """As scikit-learn answers for booleans, or an error that says that the name is no metric.

    Never a guess with a warning.
    """
    flags = np.random.default_rng(2).random((15, 12)) < 0.5
    expected = pairwise_distances(flags, metric=metric)
    if np.diagonal(expected).any():  # Russell-Rao: a point is not at distance 0 from itself
        with pytest.raises(ValueError, match="non-zero diagonal"):
            mag.distance_matrix(flags, metric=metric)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(
            mag.distance_matrix(flags, metric=metric), expected, rtol=0, atol=1e-12
        )


def test_haversine_is_the_great_circle():
    degrees = np.array([[0.0, 0.0], [0.0, 90.0], [90.0, 0.0]])
    d = mag.distance_matrix(np.radians(degrees), metric="haversine")
    np.testing.assert_allclose(d, (1 - np.eye(3)) * np.pi / 2, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_foreign_metric_keeps_dtype_and_refuses_a_gradient(dtype):
    points = torch.from_numpy(POINTS).to(dtype)
    assert mag.weighting(points, metric="chebyshev").dtype == dtype
    with pytest.raises(ValueError, match="no gradient.*detach"):
        mag.weighting(points.requires_grad_(), metric="chebyshev")


def test_cosine_of_proportional_points():
    "Points on one ray are at cosine distance 0: copies, though their coordinates differ."
    rays = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, -1.0], [0.7, 1.4]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        w = mag.weighting(rays, 2.0, metric="cosine")
    two = mag.weighting(rays[[0, 2]], 2.0, metric="cosine")
    np.testing.assert_allclose([w[[0, 1, 3]].sum(), w[2]], two, rtol=1e-6)


@pytest.mark.parametrize("as_tensors", [False, True])
def test_precomputed_equals_direct(as_tensors):
    points = torch.from_numpy(POINTS) if as_tensors else POINTS
    distances = mag.distance_matrix(points)
    assert type(distances) is type(points)
    for function in (mag.weighting, mag.magnitude, mag.spread, mag.similarity_matrix):
        np.testing.assert_allclose(
            function(distances, 0.7, metric="precomputed"),
            function(points, 0.7),
            rtol=0,
            atol=1e-11,
        )
    assert mag.choose_scale(distances, metric="precomputed") == pytest.approx(
        mag.choose_scale(points), rel=1e-3
    )


def test_rows_of_the_answer_belong_to_rows_of_the_input():
    points = np.concatenate([POINTS, POINTS[[4, 4, 9]]])[np.random.default_rng(0).permutation(33)]
    w, order = mag.weighting(points), np.random.default_rng(1).permutation(33)
    np.testing.assert_allclose(mag.weighting(points[order]), w[order], rtol=0, atol=1e-12)


# ---- warnings and solve


def test_an_inexact_answer_warns_with_the_remedy():
    crowd = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) * 1e-3
    with pytest.warns(RuntimeWarning, match="residual.*float64") as seen:
        mag.weighting(crowd, 1.0, solver=mag.Inverse())
    assert seen[0].filename == __file__, "the warning should point to the caller's line"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mag.weighting(crowd, 1.0)  # solver=None finds a way


def test_solve_agrees_with_weighting():
    solution = mag.solve(POINTS, 0.7)
    assert (
        isinstance(solution.value, np.ndarray) and solution.converged and solution.residual < 1e-13
    )
    np.testing.assert_array_equal(solution.value, mag.weighting(POINTS, 0.7))
    assert solution.solver == mag.Cholesky() and "Cholesky" in solution.message
    indefinite = mag.solve(k32().points, 0.2, metric="precomputed")
    assert indefinite.solver == mag.LU() and "LU" in indefinite.message
    points = torch.from_numpy(POINTS.copy()).requires_grad_()
    assert mag.solve(points, 0.7).value.requires_grad


def test_solve_of_several_scales_is_refused():
    with pytest.raises(TypeError, match="scale must be one positive number"):
        mag.solve(POINTS, [0.7, 1.0])


def test_a_hopeless_space_is_not_sent_to_a_solver_that_was_tried():
    """Cosine distances in 3-D are half squared chords, of rank 4.

    At a small scale ζ of 25 points is singular to rounding.
    """
    with pytest.raises(mag.SingularSimilarityError) as caught:
        mag.weighting(POINTS[:25] + 3, 1e-3, metric="cosine")
    assert "scale" in str(caught.value) and "use mag.LU" not in str(caught.value)


# ---- the choice of solver


def test_many_points_get_conjugate_gradients_and_the_message_says_why():
    points = np.random.default_rng(0).normal(size=(5100, 2)) * 20
    answer = mag.solve(points)
    assert (
        isinstance(answer.solver, mag.ConjugateGradient)
        and answer.converged
        and "5,100 points" in answer.message
    )
    assert isinstance(mag.solve(points[:1900]).solver, mag.Cholesky)
    distances = mag.distance_matrix(points)
    assert isinstance(mag.solve(distances, metric="precomputed").solver, mag.Cholesky)


def test_without_room_for_a_matrix_the_tiles_are_made_as_needed(monkeypatch):
    for name in ("choice", "conjugate_gradients"):
        module = importlib.import_module(f"magnitude_ae.solvers.{name}")
        monkeypatch.setattr(module, "free_bytes", lambda device: 1000)
    points = np.random.default_rng(0).normal(size=(300, 2)) * 5
    answer = mag.solve(points)
    assert "does not fit" in answer.message and answer.converged and answer.residual <= 1e-8
    np.testing.assert_allclose(answer.value, mag.weighting(points, solver=mag.LU()), atol=1e-6)


def test_a_memory_error_names_the_way_out():
    with pytest.raises(MemoryError, match="ConjugateGradient"):
        mag.weighting(torch.rand(10**6, 2), solver=mag.Cholesky())


def test_hard_cases_fall_back_to_a_factorisation():
    "Pairs 1e-13 apart among many points: conjugate gradients may fail, the answer may not."
    points = np.random.default_rng(0).normal(size=(5100, 2)) * 20
    points = np.vstack([points, points[:50] + 1e-13])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = mag.solve(points)
    assert answer.converged


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [1e-16, 2e-16])
def test_twins_that_rounding_cannot_tell_apart_share_their_weight(seed, shift):
    points = mag.datasets.disc(300, random_state=seed)
    answer = mag.solve(np.vstack([points, points[:3] + shift]))
    assert answer.converged
    np.testing.assert_allclose(answer.value[300:], answer.value[:3], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        answer.value[:3] + answer.value[300:], mag.weighting(points)[:3], atol=1e-8
    )


def test_cholesky_does_not_believe_a_pivot_of_the_size_of_rounding():
    points = mag.datasets.disc(300, random_state=0)
    with pytest.raises(
        mag.NotPositiveDefiniteError, match="points nearly coincide.*solver=None, which merges them"
    ):
        mag.weighting(np.vstack([points, points[:1] + [3e-16, 0]]), solver=mag.Cholesky())
