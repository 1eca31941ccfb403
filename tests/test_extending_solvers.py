"""A product and a solver added from outside the package, as CONTRIBUTING tells."""

from dataclasses import dataclass

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import magnitude_ae as mag
from magnitude_ae.products.protocol import Cost, Gradient, multiply, similar
from magnitude_ae.products.tiled import TiledProduct
from magnitude_ae.solvers import Answer, Factor, Solver
from magnitude_ae.space import DISTANCES, finite_metric_space


class RowProduct:
    "ζ one row after another."

    exact = True

    def __init__(self, space, t, shift=1.0):
        self.space = space.detach()
        self.t = t
        self.shift = shift
        self.cost = Cost(len(space) ** 2, 0)

    def __matmul__(self, v):
        rows = (self.space.distances(torch.tensor([i])) for i in range(len(self.space)))
        return torch.cat([(similar(D, self.t) - (1 - self.shift)) @ v for D in rows])

    def keep(self):
        return self

    def pullback(self, left, right, wanted):
        data = self.space.data.clone().requires_grad_()
        t = torch.tensor(self.t, dtype=torch.float64, requires_grad=True)
        with torch.enable_grad():
            zeta = similar(self.space.with_data(data).distances(), t)
            number = (left * (zeta @ right)).sum()
            to_data, to_scale = torch.autograd.grad(number, (data, t))
        return Gradient(to_data if wanted.data else None, to_scale if wanted.scale else None)


@dataclass(frozen=True)
class Richardson(Solver):
    "Steps along the residual: v ← v + (b − ζv) / n."

    max_steps: int = 20_000

    def factor(self, similarity):
        return RichardsonFactor(self, similarity)


class RichardsonFactor(Factor):
    def __init__(self, solver, similarity):
        super().__init__(solver, similarity)
        self.product = RowProduct(self.core.space, self.core.t)

    def precondition(self, b):
        return b / len(b)

    def improve(self, b, start):
        v = torch.zeros_like(b) if start is None else start
        for n_steps in range(self.solver.max_steps + 1):
            r = b - self.product @ v
            seen = (r.norm(dim=0) / b.norm(dim=0)).max().item()
            done = seen <= self.tolerance / 2
            if done or n_steps == self.solver.max_steps:
                return Answer(v, n_steps, seen, gave_up=not done)
            v = v + self.precondition(r)


def points_of(n=7):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 2, dtype=torch.float64, generator=generator) * 20


def test_a_product_of_ones_own():
    space = finite_metric_space(points_of())
    v = torch.ones(7, 2, dtype=torch.float64)
    torch.testing.assert_close(RowProduct(space, 0.5) @ v, TiledProduct(space, 0.5) @ v)
    points = points_of().requires_grad_()
    t = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def product(points, t):
        return multiply(RowProduct(finite_metric_space(points), t.item()), points, t, v)

    assert gradcheck(product, (points, t))
    assert gradgradcheck(product, (points, t))


def test_a_solver_of_ones_own_serves_every_verb():
    points = points_of()
    for verb in (mag.weighting, mag.magnitude, mag.magnitude_dimension):
        found = verb(points, 1.0, solver=Richardson())
        torch.testing.assert_close(found, verb(points, 1.0), rtol=1e-8, atol=1e-9)
    solution = mag.solve(points, 1.0, solver=Richardson())
    assert solution.converged
    assert solution.message.startswith("Richardson: residual")


def test_it_shares_copies_and_differentiates():
    points = points_of()
    twice = torch.cat([points, points[:1]])
    w = mag.weighting(twice, solver=Richardson())
    assert w[0] == w[-1]
    some = points[:4].clone().requires_grad_()
    assert gradcheck(lambda x: mag.weighting(x, solver=Richardson()), (some,), atol=1e-5)


def test_it_guides_conjugate_gradients():
    answer = mag.solve(points_of(), solver=mag.ConjugateGradient(preconditioner=Richardson()))
    assert answer.converged


def test_when_it_gives_up_it_says_so():
    with pytest.warns(RuntimeWarning, match="residual is .* above .*Richardson"):
        mag.weighting(points_of(), 0.05, solver=Richardson(max_steps=3))


class Chebyshev(torch.autograd.Function):
    "The largest difference of coordinates, differentiable any number of times."

    @staticmethod
    def forward(ctx, x, y):
        difference = x[:, None] - y
        size, axis = difference.abs().max(-1)
        ctx.save_for_backward(difference.gather(2, axis[..., None])[..., 0].sign(), axis)
        ctx.d = x.shape[1]
        return size

    @staticmethod
    def backward(ctx, gradient):
        sign, axis = ctx.saved_tensors
        along = torch.nn.functional.one_hot(axis, ctx.d) * (gradient * sign)[..., None]
        return along.sum(1), -along.sum(0)


@pytest.mark.parametrize("n", [7, 700])
def test_a_metric_of_ones_own_is_used_everywhere(monkeypatch, n):
    "Not only for the matrix: in 0.2's first draft products took it for the Euclidean one."
    points = points_of(n)
    expected = mag.weighting(points, 1.0, metric="chebyshev")  # scikit-learn's, without gradient
    monkeypatch.setitem(DISTANCES, "chebyshev", Chebyshev)
    torch.testing.assert_close(mag.weighting(points, 1.0, metric="chebyshev"), expected)
    for solver in (mag.LU(), mag.ConjugateGradient()):
        found = mag.weighting(points, 1.0, metric="chebyshev", solver=solver)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        mag.spread(points, metric="chebyshev"),
        (1 / mag.similarity_matrix(points, metric="chebyshev").sum(1)).sum(),
    )


def test_a_metric_of_ones_own_differentiates(monkeypatch):
    monkeypatch.setitem(DISTANCES, "chebyshev", Chebyshev)
    points = points_of(6).requires_grad_()

    def weighting(x):
        return mag.weighting(x, 0.3, metric="chebyshev")

    assert gradcheck(weighting, (points,))
    assert gradgradcheck(weighting, (points,), atol=1e-5)
