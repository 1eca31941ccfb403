"""The product over boxes, its derivative, the solves on top of it, and magnitudes from single-precision factors."""

import importlib
import warnings

import numpy as np
import pytest
import torch

import magnitude_ae as mag
from magnitude_ae import datasets
from magnitude_ae.fast_solvers import _Boxes, _FastProduct, _shift
from magnitude_ae.similarity import Similarity, _halving, _pullback

fast_solvers = importlib.import_module("magnitude_ae.fast_solvers")


def clouds(n, seed=0):
    """Clouds on which boxes could go wrong, by name."""
    rng = np.random.default_rng(seed)
    yield "line", rng.uniform(0, 30, (n, 1))
    yield "disc", datasets.disc(n, radius=6.0, random_state=seed)
    yield "far from the origin", datasets.disc(n, radius=6.0, random_state=seed) + 1000
    yield "Swiss roll", datasets.swiss_roll(n, random_state=seed)
    yield "clusters", np.concatenate([rng.normal(5 * k, 0.05 + k, (n // 4, 2)) for k in range(4)])
    yield "one line in the plane", np.c_[rng.uniform(0, 30, n), np.zeros(n)]
    yield "parallel lines in space", np.c_[rng.uniform(0, 30, n), rng.integers(0, 3, n), np.ones(n)]
    yield (
        "grid",
        np.stack(np.meshgrid(*[np.arange(int(n**0.5))] * 2), -1).reshape(-1, 2).astype(float),
    )


NAMES = [name for name, _ in clouds(8)]


def cloud(name, n=700, seed=0):
    return torch.from_numpy(dict(clouds(n, seed))[name])


def a_side(x, fine):
    """Chebyshev points a side: a box in space has their cube."""
    return 6 if x.shape[1] == 3 else fine


def vectors(n, k=2, seed=0):
    return torch.randn(2, n, k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [1, 2, 5, 64, 100, 129, 1000])
@pytest.mark.parametrize("leaf_size", [1, 7, 64])
def test_leaves_share_the_points_evenly(n, leaf_size):
    leaves = _halving(torch.from_numpy(np.random.default_rng(n).normal(size=(n, 2))), leaf_size)
    sizes = (leaves >= 0).sum(1)
    assert sorted(leaves[leaves >= 0].tolist()) == list(range(n))
    assert (
        leaves.shape[1] <= leaf_size
        and (n < len(leaves) or sizes.min() >= 1)
        and sizes.max() - sizes.min() <= 1
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_pair_is_covered_once(name):
    x = cloud(name)
    boxes = _Boxes(Similarity(x), 20, 0.7, float("inf"))
    seen = torch.zeros(len(x), len(x), dtype=torch.long)
    for level, pairs in [*enumerate(boxes.far[1:], 1), (len(boxes.far) - 1, boxes.near)]:
        members = boxes.index.reshape(2**level, -1)
        for i, j in pairs.tolist():
            a, b = (m[m >= 0] for m in (members[i], members[j]))
            seen[a[:, None], b] += 1
            if i != j:
                seen[b[:, None], a] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("scale", [1e-6, 0.05, 1.0, 20.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_product_is_that_of_all_pairs(name, scale):
    similarity = Similarity(cloud(name), scale)
    shift, v = _shift(similarity), vectors(len(similarity))[0]
    right = torch.expm1(similarity.distances() * -scale).add(shift) @ v
    size = torch.expm1(similarity.distances() * -scale).add(shift).abs() @ v.abs()
    for keep in (False, True):
        product = _FastProduct(
            similarity, shift, a_side(similarity.points, 13), leaf_size=40
        )._prepare()
        ours = (product.keep() if keep else product) @ v
        assert (
            (ours - right).abs() <= (1e-4 if similarity.points.shape[1] == 3 else 1e-8) * size
        ).all()


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_keeps_its_digits(name):
    similarity = Similarity(cloud(name).float())
    v = vectors(len(similarity))[0].abs()
    right = similarity.detach(torch.float64).dense() @ v
    torch.testing.assert_close(
        _FastProduct(similarity, 1.0, a_side(similarity.points, 8), leaf_size=40)._prepare() @ v,
        right,
        rtol=1e-4 if similarity.points.shape[1] == 3 else 3e-6,
        atol=0,
    )


@pytest.mark.parametrize("scale", [0.05, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_all_pairs(name, scale):
    similarity = Similarity(cloud(name), scale)
    left, right = vectors(len(similarity), 3)
    product = _FastProduct(
        similarity, _shift(similarity), a_side(similarity.points, 15), leaf_size=40
    )._prepare()
    for ours, exact in zip(
        product._pulled(left, right, (True, True)), _pullback(similarity, left, right, (True, True))
    ):
        assert (
            (ours - exact).norm()
            <= (1e-3 if similarity.points.shape[1] == 3 else 1e-7) * exact.norm()
        ).all()


@pytest.mark.parametrize("name", ["Swiss roll", "parallel lines in space"])
def test_in_space_more_points_a_side_are_more_exact(name):
    similarity, v = Similarity(cloud(name)), vectors(700)[0]
    right = similarity.dense() @ v
    errors = [
        (
            (_FastProduct(similarity, 1.0, p, leaf_size=90)._prepare() @ v - right).norm()
            / right.norm()
        ).item()
        for p in (4, 6, 9)
    ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-6


@pytest.fixture
def boxes_everywhere(monkeypatch):
    """Boxes for small clouds too, whatever they cost."""
    monkeypatch.setattr(fast_solvers, "_FAST_FROM", 2)

    def product(core, shift, rtol):
        usable = core._matrix is None and core.metric == "euclidean" and core.points.shape[1] <= 2
        return (
            _FastProduct(core, shift, 14, leaf_size=24)._prepare()
            if usable
            else fast_solvers._Tiles(core, shift)
        )

    monkeypatch.setattr(fast_solvers, "_product", product)


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_elimination_on_random_spaces(seed, boxes_everywhere):
    """Weighting within 1e-8 and gradient within 1e-6 of LU's, relative, in float64."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(40, 200)), int(rng.integers(1, 3))
    x = torch.from_numpy(rng.normal(size=(n, d)) * rng.uniform(0.5, 8)).requires_grad_()
    scale, pull = float(np.exp(rng.uniform(-3, 1.5))), torch.from_numpy(rng.normal(size=n))
    answers = []
    for solver in (mag.ConjugateGradient(rtol=1e-12), mag.LU()):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # 1e-12 may be out of reach: what counts is the comparison
            w = mag.weighting(x, scale, solver=solver)
            answers.append((w.detach(), torch.autograd.grad(w @ pull, x)[0]))
    (w, g), (w_lu, g_lu) = answers
    condition = torch.linalg.cond(Similarity(x.detach(), scale).dense()).item()
    assert (w - w_lu).norm() <= max(1e-8, 1e-14 * condition) * w_lu.norm()
    assert (g - g_lu).norm() <= max(
        1e-6, 1e-12 * condition
    ) * g_lu.norm()  # the second solve, too, is good to its rtol times the condition


def test_derivatives_by_points_scale_and_right_hand_side(boxes_everywhere):
    x = cloud("disc", 60).requires_grad_()
    scale, b = (
        torch.tensor(0.8, dtype=torch.float64, requires_grad=True),
        vectors(60)[0].requires_grad_(),
    )

    def solve(x, t, b):
        return mag.ConjugateGradient(rtol=1e-13).factor(Similarity(x, t)).value(b)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.autograd.gradcheck(solve, (x, scale, b), fast_mode=True)


def test_copies_share_weight_and_gradient(boxes_everywhere):
    x = cloud("disc", 100)
    twice = torch.cat([x, x[:10]]).requires_grad_()
    once = x.clone().requires_grad_()
    w, v = (mag.weighting(points, solver=mag.ConjugateGradient()) for points in (twice, once))
    torch.testing.assert_close(w[100:], v[:10] / 2, rtol=1e-7, atol=1e-9)
    g, h = (
        torch.autograd.grad(part.square().sum(), points)[0]
        for part, points in ((torch.cat([w[:10] + w[100:], w[10:100]]), twice), (v, once))
    )
    torch.testing.assert_close(g[:10] + g[100:], h[:10], rtol=1e-5, atol=1e-7)


def test_a_product_that_is_not_good_enough_gives_way_to_tiles(monkeypatch):
    x = cloud("disc", 600)
    monkeypatch.setattr(
        fast_solvers,
        "_product",
        lambda core, shift, rtol: _FastProduct(core, shift, 3, leaf_size=20)._prepare(),
    )
    factor = mag.ConjugateGradient().factor(Similarity(x))
    solution = factor.solve(torch.ones(600))
    assert isinstance(factor._tiles, fast_solvers._Tiles) and solution.converged
    torch.testing.assert_close(solution.value, mag.weighting(x, solver=mag.LU()), rtol=0, atol=1e-8)


def test_many_points_are_exact_and_need_little_memory():
    x = torch.from_numpy(datasets.disc(30_000, radius=35.0, random_state=0)).float()
    factor = mag.ConjugateGradient().factor(Similarity(x))
    assert isinstance(factor._tiles, _FastProduct) and factor._tiles.n_bytes < 30_000**2 / 2
    solution = factor.solve(torch.ones(30_000))
    assert solution.converged and solution.residual <= 1e-6 and solution.n_steps < 20


@pytest.mark.parametrize("metric, d", [("cityblock", 2), ("euclidean", 5)])
def test_elsewhere_the_tiles_stay(metric, d):
    x = np.random.default_rng(0).normal(size=(4100, d))
    assert isinstance(
        fast_solvers._product(Similarity(x, 1.0, metric), 1.0, 1e-6), fast_solvers._Tiles
    )


# ---- magnitudes without weightings


@pytest.mark.parametrize("name", NAMES)
def test_magnitudes_at_many_scales(name):
    x, scales = cloud(name, 300).numpy(), np.geomspace(1e-4, 300, 15)
    values = mag.magnitude_function(x, scales).values
    exact = np.array([mag.solve(x, t).value.sum() for t in scales])
    np.testing.assert_allclose(values, exact, rtol=1e-10)


def test_magnitudes_with_a_pair_that_single_precision_cannot_tell_apart():
    x = np.vstack([np.random.default_rng(0).normal(size=(50, 2)), np.zeros((1, 2)), [[1e-9, 0]]])
    np.testing.assert_allclose(
        mag.magnitude_function(x, [1.0, 2.0]).values,
        mag.weighting(x, [1.0, 2.0], solver=mag.Cholesky()).sum(1),
        rtol=1e-9,
    )
