"""Vecchia's approximation and conjugate gradients: agreement, convergence, hard spaces, and what they refuse."""

import warnings

import numpy as np
import pytest
import torch
from known_spaces import K32_POLE, k32
from scipy.spatial.distance import cdist

import magnitude_ae as mag
from magnitude_ae.products.protocol import Wanted
from magnitude_ae.products.tiled import TiledProduct
from magnitude_ae.solvers import residual
from magnitude_ae.solvers.vecchia import earlier_by_force, earlier_neighbors, ordering

CG = mag.ConjugateGradient
EXACT = [
    CG(),
    CG(memory=0),
    CG(preconditioner=None),
    CG(preconditioner=mag.Vecchia(10, order="random")),
    CG(preconditioner=mag.Cholesky()),
    mag.HODLR(leaf_size=16),
]
exact = pytest.mark.parametrize(
    "solver", EXACT, ids=["auto", "evaluated", "plain", "Vecchia", "Cholesky", "HODLR"]
)
precise = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=lambda d: str(d)[6:])
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def cloud(n=60, d=2, seed=0, dtype=torch.float64):
    return (torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d))) * 2).to(dtype)


def dense(points, scale=1.0):
    off = ~torch.eye(len(points), dtype=torch.bool)
    squares = torch.where(off, (points[:, None] - points).square().sum(-1), 1.0)
    return torch.where(off, torch.exp(-scale * squares.sqrt()), 1.0)


def close(actual, expected, tolerance):
    torch.testing.assert_close(
        actual, expected, rtol=0, atol=tolerance * max(1.0, expected.abs().max().item())
    )


# ---- conjugate gradients: exact


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_elimination(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 150)), int(rng.choice([1, 2, 3, 5, 15, 17, 40]))
    metric = str(rng.choice(["euclidean", "cityblock"]))
    points = rng.standard_normal((n, d)) if seed % 2 else rng.random((n, d))
    distances = cdist(points, points, metric)
    scale = float(10 ** rng.uniform(-1, 1.5) / np.median(distances[distances > 0]))
    zeta = np.exp(-scale * distances)
    if np.linalg.cond(zeta) > 1e7:
        scale *= 30
        zeta = np.exp(-scale * distances)
    if np.linalg.cond(zeta) > 1e7:
        scale *= 30
        zeta = np.exp(-scale * distances)
    truth = np.linalg.solve(zeta, np.ones(n))
    # an error in w is at most the condition times the residual: ask for a residual that makes it 1e-8
    rtol = min(1e-10, 1e-8 / np.linalg.cond(zeta))
    w = mag.weighting(points, scale, metric=metric, solver=CG(rtol=max(rtol, 1e-13)))
    np.testing.assert_allclose(w, truth, rtol=0, atol=1e-8 * np.abs(truth).max())


@exact
@precise
@pytest.mark.parametrize("shape", [(700,), (700, 3)], ids=str)
def test_any_right_hand_side(solver, dtype, shape):
    points, b = (
        cloud(700, dtype=dtype) * 5,
        torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype),
    )
    similarity = mag.Similarity(points, 0.7)
    solution = solver.factor(similarity).solve(b)
    assert (
        solution.value.shape == b.shape and solution.value.dtype == dtype and solution.n_steps > 0
    )
    assert (
        solution.residual
        == residual(similarity, solution.value, b)
        <= (2e-8 if dtype == torch.float64 else 2e-5)
    )
    assert "iteration(s)" in solution.message and type(solver).__name__ in solution.message


@exact
@pytest.mark.parametrize("scale", [1e-3, 0.7])
def test_gradient_agrees_with_autograd_through_elimination(solver, scale):
    points = cloud(50).requires_grad_()
    t = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    pull = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours = torch.autograd.grad((mag.weighting(points, t, solver=solver) * pull).sum(), (points, t))
    truth = torch.linalg.solve(dense(points, t), torch.ones(50, dtype=torch.float64))
    theirs = torch.autograd.grad((truth * pull).sum(), (points, t))
    for a, b in zip(ours, theirs):
        # the derivative by a scale near 0 is the residual times the condition; evaluated tiles promise 1e-8 only
        assert (a - b).norm() <= (
            1e-4 if solver == CG(memory=0) else 1e-5 if scale < 0.1 else 1e-6
        ) * b.norm()


@precise
@pytest.mark.parametrize("scale", [1e-8, 1e-5, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize(
    "solver", [CG(), CG(memory=0), mag.HODLR()], ids=["kept", "evaluated", "HODLR"]
)
def test_all_scales(solver, dtype, scale):
    points = cloud(600, dtype=dtype)
    answer, truth = (
        mag.solve(points, scale, solver=solver),
        mag.weighting(points.double(), scale, solver=mag.Cholesky()),
    )
    assert answer.converged and answer.n_steps <= 40
    assert (answer.value - truth).norm() / truth.norm() < (1e-5 if dtype == torch.float64 else 2e-2)


@pytest.mark.parametrize("reach", [1e-2, 1e-1, 1.0, 1e1, 1e2])
def test_few_iterations_at_every_scale(reach):
    "n = 5,000 in a disc of radius 1, to 1e-6: at most 20."
    points = torch.from_numpy(mag.datasets.disc(5000, radius=1.0, random_state=0))
    answer = CG(rtol=1e-6).factor(mag.Similarity(points, reach)).solve(torch.ones(5000))
    assert answer.converged and 0 < answer.n_steps <= 20


def test_evaluated_tiles_give_what_kept_ones_give():
    points = cloud(1300, 3) * 4
    kept, evaluated = (mag.solve(points, solver=s) for s in (CG(), CG(memory=0)))
    assert kept.residual <= 1e-10 and 1e-12 < evaluated.residual <= 1e-8
    close(evaluated.value, kept.value, 1e-6)


def test_a_good_start_saves_steps():
    similarity, b = mag.Similarity(cloud(800) * 10), torch.ones(800)
    for similarity in (similarity, similarity.at(1e-3)):
        factor = CG().factor(similarity)
        cold = factor.solve(b)
        near = factor.solve(b, start=cold.value * (1 + 1e-7))
        assert near.n_steps < cold.n_steps and near.converged
        close(near.value, cold.value, 1e-7)


def test_a_start_must_fit():
    factor = CG().factor(mag.Similarity(cloud(20)))
    with pytest.raises(ValueError, match=r"shape \(20,\)"):
        factor.solve(torch.ones(20), start=torch.ones(19))
    with pytest.raises(ValueError, match="start must have 1 column"):
        factor.solve(torch.ones(20), start=torch.ones(20, 2))


def test_too_few_steps_are_told():
    answer = mag.solve(cloud(500) * 5, solver=CG(max_steps=2))
    assert not answer.converged and "max_steps" in answer.message and answer.n_steps == 2
    with pytest.warns(RuntimeWarning, match="max_steps"):
        mag.weighting(cloud(500) * 5, solver=CG(max_steps=2))
    points = (cloud(500) * 5).requires_grad_()
    with pytest.warns(RuntimeWarning, match="max_steps"):
        w = mag.weighting(points, solver=CG(max_steps=1))
    with pytest.warns(RuntimeWarning, match="gradient's solve"):
        w.square().sum().backward()


def test_an_indefinite_space_is_refused_by_name():
    with pytest.raises(mag.NotPositiveDefiniteError, match="mag.LU"):
        mag.weighting(k32().points, K32_POLE * 0.3, metric="precomputed", solver=CG())
    close(
        torch.from_numpy(mag.weighting(k32().points, 3.0, metric="precomputed", solver=CG())),
        torch.from_numpy(k32().weighting(3.0)),
        1e-9,
    )


def test_a_factor_of_a_neighbouring_scale_guides():
    points = cloud(400) * 5
    guide = mag.Cholesky().factor(mag.Similarity(points, 1.0))
    plain, guided = (mag.solve(points, 1.1, solver=CG(preconditioner=p)) for p in (None, guide))
    assert guided.converged and 3 * guided.n_steps < plain.n_steps
    nearby = mag.Vecchia(10).factor(mag.Similarity(points, 1.0))
    assert mag.solve(points, 1.1, solver=CG(preconditioner=nearby)).converged
    with pytest.raises(ValueError, match="space of 400 distinct points, and this space has 399"):
        mag.weighting(points[1:], solver=CG(preconditioner=guide))


# ---- Vecchia


@pytest.mark.parametrize("order", ["centre", "coordinate", "random"])
@pytest.mark.parametrize("d", [1, 2, 3, 12])
def test_with_all_neighbours_vecchia_is_exact(order, d):
    points = cloud(80, d)
    w = mag.weighting(points, 0.8, solver=mag.Vecchia(79, order=order))
    close(w, mag.weighting(points, 0.8), 1e-9)


def test_on_a_line_two_neighbours_are_enough():
    "Points on a line form a Markov chain: one neighbour on each side screens the rest, in any order."
    points = torch.from_numpy(np.random.default_rng(0).uniform(0, 30, (300, 1)))
    close(
        mag.weighting(points, solver=mag.Vecchia(1, order="coordinate")),
        mag.weighting(points),
        1e-9,
    )
    close(
        mag.weighting(points, 1e-6, solver=mag.Vecchia(1, order="coordinate")),
        mag.weighting(points, 1e-6),
        1e-6,
    )


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("order", ["centre", "coordinate", "random"])
def test_the_nearest_earlier_points(p, order):
    points = cloud(700, 2, seed=4)
    metric = "euclidean" if p == 2 else "cityblock"
    x = points[ordering(points, order, 0)]
    D = np.where(np.tri(700, k=-1, dtype=bool), cdist(x, x, metric), np.inf)
    for m in (1, 6, 33):
        found = earlier_neighbors(x.numpy(), m, p)
        distances = np.where(found < 0, np.inf, np.take_along_axis(D, found, 1))
        np.testing.assert_allclose(distances, np.sort(D, 1)[:, :m], atol=1e-14)
        by_force = earlier_by_force(mag.Similarity(x, metric=metric), m)
        np.testing.assert_array_equal(by_force.numpy(), found)


def test_more_neighbours_are_better_and_the_message_bounds_the_error():
    points = cloud(1500) * 8
    truth = mag.weighting(points)
    errors, claims = [], []
    for m in (4, 8, 16, 32):
        answer = mag.solve(points, solver=mag.Vecchia(m))
        errors.append(((answer.value - truth).norm() / truth.norm()).item())
        claims.append(float(answer.message.split("changes the answer by ")[1].split("%")[0]) / 100)
        assert not answer.converged and "ConjugateGradient" in answer.message
        assert answer.residual == pytest.approx(
            residual(mag.Similarity(points), answer.value, torch.ones(1500)), rel=1e-6
        )
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.005
    assert all(error < claim for error, claim in zip(errors, claims))


@pytest.mark.parametrize("order", ["centre", "coordinate", "random"])
@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("scale", [0.02, 0.7])
def test_vecchia_is_differentiated_as_what_it_is(order, metric, scale):
    points, t = (
        cloud(14).requires_grad_(),
        torch.tensor(scale, dtype=torch.float64, requires_grad=True),
    )
    if order == "centre":  # finite differences move the centre, and must not change the order
        points = (
            cloud(14) * torch.linspace(0.2, 2, 14, dtype=torch.float64)[:, None]
        ).requires_grad_()

    def weigh(x, t):
        return mag.weighting(x, t, metric=metric, solver=mag.Vecchia(4, order=order))

    assert torch.autograd.gradcheck(weigh, (points, t))


def test_vecchia_in_many_dimensions_differentiates():
    points = cloud(25, 30).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: mag.weighting(x, 0.3, solver=mag.Vecchia(5)), (points,)
    )


def test_the_random_order_is_seeded():
    points = cloud(200)
    a, b, c = (
        mag.weighting(points, solver=mag.Vecchia(3, order="random", seed=s)) for s in (0, 0, 1)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_vecchia_takes_far_more_points_than_a_matrix_would():
    points = (
        torch.from_numpy(np.random.default_rng(0).standard_normal((100_000, 2)) * 100)
        .float()
        .requires_grad_()
    )
    w = mag.weighting(points, solver=mag.Vecchia(4))
    w.sum().backward()
    assert torch.isfinite(points.grad).all() and 0 < w.sum() < 100_000
    answer = mag.solve(points.detach()[:30_000], solver=mag.Vecchia(4))
    assert "sampled rows" in answer.message and 0 < answer.residual < 0.1


# ---- the hierarchy


# ---- spaces that are hard


HARD = [CG(), CG(memory=0), mag.HODLR(leaf_size=4), mag.Vecchia(5), mag.Schur(3)]
hard = pytest.mark.parametrize(
    "solver", HARD, ids=["kept", "evaluated", "HODLR", "Vecchia", "Schur"]
)


@hard
@precise
def test_one_two_and_equal_points(solver, dtype):
    one = mag.weighting(torch.zeros(1, 3, dtype=dtype), solver=solver)
    torch.testing.assert_close(one, torch.ones(1, dtype=dtype))
    two = mag.weighting(torch.tensor([[0.0, 0], [0, 2]], dtype=dtype), 0.5, solver=solver)
    torch.testing.assert_close(two, torch.full((2,), 1 / (1 + np.exp(-1)), dtype=dtype))
    same = torch.full((7, 3), 2.5, dtype=dtype, requires_grad=True)
    w = mag.weighting(same, 4.0, solver=solver)
    torch.testing.assert_close(w.detach(), torch.full((7,), 1 / 7, dtype=dtype))
    (gradient,) = torch.autograd.grad(w.square().sum(), same)
    torch.testing.assert_close(gradient, torch.zeros_like(same))


@hard
@precise
def test_copies_share(solver, dtype):
    base = cloud(30, dtype=dtype)
    index = torch.from_numpy(np.random.default_rng(0).integers(0, 30, 70))
    points = base[index].requires_grad_()
    kept = torch.unique(index)
    single = base[kept].requires_grad_()
    w, alone = (mag.weighting(x, 0.8, solver=solver) for x in (points, single))
    counts = torch.bincount(index, minlength=30)[kept]
    close(
        torch.zeros_like(alone).index_add(0, torch.searchsorted(kept, index), w),
        alone,
        1e-7 if dtype == torch.float64 else 1e-4,
    )
    close(
        w,
        (alone / counts)[torch.searchsorted(kept, index)],
        1e-7 if dtype == torch.float64 else 1e-4,
    )
    gradients = torch.autograd.grad(w.sum(), points)[0], torch.autograd.grad(alone.sum(), single)[0]
    close(
        torch.zeros_like(single).index_add(0, torch.searchsorted(kept, index), gradients[0]),
        gradients[1],
        1e-7 if dtype == torch.float64 else 1e-3,
    )


@hard
@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15, 1e-17])
def test_near_duplicates_weigh_together_as_one(solver, apart):
    rest = np.random.default_rng(3).standard_normal((20, 2)) + 2
    points = torch.from_numpy(np.vstack([rest, [0, 0], [apart, 0]])).requires_grad_()
    alone = mag.weighting(points[:21].detach(), solver=solver)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            w = mag.weighting(points, solver=solver)
        except mag.NotPositiveDefiniteError as error:
            assert apart <= 1e-15 and "coincide" in str(error)
            return
        (gradient,) = torch.autograd.grad(w.sum(), points)
    together = torch.cat([w[:20], w[20:].sum()[None]]).detach()
    slack = 0.3 if isinstance(solver, mag.Vecchia) else 0  # a neighbour more or less
    close(together, alone, 3 * apart + 1e-6 + slack)
    assert torch.isfinite(gradient).all()


# ---- refused


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CG(rtol=0), "rtol must be positive"),
        (lambda: CG(rtol=-1e-3), "rtol must be positive"),
        (lambda: CG(rtol=float("nan")), "rtol must be positive"),
        (lambda: CG(max_steps=0), "max_steps must be at least 1"),
        (lambda: CG(memory=-1), "memory"),
        (lambda: mag.Vecchia(0), "n_neighbors must be at least 1"),
        (lambda: mag.Vecchia(order="best"), "order 'best' is not known; choose one of 'centre'"),
        (lambda: mag.HODLR(rtol=0), "rtol must be positive"),
        (lambda: mag.HODLR(leaf_size=0), "leaf_size must be at least 1"),
        (lambda: mag.Schur(0), "block_size must be at least 1"),
    ],
)
def test_parameters_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CG(rtol="small"), "rtol must be a number"),
        (lambda: CG(preconditioner="Vecchia"), "preconditioner must be a solver"),
        (lambda: mag.Vecchia(2.5), "n_neighbors must be a whole number"),
        (lambda: mag.Schur(True), "block_size must be a whole number"),
        (lambda: CG().factor(torch.ones(3, 2)), "Similarity"),
        (lambda: mag.Vecchia().factor(torch.ones(3, 2)), "Similarity"),
    ],
)
def test_parameters_of_the_wrong_kind(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    "solver",
    [mag.Vecchia(), CG(preconditioner=mag.Vecchia()), mag.HODLR()],
    ids=["Vecchia", "guide", "HODLR"],
)
def test_without_coordinates_another_solver_is_named(solver):
    D = mag.distance_matrix(cloud(10))
    with pytest.raises(ValueError, match=r"(Vecchia|HODLR) needs coordinates.*preconditioner=None"):
        mag.weighting(D, metric="precomputed", solver=solver)
    with pytest.raises(ValueError, match="metric='cosine'"):
        mag.weighting(cloud(10), metric="cosine", solver=solver)
    close(mag.weighting(D, metric="precomputed", solver=CG()), mag.weighting(cloud(10)), 1e-8)


def test_a_matrix_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="not symmetric"):
        mag.weighting(np.triu(np.ones((4, 4)), 1), metric="precomputed", solver=CG())


# ---- on a GPU


@on_gpu
@pytest.mark.parametrize(
    "solver",
    [mag.LU(), mag.Cholesky(), mag.Schur(64), CG(), CG(memory=0), mag.HODLR(), mag.Vecchia(10)],
    ids=str,
)
@precise
def test_the_same_on_a_gpu(solver, dtype):
    points = cloud(900, dtype=dtype) * 5
    answers = []
    for device in ("cpu", "cuda"):
        x = points.to(device).requires_grad_()
        w = mag.weighting(x, 0.9, solver=solver)
        w.square().sum().backward()
        assert w.device == x.device and x.grad.device == x.device
        answers.append((w.detach().cpu(), x.grad.cpu()))
    for here, there in zip(*answers):
        close(there, here, 1e-6 if dtype == torch.float64 else 1e-3)


# ---- tiles that are left out


@pytest.mark.parametrize("metric", ["euclidean", "cityblock"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_far_tiles_do_not_count(metric, d):
    "A cloud much wider than similarities reach: products, gradients and weightings as with every tile."
    points = torch.from_numpy(np.random.default_rng(d).uniform(0, 8000 ** (1 / d) * 40, (8000, d)))
    points[:100] = points[100:200]  # copies, too
    similarity = mag.Similarity(points, 0.9, metric)
    product = TiledProduct(similarity.space, 0.9)
    tiling = product.tiling
    assert len(list(tiling)) < len(tiling.slices) * (len(tiling.slices) + 1) // 2
    assert sum(b.stop - b.start for b in tiling.slices) == 8000
    assert torch.equal(tiling.order.sort().values, torch.arange(8000))
    v = torch.randn(8000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zeta = torch.exp(-0.9 * torch.from_numpy(cdist(points, points, metric)))
    close(similarity @ v, zeta @ v, 1e-13)
    pull = product.pullback(v, v.flip(1), Wanted(True, True))
    rows = slice(0, 700)
    everything = _pullback_rows(points, v, v.flip(1), 0.9, metric, rows)
    close(pull.data[rows], everything, 1e-11)
    close(
        pull.scale,
        -((v * ((zeta * torch.from_numpy(cdist(points, points, metric))) @ v.flip(1))).sum()),
        1e-11,
    )


def _pullback_rows(points, left, right, t, metric, rows):
    "The gradient of Σ leftᵀ ζ right by some of the points, from the formula as it stands."
    difference = points[rows, None] - points
    distance = torch.from_numpy(cdist(points[rows], points, metric))
    direction = (
        difference.sign()
        if metric == "cityblock"
        else difference / distance.masked_fill(distance == 0, torch.inf)[..., None]
    )
    pairs = (left[rows] @ right.T + right[rows] @ left.T) * torch.exp(-t * distance) * -t
    return (pairs[..., None] * direction).sum(1)


def test_a_wide_cloud_takes_little_memory_and_is_exact():
    points = torch.from_numpy(np.random.default_rng(0).uniform(0, 2000, (20_000, 2))).float()
    factor = CG().factor(mag.Similarity(points))
    answer = factor.solve(torch.ones(20_000))
    assert answer.converged and factor.product.cost.n_bytes < 0.15 * 4 * 20_000**2 / 2
