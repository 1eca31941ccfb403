"""The hierarchy of low-rank blocks: inverse, determinant, ranks, tolerances that are too coarse."""

import numpy as np
import pytest
import torch

import magnitude_ae as mag
from magnitude_ae.solvers.base import stable_shift
from magnitude_ae.solvers.hodlr import HODLR, cross_approximation, log_determinant


def cloud(n, d=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 5, 37, 200, 513])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_the_hierarchy_inverts(n, d, scale):
    similarity = mag.Similarity(cloud(n, d) * 10, scale)
    shift = stable_shift(similarity)
    solver = HODLR(rtol=1e-10, leaf_size=8)
    inverse = solver.approximate_inverse(similarity, shift)
    zeta = similarity.dense()
    identity = torch.eye(n, dtype=torch.float64)
    torch.testing.assert_close(inverse(zeta - (1 - shift)), identity, rtol=0, atol=1e-6)
    found = log_determinant(solver.factor(similarity))
    assert found == pytest.approx(torch.logdet(zeta).item(), rel=1e-6, abs=1e-6)


def test_empty_places_do_not_end_the_search():
    """Leaves that are not full have empty places, five or more of them in a block of many leaves.

    They are at the coordinates of point 0, here on the first cut. Taken for rows that find nothing,
    they ended the search early: the median of the errors was three hundred times the tolerance.
    """
    identity = torch.eye(600, dtype=torch.float64)
    errors = []
    for seed in range(9):
        points = cloud(600, 2, seed) * 10
        points[0] = points.median(0).values
        similarity = mag.Similarity(points)
        inverse = HODLR(rtol=1e-4, leaf_size=8).approximate_inverse(similarity, 1.0)
        approximate = torch.linalg.inv(inverse(identity))
        errors.append((approximate - similarity.dense()).abs().max().item())
    assert np.median(errors) < 1e-3


@pytest.mark.parametrize("d", [1, 2, 3])
def test_cityblock_is_solved_exactly(d):
    "Its blocks have kinks that the search for pivots may miss: a rougher guide, the same answer."
    points = cloud(300, d) * 5
    solution = mag.solve(points, metric="cityblock", solver=HODLR(leaf_size=16))
    assert solution.converged
    exact = mag.weighting(points, metric="cityblock", solver=mag.LU())
    torch.testing.assert_close(solution.value, exact, rtol=0, atol=1e-7)


def test_copies_do_not_count_in_the_determinant():
    points = cloud(40) * 3
    twice = torch.cat([points, points[:7]])
    solver = HODLR(rtol=1e-10, leaf_size=8)
    found = log_determinant(solver.factor(mag.Similarity(twice)))
    assert found == pytest.approx(torch.logdet(mag.similarity_matrix(points)).item(), rel=1e-8)


def test_also_the_guide_of_conjugate_gradients_knows_the_determinant():
    similarity = mag.Similarity(cloud(100) * 3)
    solver = HODLR(rtol=1e-8, leaf_size=16)
    guided = mag.ConjugateGradient(preconditioner=solver)
    own = log_determinant(solver.factor(similarity))
    assert log_determinant(guided.factor(similarity)) == own


@pytest.mark.parametrize("solver", [mag.ConjugateGradient(), mag.Cholesky()], ids=["CG", "dense"])
def test_other_factors_have_no_hierarchy(solver):
    with pytest.raises(TypeError, match="HODLR"):
        log_determinant(solver.factor(mag.Similarity(cloud(20))))


def test_ranks_are_small_on_a_line_and_large_in_space():
    def largest_rank(d):
        similarity = mag.Similarity(cloud(1000, d) * 2 * 1000 ** (1 / d) / 6)
        return max(HODLR(rtol=1e-6, leaf_size=64).approximate_inverse(similarity, 1.0).ranks)

    assert largest_rank(1) < 10 < largest_rank(2) < largest_rank(3)


@pytest.mark.parametrize("rank", [1, 3, 40])
def test_cross_approximation_finds_blocks_of_low_rank(rank):
    "Blocks side by side, up to a rank for which the factors have to grow."
    U, V = torch.randn(
        2, 3, 60, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(rank)
    )
    blocks = U @ V.mT
    each = torch.arange(3)
    away = torch.rand(3, 60, dtype=torch.float64)
    left, right = cross_approximation(
        lambda i: blocks[each, i], lambda j: blocks[each, :, j], away, 1e-9
    )
    assert rank <= left.shape[2] <= rank + 5
    torch.testing.assert_close(left @ right.mT, blocks, rtol=0, atol=1e-7)


def test_a_rank_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("magnitude_ae.arrays.free_bytes", lambda device: 2**20)
    solver = HODLR(rtol=1e-8, leaf_size=32)
    assert solver.approximate_inverse(mag.Similarity(cloud(600, 1) * 50), 1.0).ranks
    with pytest.raises(MemoryError, match="HODLR is for one or two dimensions"):
        solver.approximate_inverse(mag.Similarity(cloud(600, 3) * 5), 1.0)


def test_leaves_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr("magnitude_ae.arrays.free_bytes", lambda device: 2**20)
    with pytest.raises(MemoryError, match="lower leaf_size"):
        HODLR(leaf_size=600).approximate_inverse(mag.Similarity(cloud(600)), 1.0)


def test_too_coarse_a_hierarchy_is_refused_with_the_remedy():
    "A tolerance far above ζ's smallest eigenvalue, 0.0017, makes it indefinite here."
    points = torch.from_numpy(mag.datasets.disc(1500, radius=5.0, random_state=1))
    with pytest.raises(mag.NotPositiveDefiniteError, match=r"HODLR\(rtol=0.1.*lower rtol"):
        mag.solve(points, solver=HODLR(rtol=0.1, leaf_size=32))
    assert mag.solve(points, solver=HODLR(rtol=1e-6)).converged


def test_a_finer_hierarchy_takes_fewer_steps():
    points = cloud(1500) * 8
    steps = [mag.solve(points, solver=HODLR(rtol=rtol)).n_steps for rtol in (1e-2, 1e-4, 1e-6)]
    assert steps[0] > steps[1] > steps[2] > 0


def test_none_is_not_a_tolerance():
    with pytest.raises(TypeError, match="rtol must be a number"):
        HODLR(rtol=None)
