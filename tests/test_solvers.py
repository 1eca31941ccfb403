"""Every solver on every kind of space, in both precisions, with its gradient; and where there is nothing to solve."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from known_spaces import K32_POLE, k32, line
from scipy.spatial.distance import cdist

import magnitude_ae as mag
from magnitude_ae.solvers import TOLERANCE, residual
from magnitude_ae.solvers.base import stable_shift

SOLVERS = [mag.Inverse(), mag.LU(), mag.Cholesky(), mag.Schur(16)]
named = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
precise = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda d: str(d)[6:])


def cloud(n=40, d=2, seed=0, dtype=torch.float64, **kwargs):
    points = torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d))) * 2
    return points.to(dtype).requires_grad_(kwargs.get("requires_grad", False))


def dense(points, scale=1.0, p=2.0):
    "ζ by plain torch, differentiable: the independent answer for gradients."
    difference = points[:, None] - points
    if p == 1:
        return torch.exp(-scale * difference.abs().sum(-1))
    off = ~torch.eye(len(points), dtype=torch.bool)
    squares = torch.where(
        off, difference.square().sum(-1), 1.0
    )  # sqrt has no gradient at the diagonal's 0
    return torch.where(off, torch.exp(-scale * squares.sqrt()), 1.0)


def close(actual, expected, tolerance):
    torch.testing.assert_close(
        actual, expected, rtol=0, atol=tolerance * max(1.0, expected.abs().max().item())
    )


# ---- what a solution says


@named
@precise
@pytest.mark.parametrize("columns", [None, 1, 7])
@pytest.mark.parametrize("metric", ["euclidean", "cityblock", "precomputed"])
def test_solution_of_any_right_hand_side(solver, dtype, columns, metric):
    points = cloud(dtype=dtype)
    similarity = mag.Similarity(
        mag.distance_matrix(points) if metric == "precomputed" else points, 0.9, metric
    )
    b = torch.randn(
        40,
        *([] if columns is None else [columns]),
        generator=torch.Generator().manual_seed(1),
        dtype=dtype,
    )
    solution = solver.factor(similarity).solve(b)
    assert isinstance(solution, mag.Solution)
    assert solution.value.shape == b.shape and solution.value.dtype == dtype
    assert solution.solver == solver and isinstance(solution.n_steps, int) and solution.n_steps >= 0
    zeta = torch.exp(
        -0.9
        * (
            similarity.distances()
            if metric == "precomputed"
            else torch.from_numpy(cdist(points, points, metric))
        )
    ).double()
    miss = (
        ((b.double() - zeta @ solution.value.double()).norm(dim=0) / b.double().norm(dim=0))
        .max()
        .item()
    )
    # distances rounded to float32 once or twice: the residual may differ by that rounding, not more
    assert solution.residual == pytest.approx(
        miss, rel=0.1, abs=1e-15 if dtype == torch.float64 else 3e-7
    )
    # A random b, unlike 1, excites the small eigenvalues: v is large there, and float32 keeps 1e-7 of it.
    assert solution.residual <= (1e-10 if dtype == torch.float64 else 2e-5)
    assert solution.converged == (solution.residual <= TOLERANCE[dtype])
    assert type(solver).__name__ in solution.message
    assert solution.converged or "float64" in solution.message


@named
@precise
def test_weighting_is_exact_by_its_own_measure(solver, dtype):
    for n, scale in ((2, 1.0), (40, 0.5), (200, 5.0)):
        solution = mag.solve(cloud(n, dtype=dtype), scale, solver=solver)
        assert solution.converged and solution.residual <= TOLERANCE[dtype]
        assert solution.residual == residual(
            mag.Similarity(cloud(n, dtype=dtype), scale), solution.value, torch.ones(n)
        )


@named
def test_solvers_are_frozen_and_compare_by_their_parameters(solver):
    twin = dataclasses.replace(solver)
    assert solver == twin and hash(solver) == hash(twin)
    with pytest.raises(dataclasses.FrozenInstanceError):
        solver.anything = 1


def test_one_factor_serves_many_right_hand_sides():
    factor = mag.Cholesky().factor(mag.Similarity(cloud()))
    together = factor.solve(torch.eye(40, dtype=torch.float64)).value
    for j in (0, 17, 39):
        close(factor.solve(torch.eye(40, dtype=torch.float64)[j]).value, together[:, j], 1e-11)
    close(together @ dense(cloud()), torch.eye(40, dtype=torch.float64), 1e-10)


def test_residual_sees_a_wrong_answer():
    similarity = mag.Similarity(cloud())
    w = mag.weighting(cloud())
    assert residual(similarity, w, torch.ones(40)) < 1e-13
    spoiled = w.clone()
    spoiled[3] += 0.01
    expected = (0.01 * dense(cloud())[3]).norm().item() / np.sqrt(40)
    assert residual(similarity, spoiled, torch.ones(40)) == pytest.approx(expected, rel=1e-9)


# ---- agreement with float64 elimination


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_elimination(seed):
    "Random n, dimension, metric and scale, against NumPy's LU of a ζ made by SciPy: within 1e-8."
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 150)), int(rng.choice([1, 2, 3, 5, 15, 16, 17, 40, 200]))
    metric = str(rng.choice(["euclidean", "cityblock", "chebyshev", "precomputed"]))
    points = rng.standard_normal((n, d)) if seed % 2 else rng.random((n, d))
    distances = cdist(points, points, "euclidean" if metric == "precomputed" else metric)
    scale = float(10 ** rng.uniform(-1, 1.5) / np.median(distances[distances > 0]))
    zeta = np.exp(-scale * distances)
    if np.linalg.cond(zeta) > 1e7:  # LU itself would not keep 1e-8
        scale *= 30
        zeta = np.exp(-scale * distances)
    truth = np.linalg.solve(zeta, np.ones(n))
    given = distances if metric == "precomputed" else points
    # the maximum metric is not of negative type above two dimensions: its ζ may be indefinite, and Cholesky says so
    for solver in (None, *SOLVERS[: 2 if metric == "chebyshev" else 4]):
        w = mag.weighting(given, scale, metric=metric, solver=solver)
        np.testing.assert_allclose(w, truth, rtol=0, atol=1e-8 * np.abs(truth).max())


# ---- gradients


@named
@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("shape", [(8,), (8, 3)], ids=str)
def test_gradcheck_in_points_scale_and_right_hand_side(solver, metric, shape):
    points, b = (
        cloud(8, 2, requires_grad=True),
        torch.randn(
            shape,
            dtype=torch.float64,
            requires_grad=True,
            generator=torch.Generator().manual_seed(0),
        ),
    )
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def solve(points, scale, b):
        return solver.factor(mag.Similarity(points, scale, metric)).solve(b).value

    assert torch.autograd.gradcheck(solve, (points, scale, b))


@named
@pytest.mark.parametrize("dimension", [1, 2, 16, 17, 60])
@pytest.mark.parametrize("p", [2, 1])
def test_gradient_agrees_with_autograd_through_elimination(solver, dimension, p):
    "Also across the change from direct distances to matrix products, at 16 dimensions."
    points = cloud(30, dimension, seed=dimension, requires_grad=True)
    scale = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    pull = torch.randn(30, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    w = mag.weighting(points, scale, metric="euclidean" if p == 2 else "cityblock", solver=solver)
    ours = torch.autograd.grad((w * pull).sum(), (points, scale))
    truth = torch.linalg.solve(dense(points, scale, p), torch.ones(30, dtype=torch.float64))
    theirs = torch.autograd.grad((truth * pull).sum(), (points, scale))
    close(ours[0], theirs[0], 1e-9)
    close(ours[1], theirs[1], 1e-9)


@pytest.mark.parametrize("solver", [None, *SOLVERS], ids=lambda s: type(s).__name__)
def test_gradient_in_a_precomputed_matrix(solver):
    distances = (
        torch.from_numpy(np.array(k32().points)).requires_grad_()
        if solver == mag.LU()
        else (mag.distance_matrix(cloud(12)).requires_grad_())
    )
    pull = torch.linspace(-1, 2, len(distances), dtype=torch.float64)
    w = mag.weighting(distances, 0.2, metric="precomputed", solver=solver)
    (ours,) = torch.autograd.grad((w * pull).sum(), distances)
    truth = torch.linalg.solve(
        torch.exp(-0.2 * distances), torch.ones(len(distances), dtype=torch.float64)
    )
    (theirs,) = torch.autograd.grad((truth * pull).sum(), distances)
    close(ours, theirs, 1e-9)


def test_gradient_flows_through_the_distances_to_the_points():
    points = cloud(20, requires_grad=True)
    (through,) = torch.autograd.grad(
        mag.weighting(mag.distance_matrix(points), metric="precomputed").square().sum(), points
    )
    (direct,) = torch.autograd.grad(mag.weighting(points).square().sum(), points)
    close(through, direct, 1e-10)


def test_gradient_in_float32_is_as_good_as_float32():
    points = cloud(200, 2, dtype=torch.float32, requires_grad=True)
    exact = points.detach().double().requires_grad_()
    pull = torch.randn(200, generator=torch.Generator().manual_seed(3))
    (ours,) = torch.autograd.grad((mag.weighting(points) * pull).sum(), points)
    truth = torch.linalg.solve(dense(exact), torch.ones(200, dtype=torch.float64))
    (theirs,) = torch.autograd.grad((truth * pull.double()).sum(), exact)
    assert (ours.double() - theirs).norm() / theirs.norm() < 1e-3  # cond(ζ) is about 1e4 here


def test_magnitude_gradient_and_its_derivative_in_the_scale():
    "∂Mag/∂t = wᵀ(D∘ζ)w, and the shortcut for the magnitude (no second solve) is the same gradient."
    points, scale = (
        cloud(25, requires_grad=True),
        torch.tensor(0.8, dtype=torch.float64, requires_grad=True),
    )
    to_points, to_scale = torch.autograd.grad(mag.magnitude(points, scale), (points, scale))
    d, w = mag.distance_matrix(points.detach()), mag.weighting(points.detach(), 0.8)
    close(to_scale, w @ (d * torch.exp(-0.8 * d)) @ w, 1e-11)
    theirs = torch.autograd.grad(
        torch.linalg.solve(dense(points, 0.8), torch.ones(25, dtype=torch.float64)).sum(), points
    )[0]
    close(to_points, theirs, 1e-10)


# ---- nothing to solve


def test_pole():
    "At log √2 the K_{3,2} graph has no weighting: refused by name, also a rounding away."
    for t in (K32_POLE, np.nextafter(K32_POLE, 0), np.nextafter(K32_POLE, 1)):
        for solver in (None, mag.LU()):
            with pytest.raises(mag.SingularSimilarityError, match="pole|scale"):
                mag.weighting(k32().points, t, metric="precomputed", solver=solver)
    assert issubclass(mag.SingularSimilarityError, np.linalg.LinAlgError)


def test_inverse_at_the_pole_refuses_or_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises((mag.SingularSimilarityError, RuntimeWarning)):
            mag.weighting(k32().points, K32_POLE, metric="precomputed", solver=mag.Inverse())


def test_two_copies_at_a_pole_in_float32():
    with pytest.raises(mag.SingularSimilarityError):
        mag.weighting(
            torch.tensor(k32().points, dtype=torch.float32),
            K32_POLE,
            metric="precomputed",
            solver=mag.LU(),
        )


def test_distances_without_the_triangle_inequality():
    "Not a metric; yet ζ is regular, and its weighting is the solution."
    distances = np.array([[0, 1, 1, 9.0], [1, 0, 1, 1], [1, 1, 0, 1], [9, 1, 1, 0]])
    w = mag.weighting(distances, 0.3, metric="precomputed")
    np.testing.assert_allclose(np.exp(-0.3 * distances) @ w, 1, atol=1e-12)


# ---- duplicates


@pytest.mark.parametrize("solver", [None, *SOLVERS], ids=lambda s: type(s).__name__)
@precise
@pytest.mark.parametrize("metric", ["euclidean", "cityblock", "precomputed"])
def test_copies_share_the_weight_of_one(solver, dtype, metric):
    rng = np.random.default_rng(5)
    base = cloud(15, 2, seed=9, dtype=dtype)
    index = torch.from_numpy(
        rng.permutation(np.concatenate([np.arange(15), rng.integers(0, 15, 20)]))
    )
    counts = torch.bincount(index, minlength=15)
    base_w = mag.weighting(
        base, 0.8, metric="cityblock" if metric == "cityblock" else "euclidean", solver=mag.LU()
    )
    points = base[index].clone()
    given = mag.distance_matrix(points) if metric == "precomputed" else points
    given.requires_grad_()
    w = mag.weighting(given, 0.8, metric=metric, solver=solver)
    torch.testing.assert_close(
        w.detach(), (base_w / counts)[index], rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-5
    )
    (gradient,) = torch.autograd.grad(w.square().sum(), given)
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 1e-3


def test_gradient_of_copies_moved_together():
    "Moving all copies of a point moves the weighting as moving the single point does: the shares of the gradient add up."
    base = cloud(6, requires_grad=True)
    index = torch.tensor([0, 1, 2, 3, 4, 5, 2, 2, 4])
    (copies,) = torch.autograd.grad(mag.magnitude(base[index]), base)
    (single,) = torch.autograd.grad(mag.magnitude(base), base)
    close(copies, single, 1e-12)


def test_minus_zero_is_zero():
    points = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 1.0]])
    w = mag.weighting(points)
    assert w[0] == w[1] and w[0] == pytest.approx(mag.weighting(points[1:])[0] / 2, rel=1e-14)


@pytest.mark.parametrize("solver", [None, *SOLVERS], ids=lambda s: type(s).__name__)
@precise
def test_one_point_and_points_all_equal(solver, dtype):
    one = mag.weighting(torch.zeros(1, 3, dtype=dtype), solver=solver)
    torch.testing.assert_close(one, torch.ones(1, dtype=dtype))
    same = torch.full((7, 3), 2.5, dtype=dtype, requires_grad=True)
    w = mag.weighting(same, 4.0, solver=solver)
    torch.testing.assert_close(w.detach(), torch.full((7,), 1 / 7, dtype=dtype))
    (gradient,) = torch.autograd.grad(w.square().sum(), same)
    torch.testing.assert_close(gradient, torch.zeros_like(same))
    assert mag.magnitude(np.zeros((4, 4)), metric="precomputed", solver=solver) == pytest.approx(1)


# ---- near-duplicates, far away, very small, very large


@precise
@pytest.mark.parametrize("apart", [10.0**-k for k in range(3, 18)])
@pytest.mark.parametrize("where", [0.0, 1.0])
def test_near_duplicates_weigh_together_as_one(dtype, apart, where):
    "At the origin the two stay distinct at any distance; at 1 rounding makes them one from 1e-7 (1e-16) on."
    rest = np.random.default_rng(3).standard_normal((20, 2)) + 2
    pair = (
        torch.from_numpy(np.vstack([rest, [where, 0], [where + apart, 0]]))
        .to(dtype)
        .requires_grad_()
    )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        w = mag.weighting(pair)
        (gradient,) = torch.autograd.grad(w.sum(), pair)
    truth = mag.weighting(torch.from_numpy(np.vstack([rest, [where, 0]])))
    together = torch.cat([w[:20], w[20:].sum()[None]]).detach().double()
    # Two points differ from one by O(their distance); in float32 the other points' rounding adds 1e-5.
    torch.testing.assert_close(
        together, truth, rtol=0, atol=3 * apart + (1e-9 if dtype == torch.float64 else 2e-5)
    )
    assert w[20:].abs().max() < 2, "the two halves cancel: rounding decides which way"
    assert torch.isfinite(gradient).all()
    assert not seen or "weight" in str(seen[0].message)


@precise
def test_a_swarm_of_near_duplicates(dtype):
    "A cloud of 50 points collapsed to a size of 1e-9 beside 20 others weighs about as one point there."
    rest = np.random.default_rng(3).standard_normal((20, 2)) + 3
    swarm = 1e-9 * np.random.default_rng(4).standard_normal((50, 2))
    points = torch.from_numpy(np.vstack([rest, swarm])).to(dtype)
    w = mag.weighting(points).double()
    truth = mag.weighting(torch.from_numpy(np.vstack([rest, [[0.0, 0.0]]])))
    torch.testing.assert_close(
        torch.cat([w[:20], w[20:].sum()[None]]),
        truth,
        rtol=0,
        atol=1e-7 if dtype == torch.float64 else 1e-4,
    )


@precise
@pytest.mark.parametrize("dimension", [2, 3, 20])
@pytest.mark.parametrize("solver", [None, mag.Cholesky()], ids=["None", "Cholesky"])
def test_collinear_points_in_space_weigh_as_on_the_line(dtype, dimension, solver):
    space = line([0, 10, 17, 40, 64, 100, 171])
    direction = np.zeros(dimension)
    direction[:2] = 0.6, 0.8  # 3-4-5: lengths stay as they were
    for scale in (1e-5, 0.1, 3.0):
        w = mag.weighting(
            torch.from_numpy(space.points * direction).to(dtype), scale, solver=solver
        )
        np.testing.assert_allclose(
            w.double(),
            space.weighting(scale),
            rtol=0,
            atol=1e-10 if dtype == torch.float64 else 1e-4,
        )


@precise
def test_far_from_the_origin(dtype):
    "The same cloud 2^10 away in steps of 2^-8 is exactly representable: the answer must not change at all digits asked."
    steps = np.random.default_rng(0).integers(-512, 512, (60, 2)) / 256
    near, far = torch.tensor(steps, dtype=dtype), torch.tensor(steps + 1024, dtype=dtype)
    torch.testing.assert_close(
        mag.weighting(far, 3.0),
        mag.weighting(near, 3.0),
        rtol=0,
        atol=1e-12 if dtype == torch.float64 else 2e-5,
    )
    wide = np.random.default_rng(0).integers(-512, 512, (60, 40)) / 256  # the product path
    near, far = torch.tensor(wide, dtype=dtype), torch.tensor(wide + 1024, dtype=dtype)
    torch.testing.assert_close(
        mag.distance_matrix(far),
        mag.distance_matrix(near),
        rtol=1e-6 if dtype == torch.float32 else 1e-12,
        atol=0,
    )


@precise
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e6, 1e30])
def test_extreme_scales(dtype, scale):
    points = cloud(30, dtype=dtype).requires_grad_()
    w = mag.weighting(points, scale)
    (gradient,) = torch.autograd.grad(w.square().sum(), points)
    assert torch.isfinite(w).all() and torch.isfinite(gradient).all()
    if scale > 1:
        torch.testing.assert_close(w.detach(), torch.ones(30, dtype=dtype))
    else:  # the limit direction E v = 1 with E = distances: w = v / Σv
        v = torch.linalg.solve(
            mag.distance_matrix(points.detach().double()), torch.ones(30, dtype=torch.float64)
        )
        torch.testing.assert_close(
            w.detach().double(), v / v.sum(), rtol=0, atol=1e-9 if dtype == torch.float64 else 1e-3
        )


# ---- many dimensions


@precise
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_784_dimensions(dtype, offset):
    "Distances by products: exact diagonal, accurate near-duplicates, and the gradient of the direct formula."
    rng = np.random.default_rng(0)
    raw = rng.random((60, 784)) + offset
    raw[1] = raw[0] + 1e-3 * rng.random(784)  # a near-duplicate, recomputed directly
    points = torch.from_numpy(raw).to(dtype)
    exact = points.double()
    distances = mag.distance_matrix(points)
    truth = torch.from_numpy(cdist(exact, exact))
    assert (distances.diagonal() == 0).all() and torch.equal(distances, distances.T)
    torch.testing.assert_close(
        distances.double(), truth, rtol=1e-6 if dtype == torch.float32 else 1e-11, atol=0
    )

    points, exact = points.requires_grad_(), exact.requires_grad_()
    pull = torch.linspace(-1, 1, 60, dtype=torch.float64)
    w = mag.weighting(points, 0.3)
    (ours,) = torch.autograd.grad((w * pull.to(dtype)).sum(), points)
    direct = torch.linalg.solve(dense(exact, 0.3), torch.ones(60, dtype=torch.float64))
    (theirs,) = torch.autograd.grad((direct * pull).sum(), exact)
    close(w.double(), direct, 1e-9 if dtype == torch.float64 else 1e-4)
    assert (ours.double() - theirs).norm() / theirs.norm() < (
        1e-8 if dtype == torch.float64 else 2e-3
    )


def test_784_dimensions_differentiate_the_similarity_matrix():
    points = torch.rand(
        12, 784, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    (ours,) = torch.autograd.grad(mag.similarity_matrix(points, 0.1).square().sum(), points)
    (theirs,) = torch.autograd.grad(dense(points, 0.1).square().sum(), points)
    close(ours, theirs, 1e-10)


# ---- Similarity


def test_products_in_tiles_and_blocks():
    points, v = (
        cloud(1100, 3),
        torch.randn(1100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    )
    similarity = mag.Similarity(points, 0.5)
    assert (
        len(similarity.tiles()) > 1 and len(similarity) == 1100 and similarity.shape == (1100, 1100)
    )
    zeta = torch.exp(-0.5 * torch.from_numpy(cdist(points, points)))
    close(similarity @ v, zeta @ v, 1e-12)
    close(similarity @ v[:, 0], zeta @ v[:, 0], 1e-12)
    close(similarity.block(slice(5, 9), torch.tensor([3, 1000])), zeta[5:9][:, [3, 1000]], 1e-14)
    assert "1100" in repr(similarity) and "euclidean" in repr(similarity)


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("dimension", [2, 20])
def test_gradcheck_of_the_product(metric, dimension):
    points, scale = (
        cloud(7, dimension, requires_grad=True),
        torch.tensor(0.3, dtype=torch.float64, requires_grad=True),
    )
    v = torch.randn(
        7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(
        lambda x, t, v: mag.Similarity(x, t, metric) @ v, (points, scale, v)
    )


def test_right_hand_side_is_checked():
    factor = mag.LU().factor(mag.Similarity(cloud(5)))
    with pytest.raises(ValueError, match=r"right_hand_side must have shape \(5,\)"):
        factor.solve(torch.ones(6))
    with pytest.raises(ValueError, match="right_hand_side has 1 row"):
        factor.solve([1, 1, float("nan"), 1, 1])
    with pytest.raises(TypeError, match=r"Similarity\(points, scale\)"):
        mag.LU().factor(cloud(5))


# ---- what is multiplied and solved for


@pytest.mark.parametrize(
    "b, error",
    [
        (np.ones(4) + 1j, TypeError),
        (torch.ones(4, dtype=torch.complex64), TypeError),
        ("ones", TypeError),
        (None, TypeError),
        (np.ones((4, 0)), ValueError),
        (np.ones(3), ValueError),
        (np.ones((4, 1, 1)), ValueError),
        ([1, np.nan, 1, 1], ValueError),
        (torch.ones(4, device="meta"), TypeError),
    ],
    ids=repr,
)
def test_right_hand_sides_that_cannot_be(b, error):
    factor = mag.Cholesky().factor(mag.Similarity(np.arange(4.0)[:, None]))
    with pytest.raises(error, match="right_hand_side"):
        factor.solve(b)


def test_a_similarity_multiplies_arrays_and_tensors():
    points = np.random.default_rng(0).normal(size=(20, 2))
    similarity, zeta = mag.Similarity(points), mag.similarity_matrix(points)
    np.testing.assert_allclose(similarity @ np.ones(20), zeta.sum(1))
    np.testing.assert_allclose(similarity @ list(range(20)), zeta @ np.arange(20))
    assert isinstance(similarity @ torch.ones(20), torch.Tensor)
    with pytest.raises(ValueError, match="vector"):
        similarity @ np.ones(19)


def test_a_factor_takes_the_place_of_its_matrix():
    "One (n, n) buffer: the lower triangle is read from what was filled on and above the diagonal."
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 2))) * 3
    for solver in (mag.Cholesky(), mag.Schur(40)):
        L, failed = solver.lower(mag.similarity_matrix(points).triu())
        assert not failed
        torch.testing.assert_close(L.tril() @ L.tril().T, mag.similarity_matrix(points))


@pytest.mark.parametrize(
    "metric, d",
    [
        ("euclidean", 1),
        ("euclidean", 2),
        ("euclidean", 3),
        ("cityblock", 5),
        ("euclidean", 8),
        ("euclidean", 50),
    ],
)
@pytest.mark.parametrize("scale", [1e-6, 0.01, 0.3])
def test_the_shift_is_large_enough_and_not_much_larger(metric, d, scale):
    "K is positive definite for s > 1 − 1/Mag; a cube full of points comes closest to the bound."
    points = torch.from_numpy(np.random.default_rng(d).uniform(size=(2000, d)))
    similarity = mag.Similarity(points, scale, metric)
    s = stable_shift(similarity)
    wanted = 1 - 1 / mag.magnitude(points, scale, metric=metric).item()
    assert wanted < s <= 1 and (s < 8 * wanted or s == 1)
    shifted = mag.Cholesky().decompose(similarity)
    assert s == 1 or not shifted.refinable  # K could be factored: no fallback to ζ itself
