"""Derivatives of every order: against finite differences, against plain torch, and where they cannot be had."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import hessian

import magnitude_ae as mag

SOLVERS = {
    "None": None,
    "Inverse": mag.Inverse(),
    "LU": mag.LU(),
    "Cholesky": mag.Cholesky(),
    "Schur": mag.Schur(4),
    "ConjugateGradient": mag.ConjugateGradient(rtol=1e-13),
    "evaluated": mag.ConjugateGradient(rtol=1e-13, memory=0),
    "HODLR": mag.HODLR(leaf_size=4),
}
named = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
metrics = pytest.mark.parametrize("metric", ["euclidean", "cityblock"])


def points_of(n=7, d=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, dtype=torch.float64, generator=generator).requires_grad_()


def scale_of(t=0.8):
    return torch.tensor(t, dtype=torch.float64, requires_grad=True)


def plain_zeta(points, t, metric="euclidean"):
    "ζ in operations of torch, differentiable any number of times at distinct points."
    difference = points[:, None] - points
    if metric == "cityblock":
        return torch.exp(-t * difference.abs().sum(-1))
    own = torch.eye(len(points), dtype=points.dtype)
    D = (difference.square().sum(-1) + own).sqrt() - own
    return torch.exp(-t * D)


def plain_weighting(points, t, metric="euclidean"):
    ones = torch.ones(len(points), dtype=points.dtype)
    return torch.linalg.solve(plain_zeta(points, t, metric), ones)


@named
@metrics
def test_weighting_twice_against_finite_differences(solver, metric):
    def weighting(points, t):
        return mag.weighting(points, t, metric=metric, solver=solver)

    assert gradcheck(weighting, (points_of(), scale_of()), atol=1e-6)
    assert gradgradcheck(weighting, (points_of(), scale_of()), atol=1e-5)


@named
def test_hessian_of_the_magnitude_is_that_of_plain_torch(solver):
    points = points_of(9).detach()
    found = hessian(lambda x: mag.magnitude(x, 0.8, solver=solver), points)
    expected = hessian(lambda x: plain_weighting(x, 0.8).sum(), points)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


@metrics
def test_third_derivatives(metric):
    points, t = points_of(5), scale_of()

    def third(function):
        value = function(points, t)
        for _ in range(3):
            (value,) = torch.autograd.grad(value, t, create_graph=True)
        return value

    found = third(lambda x, t: mag.magnitude(x, t, metric=metric))
    expected = third(lambda x, t: plain_weighting(x, t, metric).sum())
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)


VERBS = {
    "spread": lambda x, t: mag.spread(x, t),
    "dimension": lambda x, t: mag.magnitude_dimension(x, t),
    "product": lambda x, t: mag.Similarity(x, t) @ torch.arange(1.0, len(x) + 1),
    "similarity": lambda x, t: mag.similarity_matrix(x, t),
    "block": lambda x, t: mag.Similarity(x, t).block(slice(0, 3), slice(2, 6)),
    "distances": lambda x, t: mag.distance_matrix(x) * t,
    "Vecchia": lambda x, t: mag.weighting(x, t, solver=mag.Vecchia(3)),
    "two scales": lambda x, t: mag.weighting(x, [t, 2 * t]),
    "function": lambda x, t: mag.magnitude_function(x, [t, 3 * t]).values,
}


@pytest.mark.parametrize("d", [2, 20])
@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_twice(verb, d):
    inputs = (points_of(6, d), scale_of(0.4))
    assert gradcheck(verb, inputs, atol=1e-6)
    assert gradgradcheck(verb, inputs, atol=1e-5)


def test_a_precomputed_matrix_twice():
    def weighting(points, t):
        D = mag.distance_matrix(points)
        return mag.weighting(D, t, metric="precomputed")

    assert gradgradcheck(weighting, (points_of(6), scale_of()), atol=1e-5)


def test_small_scales_twice():
    points = points_of(6).detach()
    found = hessian(lambda x: mag.magnitude(x, 1e-4), points)
    expected = hessian(lambda x: plain_weighting(x, 1e-4).sum(), points)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7 * found.abs().max().item())


def test_copies_move_alike():
    "The Hessian at copies is finite, symmetric, and that of the distinct points when all copies move."
    points = points_of(5).detach()
    twice = torch.cat([points, points[:2]])
    H = hessian(lambda x: mag.magnitude(x, 0.7), twice)
    assert torch.isfinite(H).all()
    spread = torch.zeros(7, 5, dtype=torch.float64)
    spread[torch.arange(7), torch.tensor([0, 1, 2, 3, 4, 0, 1])] = 1
    together = hessian(lambda x: mag.magnitude(spread @ x, 0.7), points)
    alone = hessian(lambda x: mag.magnitude(x, 0.7), points)
    torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9)


def test_a_gradient_penalty_trains():
    "The norm of the gradient, itself minimised, as in a gradient penalty."
    points = points_of(12).detach().requires_grad_()
    optimizer = torch.optim.SGD([points], lr=0.5)

    def penalty():
        (slope,) = torch.autograd.grad(mag.magnitude(points), points, create_graph=True)
        return slope.square().sum()

    first = penalty().item()
    for _ in range(20):
        optimizer.zero_grad()
        penalty().backward()
        optimizer.step()
    assert penalty().item() < 0.8 * first


def test_where_dense_matrices_do_not_fit_an_error_says_so(monkeypatch):
    points = points_of(8)
    (slope,) = torch.autograd.grad(
        mag.magnitude(points, solver=mag.ConjugateGradient()), points, create_graph=True
    )
    monkeypatch.setattr("magnitude_ae.arrays.free_bytes", lambda device: 1000)
    with pytest.raises(MemoryError, match="second derivatives of 8 points .* use fewer points"):
        torch.autograd.grad(slope.sum(), points)
