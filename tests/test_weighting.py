"""What the public functions accept and give back: containers, precisions, scales, metrics, gradients, warnings."""

import importlib
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from known_spaces import K32_POLE, k32, line
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
    for t, slope in zip((0.3, 2.0), to_scales):
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
    "As scikit-learn answers for booleans, or an error that says that the name is no metric on them; never a warning's guess."
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
    "Points on one ray are at cosine distance 0 from each other: copies, though their coordinates differ."
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


# ---- magnitude_function


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


# ---- choose_scale


def test_choose_scale_is_covariant():
    t = mag.choose_scale(POINTS)
    assert isinstance(t, float) and t > 0
    for factor in (1e-6, 3.0, 1e5):
        assert mag.choose_scale(POINTS * factor) == pytest.approx(
            t / factor, rel=1e-3
        )  # brentq stops at 1e-4 in log t
        assert mag.choose_scale(POINTS * factor + 7 * factor) == pytest.approx(t / factor, rel=1e-3)


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.5, 0.95])
def test_choose_scale_does_what_it_says(fraction):
    t = mag.choose_scale(POINTS, fraction=fraction)
    distinct = len(np.unique(POINTS, axis=0))
    assert (mag.magnitude(POINTS, t) - 1) / (distinct - 1) == pytest.approx(fraction, rel=1e-3)


def test_choose_scale_by_convergence_and_default():
    t = mag.choose_scale(POINTS, "convergence")
    assert mag.magnitude(POINTS, t) == pytest.approx(0.95 * len(POINTS), rel=1e-3)
    assert mag.choose_scale(POINTS) == mag.choose_scale(POINTS, "fraction", fraction=0.05)


def test_choose_scale_ignores_copies():
    assert mag.choose_scale(np.repeat(POINTS, 3, 0)) == pytest.approx(
        mag.choose_scale(POINTS), rel=1e-3
    )


@pytest.mark.parametrize(
    "points",
    [
        POINTS.tolist(),
        torch.from_numpy(POINTS).float(),
        pd.DataFrame(POINTS),
        torch.nn.Parameter(torch.from_numpy(POINTS)),
    ],
    ids=lambda p: type(p).__name__,
)
def test_choose_scale_takes_any_container(points):
    t = mag.choose_scale(points)
    assert type(t) is float and t == pytest.approx(mag.choose_scale(POINTS), rel=1e-3)


def test_choose_scale_by_another_metric():
    t = mag.choose_scale(POINTS, metric="cityblock")
    n = len(np.unique(POINTS, axis=0))
    assert (mag.magnitude(POINTS, t, metric="cityblock") - 1) / (n - 1) == pytest.approx(
        0.05, rel=1e-3
    )


@pytest.mark.parametrize(
    "given",
    [(k32().points, "precomputed"), (POINTS[:25] + 3, "chebyshev")],
    ids=["K_{3,2}", "chebyshev"],
)
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.6])
def test_choose_scale_does_not_mistake_a_pole_for_an_answer(given, fraction):
    "Where the magnitude jumps from −∞ to ∞ it changes sign without ever taking the value that was asked for."
    points, metric = given
    try:
        t = mag.choose_scale(points, metric=metric, fraction=fraction)
    except (ValueError, mag.SingularSimilarityError) as error:
        assert "scale" in str(error)
        return
    n = len(np.unique(points, axis=0))
    assert (mag.magnitude(points, t, metric=metric) - 1) / (n - 1) == pytest.approx(
        fraction, rel=1e-2
    )


def test_a_hopeless_space_is_not_sent_to_a_solver_that_was_tried():
    "Cosine distances in 3-D are half squared chords, of rank 4: at a small scale ζ of 25 points is singular to rounding."
    with pytest.raises(mag.SingularSimilarityError) as caught:
        mag.weighting(POINTS[:25] + 3, 1e-3, metric="cosine")
    assert "scale" in str(caught.value) and "use mag.LU" not in str(caught.value)


def test_choose_scale_of_two_points():
    "1 + tanh(t d / 2) = 1 + fraction has a closed solution."
    assert mag.choose_scale([[0.0], [3.0]], fraction=0.4) == pytest.approx(
        2 * np.arctanh(0.4) / 3, rel=1e-3
    )


def test_the_growth_of_two_points_has_its_peak_where_the_formula_has():
    x = np.linspace(0.01, 10, 100_001)  # t d / 2 in 1 + tanh(t d / 2)
    slope = x / np.cosh(x) ** 2 / (1 + np.tanh(x))
    expected = 2 * x[slope.argmax()] / 3
    assert mag.choose_scale([[0.0], [3.0]], "growth") == pytest.approx(
        expected, rel=0.15
    )  # the grid's step in log t is 0.05 to 0.1


def test_the_growth_is_largest_at_the_scale_it_chooses():
    t = mag.choose_scale(POINTS, "growth")

    def slope(t):
        return np.log(mag.magnitude(POINTS, 1.1 * t) / mag.magnitude(POINTS, t / 1.1)) / (
            2 * np.log(1.1)
        )

    assert type(t) is float and all(
        slope(t) > slope(factor * t) - 1e-3 for factor in (0.1, 0.5, 0.8, 1.25, 2, 10)
    )


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e5])
def test_the_growth_is_covariant_and_ignores_copies(factor):
    t = mag.choose_scale(POINTS, "growth")
    assert mag.choose_scale(POINTS * factor, "growth") == pytest.approx(t / factor, rel=1e-6)
    assert mag.choose_scale(np.repeat(POINTS, 2, 0) * factor, "growth") == pytest.approx(
        t / factor, rel=0.1
    )  # another grid


def test_a_function_of_the_scale_is_minimised_around_the_default():
    tried = []

    def loss(t):
        tried.append(t)
        return abs(np.log(t / mag.choose_scale(POINTS)) - np.log(8))

    assert mag.choose_scale(POINTS, loss) == pytest.approx(8 * mag.choose_scale(POINTS))
    np.testing.assert_allclose(tried, mag.choose_scale(POINTS) * 2.0 ** np.arange(-5, 6))
    assert all(type(t) is float for t in tried)


@pytest.mark.parametrize(
    "scales", [[1, 2, 4], np.array([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0]), range(1, 5)]
)
def test_a_function_of_the_scale_is_tried_at_the_scales_given(scales):
    t = mag.choose_scale(POINTS, lambda t: torch.tensor((t - 1.9) ** 2), scales=scales)
    assert type(t) is float and t == 2.0


def test_a_scale_where_the_function_fails_does_not_count():
    assert (
        mag.choose_scale(POINTS, lambda t: float("nan") if t < 3 else t, scales=[1, 2, 3, 4]) == 3
    )
    with pytest.raises(ValueError, match="NaN at every scale"):
        mag.choose_scale(POINTS, lambda t: np.nan, scales=[1, 2])


def test_arguments_that_do_not_go_together():
    with pytest.raises(ValueError, match="scales goes with a function"):
        mag.choose_scale(POINTS, scales=[1, 2])
    for method in ("growth", lambda t: t):
        with pytest.raises(ValueError, match="fraction goes with method='fraction'"):
            mag.choose_scale(POINTS, method, fraction=0.5)
    with pytest.raises(ValueError, match="empty"):
        mag.choose_scale(POINTS, lambda t: t, scales=[])
    with pytest.raises(ValueError, match="coincide"):
        mag.choose_scale(np.ones((3, 2)), "growth")


# ---- dimension, and points added, removed, tried


@pytest.mark.parametrize("solver", [None, mag.ConjugateGradient(), mag.LU()], ids=str)
def test_dimension_is_the_slope_of_the_magnitude_function(solver):
    points = np.random.default_rng(0).normal(size=(40, 3))
    for t in (1e-3, 0.5, 20.0):
        up, down = mag.magnitude(points, [t * 1.0001, t / 1.0001])
        slope = np.log(up / down) / (2 * np.log(1.0001))
        assert mag.magnitude_dimension(points, t, solver=solver) == pytest.approx(slope, rel=1e-4)
    assert mag.magnitude_dimension(points, [0.5, 2.0]).shape == (2,)


def test_dimension_differentiates():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(7, 2))).requires_grad_()
    scale = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mag.magnitude_dimension, (points, scale))


def test_dimension_of_unconnected_parts():
    inf = float("inf")
    D = np.array([[0, 1, inf], [1, 0, inf], [inf, inf, 0]])
    q = np.exp(-1.0)
    expected = 2 * q / (1 + q) ** 2 / (1 + 2 / (1 + q))
    assert mag.magnitude_dimension(D, metric="precomputed") == pytest.approx(expected, rel=1e-12)
    t = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(
        mag.magnitude_dimension(torch.from_numpy(D), t, metric="precomputed"), t
    )
    assert torch.isfinite(slope)


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
def test_adding_and_removing_in_any_order(metric):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60, 2)) * 2
    space = mag.WeightedSpace(points, 0.7, metric=metric)
    for step in range(12):
        if step % 3 == 0:
            new = rng.normal(size=(5, 2)) * 3
            points, space = np.vstack([points, new]), space.add(new)
        else:
            index = rng.choice(len(points), 9, replace=False)
            index[0] -= len(points)  # counted from the end
            points, space = np.delete(points, index, 0), space.remove(index)
        np.testing.assert_allclose(space.points, points)
        np.testing.assert_allclose(
            space.weighting, mag.weighting(points, 0.7, metric=metric), atol=1e-10
        )
        assert len(space) == len(points) and space.magnitude == pytest.approx(space.weighting.sum())
    assert f"n={len(points)}" in repr(space)


def test_deficit_is_zero_on_the_points_and_one_far_away():
    points = np.random.default_rng(1).normal(size=(50, 2))
    space = mag.WeightedSpace(points).remove([3, 4])
    np.testing.assert_allclose(space.deficit(space.points), 0, atol=1e-12)
    assert np.abs(space.deficit(points[3:5])).min() > 1e-6 and space.deficit(
        [[100.0, 0.0]]
    ) == pytest.approx(1)
    tensor = space.deficit(torch.from_numpy(points).float())
    assert isinstance(tensor, torch.Tensor) and tensor.shape == (50,)
    back = space.add(points[3:5])  # points that were there before
    assert back.magnitude == pytest.approx(mag.magnitude(points))


def test_weighted_space_refuses():
    points = np.random.default_rng(1).normal(size=(10, 2))
    space = mag.WeightedSpace(points)
    with pytest.raises(ValueError, match="coincide"):
        mag.WeightedSpace(np.vstack([points, points[:1]]))
    with pytest.raises(ValueError, match="coincide"):
        space.add(points[:1])
    with pytest.raises(ValueError, match="2 coordinate"):
        space.deficit([[1.0]])
    with pytest.raises(ValueError, match="NaN"):
        space.add([[np.nan, 0.0]])
    with pytest.raises(IndexError, match="between 0 and 9"):
        space.remove([10])
    with pytest.raises(ValueError, match="no space"):
        space.remove(range(10))
    with pytest.raises(ValueError, match="coordinates"):
        mag.WeightedSpace(mag.distance_matrix(points), metric="precomputed")
    with pytest.raises(ValueError, match="detach"):
        mag.WeightedSpace(torch.from_numpy(points).requires_grad_())


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
