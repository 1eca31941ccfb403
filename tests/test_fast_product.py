"""The product over boxes, its derivatives, and the solves on top of it."""

import warnings

import numpy as np
import pytest
import torch

import magnitude_ae as mag
from magnitude_ae import datasets
from magnitude_ae.products.boxes import BoxProduct, BoxTree, fast_product
from magnitude_ae.products.dense import exact_product
from magnitude_ae.products.protocol import Wanted, multiply
from magnitude_ae.products.tiled import TiledProduct
from magnitude_ae.solvers.base import stable_shift
from magnitude_ae.space import finite_metric_space, halve

CHOICE = "magnitude_ae.solvers.conjugate_gradients.fast_product"


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
    leaves = halve(torch.from_numpy(np.random.default_rng(n).normal(size=(n, 2))), leaf_size)
    sizes = (leaves >= 0).sum(1)
    assert sorted(leaves[leaves >= 0].tolist()) == list(range(n))
    assert leaves.shape[1] <= leaf_size
    assert n < len(leaves) or sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_every_pair_is_covered_once(name):
    x = cloud(name)
    tree = BoxTree(x, 20, 0.7, float("inf"))
    seen = torch.zeros(len(x), len(x), dtype=torch.long)
    for level, pairs in [*enumerate(tree.far, 1), (tree.depth, tree.near)]:
        members = tree.index.reshape(2**level, -1)
        for i, j in pairs.tolist():
            a = members[i][members[i] >= 0]
            b = members[j][members[j] >= 0]
            seen[a[:, None], b] += 1
            if i != j:
                seen[b[:, None], a] += 1
    assert (seen == 1).all()


def test_boxes_out_of_reach_are_left_out_and_no_others():
    x = cloud("line", 2000) * 20
    space = finite_metric_space(x)
    v = vectors(2000)[0]
    everything = BoxTree(x, 40, 0.7, float("inf"))
    product = BoxProduct(space, 1.0, leaf_size=40)
    assert sum(map(len, product.tree.far)) < sum(map(len, everything.far))
    torch.testing.assert_close(product @ v, TiledProduct(space, 1.0) @ v, rtol=0, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 0.05, 1.0, 20.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_product_is_that_of_all_pairs(name, scale):
    similarity = mag.Similarity(cloud(name), scale)
    space = similarity.space
    shift = stable_shift(similarity)
    v = vectors(len(space))[0]
    entries = torch.expm1(space.distances() * -scale).add(shift)
    size = entries.abs() @ v.abs()
    product = BoxProduct(space, scale, shift, n_nodes=a_side(space.data, 13), leaf_size=40)
    evaluated = product @ v
    kept = product.keep() @ v
    accuracy = 1e-4 if space.n_features == 3 else 1e-8
    for ours in (evaluated, kept):
        assert ((ours - entries @ v).abs() <= accuracy * size).all()


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_keeps_its_digits(name):
    space = finite_metric_space(cloud(name).float())
    v = vectors(len(space))[0].abs()
    right = torch.exp(-space.to(torch.float64).distances()) @ v
    product = BoxProduct(space, 1.0, n_nodes=a_side(space.data, 8), leaf_size=40)
    accuracy = 1e-4 if space.n_features == 3 else 3e-6
    torch.testing.assert_close(product @ v, right, rtol=accuracy, atol=0)


@pytest.mark.parametrize("scale", [0.05, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_all_pairs(name, scale):
    similarity = mag.Similarity(cloud(name), scale)
    space = similarity.space
    left, right = vectors(len(space), 3)
    shift = stable_shift(similarity)
    product = BoxProduct(space, scale, shift, n_nodes=a_side(space.data, 15), leaf_size=40)
    found = product.pullback(left, right, Wanted(True, True))
    expected = TiledProduct(space, scale).pullback(left, right, Wanted(True, True))
    accuracy = 1e-3 if space.n_features == 3 else 1e-7
    for ours, exact in zip(found, expected, strict=True):
        assert (ours - exact).norm() <= accuracy * exact.norm()


@pytest.mark.parametrize("wanted", [Wanted(True, False), Wanted(False, True)], ids=str)
def test_only_the_wanted_gradient_is_made(wanted):
    space = finite_metric_space(cloud("disc"))
    product = BoxProduct(space, 0.9, leaf_size=40)
    left, right = vectors(len(space))
    found = product.pullback(left, right, wanted)
    both = product.pullback(left, right, Wanted(True, True))
    for part, asked, full in zip(found, wanted, both, strict=True):
        assert asked or part is None
        if asked:
            torch.testing.assert_close(part, full, rtol=0, atol=0)


@pytest.mark.parametrize("n", [1, 5])
def test_a_single_leaf_has_no_far_boxes(n):
    space = finite_metric_space(cloud("disc", 40)[:n])
    left, right = vectors(n)
    boxes = BoxProduct(space, 0.7)
    tiles = TiledProduct(space, 0.7)
    torch.testing.assert_close(boxes @ left, tiles @ left)
    found = boxes.pullback(left, right, Wanted(True, True))
    expected = tiles.pullback(left, right, Wanted(True, True))
    torch.testing.assert_close(found.data, expected.data)
    torch.testing.assert_close(found.scale, expected.scale)


@pytest.mark.parametrize("name", ["Swiss roll", "parallel lines in space"])
def test_in_space_more_points_a_side_are_more_exact(name):
    space = finite_metric_space(cloud(name))
    v = vectors(700)[0]
    right = TiledProduct(space, 1.0) @ v
    products = [BoxProduct(space, 1.0, n_nodes=p, leaf_size=90) for p in (4, 6, 9)]
    errors = [((product @ v - right).norm() / right.norm()).item() for product in products]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


# ---- derivatives of every order


def small():
    "Points for which a tree of small leaves has far boxes, a scale and a vector."
    x = cloud("disc", 60).requires_grad_()
    scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    return x, scale, vectors(60)[0].requires_grad_()


def by(kind, **options):
    "product @ v as a function of points, scale and v."

    def apply(x, t, v):
        space = finite_metric_space(x).detach()
        return multiply(kind(space, t.item(), **options), x, t, v)

    return apply


fine_boxes = by(BoxProduct, n_nodes=14, leaf_size=4)


def test_a_small_tree_has_far_boxes():
    x, _, _ = small()
    tree = BoxProduct(finite_metric_space(x.detach()), 0.8, n_nodes=14, leaf_size=4).tree
    assert sum(map(len, tree.far)) > 10


def test_products_are_differentiated_once_and_twice():
    # analytic and numerical derivatives differ by what 14 nodes leave out
    assert torch.autograd.gradcheck(fine_boxes, small(), fast_mode=True, atol=1e-4)
    assert torch.autograd.gradgradcheck(fine_boxes, small(), fast_mode=True, atol=1e-3)


def test_second_derivatives_are_those_of_tiles():
    def second(function):
        x, t, v = small()
        first = torch.autograd.grad(function(x, t, v).square().sum(), (x, t, v), create_graph=True)
        return torch.autograd.grad(sum(part.square().sum() for part in first), (x, t, v))

    for ours, exact in zip(second(fine_boxes), second(by(TiledProduct)), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-6, atol=1e-6 * exact.abs().max().item())


# ---- solves


@pytest.fixture
def boxes_everywhere(monkeypatch):
    """Boxes for small clouds too, whatever they cost."""

    def product(space, t, shift, rtol):
        usable = space.has_coordinates and space.metric == "euclidean" and space.n_features <= 2
        if usable:
            return BoxProduct(space, t, shift, n_nodes=14, leaf_size=24)
        return exact_product(space, t, shift)

    monkeypatch.setattr(CHOICE, product)


@pytest.mark.parametrize("seed", range(200))
def test_agrees_with_elimination_on_random_spaces(seed, boxes_everywhere):
    """Weighting within 1e-8 and gradient within 1e-6 of LU's, relative, in float64."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(40, 200))
    d = int(rng.integers(1, 3))
    x = torch.from_numpy(rng.normal(size=(n, d)) * rng.uniform(0.5, 8)).requires_grad_()
    scale = float(np.exp(rng.uniform(-3, 1.5)))
    pull = torch.from_numpy(rng.normal(size=n))
    answers = []
    for solver in (mag.ConjugateGradient(rtol=1e-12), mag.LU()):
        with warnings.catch_warnings():
            # 1e-12 may be out of reach: what counts is the comparison
            warnings.simplefilter("ignore")
            w = mag.weighting(x, scale, solver=solver)
            answers.append((w.detach(), torch.autograd.grad(w @ pull, x)[0]))
    (w, g), (w_lu, g_lu) = answers
    condition = torch.linalg.cond(mag.similarity_matrix(x.detach(), scale)).item()
    assert (w - w_lu).norm() <= max(1e-8, 1e-14 * condition) * w_lu.norm()
    # the second solve, too, is good to its rtol times the condition
    assert (g - g_lu).norm() <= max(1e-6, 1e-12 * condition) * g_lu.norm()


def test_derivatives_by_points_scale_and_right_hand_side(boxes_everywhere):
    def solve(x, t, b):
        return mag.ConjugateGradient(rtol=1e-13).factor(mag.Similarity(x, t)).answer(b).value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.autograd.gradcheck(solve, small(), fast_mode=True)


def test_copies_share_weight_and_gradient(boxes_everywhere):
    x = cloud("disc", 100)
    twice = torch.cat([x, x[:10]]).requires_grad_()
    once = x.clone().requires_grad_()
    w = mag.weighting(twice, solver=mag.ConjugateGradient())
    v = mag.weighting(once, solver=mag.ConjugateGradient())
    torch.testing.assert_close(w[100:], v[:10] / 2, rtol=1e-7, atol=1e-9)
    together = torch.cat([w[:10] + w[100:], w[10:100]])
    (g,) = torch.autograd.grad(together.square().sum(), twice)
    (h,) = torch.autograd.grad(v.square().sum(), once)
    torch.testing.assert_close(g[:10] + g[100:], h[:10], rtol=1e-5, atol=1e-7)


def test_a_product_that_is_not_good_enough_gives_way_to_tiles(monkeypatch):
    def coarse(space, t, shift, rtol):
        return BoxProduct(space, t, shift, n_nodes=3, leaf_size=20)

    monkeypatch.setattr(CHOICE, coarse)
    x = cloud("disc", 600)
    factor = mag.ConjugateGradient().factor(mag.Similarity(x))
    assert isinstance(factor.product, BoxProduct)
    solution = factor.solve(torch.ones(600))
    assert isinstance(factor.product, TiledProduct)
    assert solution.converged
    torch.testing.assert_close(solution.value, mag.weighting(x, solver=mag.LU()), rtol=0, atol=1e-8)


def test_many_points_are_exact_and_need_little_memory():
    x = torch.from_numpy(datasets.disc(30_000, radius=35.0, random_state=0)).float()
    factor = mag.ConjugateGradient().factor(mag.Similarity(x))
    assert isinstance(factor.product, BoxProduct)
    assert factor.product.cost.n_bytes < 30_000**2 / 2
    solution = factor.solve(torch.ones(30_000))
    assert isinstance(factor.product, BoxProduct)
    assert solution.converged
    assert solution.residual <= 1e-6
    assert solution.n_steps < 20


@pytest.mark.parametrize("metric, d", [("cityblock", 2), ("euclidean", 5)])
def test_elsewhere_the_tiles_stay(metric, d):
    x = np.random.default_rng(0).normal(size=(4100, d))
    space = finite_metric_space(x, metric)
    assert isinstance(fast_product(space, 1.0, 1.0, 1e-6), TiledProduct)


@pytest.mark.parametrize("name", NAMES)
def test_magnitudes_at_many_scales(name):
    x = cloud(name, 300).numpy()
    scales = np.geomspace(1e-4, 300, 15)
    values = mag.magnitude_function(x, scales).values
    exact = np.array([mag.solve(x, t).value.sum() for t in scales])
    np.testing.assert_allclose(values, exact, rtol=1e-10)
