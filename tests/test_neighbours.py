"""Neighbours kept: against scikit-learn and brute force, and with ties against all their orders."""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

import magnitude_ae as mag
from magnitude_ae.neighbours import neighbours_kept

rng = np.random.default_rng(0)


def ranks_of(distances, order):
    """Ranks in each row, 1 for the nearest other point, ties broken by the place in `order`."""
    n = len(distances)
    ranks = np.zeros((n, n), int)
    for i in range(n):
        others = sorted(set(range(n)) - {i}, key=lambda j: (distances[i, j], order[j]))
        ranks[i, others] = np.arange(1, n)
    return ranks


def brute_trustworthiness(before, after, k):
    """The definition, from ranks without ties."""
    n = len(before)
    excess = sum(
        max(0, before[i, j] - k) for i in range(n) for j in range(n) if i != j and after[i, j] <= k
    )
    return 1 - 2 * excess / (n * k * (2 * n - 3 * k - 1))


def brute_rank_error(before, after, k):
    """One direction of the mean relative rank error, from ranks without ties."""
    n = len(before)
    error = sum(
        abs(before[i, j] - after[i, j]) / after[i, j]
        for i in range(n)
        for j in range(n)
        if i != j and after[i, j] <= k
    )
    return error / (n * sum(abs(2 * s - n - 1) / s for s in range(1, k + 1)))


# Without ties


@pytest.mark.parametrize("n, k", [(25, 12), (40, 1), (3, 1), (2500, 12)])
def test_trustworthiness_is_scikit_learns(n, k):
    x, h = rng.normal(size=(n, 9)), rng.normal(size=(n, 2))
    kept = neighbours_kept(x, h, (k,)).trustworthiness
    assert kept.mean() == pytest.approx(sklearn_trustworthiness(x, h, n_neighbors=k), abs=1e-12)
    assert mag.trustworthiness(x, h, k) == pytest.approx(kept.mean(), abs=1e-12)
    assert mag.continuity(h, x, k) == pytest.approx(kept.mean(), abs=1e-12)


@pytest.mark.parametrize("d", [2, 30])
def test_both_measures_are_those_of_the_definition(d):
    x, h = rng.normal(size=(30, d)), rng.normal(size=(30, 2))
    before, after = (ranks_of(cdist(points, points), range(30)) for points in (x, h))
    ks = (1, 5, 10, 14)
    kept = neighbours_kept(x, h, ks)
    for place, k in enumerate(ks):
        trust = brute_trustworthiness(before, after, k)
        assert kept.trustworthiness[:, place].mean() == pytest.approx(trust, abs=1e-12)
        error = brute_rank_error(before, after, k)
        assert kept.rank_error[:, place].mean() == pytest.approx(error, abs=1e-12)


def test_several_numbers_of_neighbours_are_as_good_as_one():
    x, h = rng.normal(size=(60, 4)), rng.normal(size=(60, 2))
    together = neighbours_kept(x, h, (3, 12, 29))
    for place, k in enumerate((3, 12, 29)):
        alone = neighbours_kept(x, h, (k,))
        np.testing.assert_array_equal(together.trustworthiness[:, [place]], alone.trustworthiness)
        np.testing.assert_allclose(together.rank_error[:, [place]], alone.rank_error, rtol=1e-12)


def test_blocks_of_rows_make_no_difference():
    """2,500 points are several blocks of all rows, and one block of these few."""
    x, h = rng.normal(size=(2500, 3)), rng.normal(size=(2500, 2))
    some = np.array([2499, 0, 1700])
    part, whole = neighbours_kept(x, h, (12,), some), neighbours_kept(x, h, (12,))
    np.testing.assert_array_equal(part.trustworthiness, whole.trustworthiness[some])
    np.testing.assert_array_equal(part.rank_error, whole.rank_error[some])


# With ties

side = np.arange(8.0)
GRIDS = {
    "square": np.stack(np.meshgrid(side, side), -1).reshape(-1, 2),
    "fine": 0.1 * np.stack(np.meshgrid(side, side), -1).reshape(-1, 2),
    "cube": np.stack(np.meshgrid(side[:4], side[:4], side[:4]), -1).reshape(-1, 3),
    "corners": (np.arange(64)[:, None] >> np.arange(20) & 1).astype(float),
    "simplex": np.eye(40),
    "twins": np.repeat(rng.normal(size=(20, 3)), 3, axis=0),
    "one point": np.zeros((30, 2)),
}
every_grid = pytest.mark.parametrize("name", GRIDS)


@every_grid
def test_anything_is_a_perfect_embedding_of_itself(name):
    """Turned and in any order of rows, too, where distances differ in the last digits."""
    grid = GRIDS[name]
    turn = np.linalg.qr(rng.normal(size=(grid.shape[1],) * 2))[0]
    for points in (grid, grid[rng.permutation(len(grid))]):
        for embedding in (points, 3 * points @ turn):
            kept = neighbours_kept(points, embedding, (1, 5, 12))
            assert (kept.trustworthiness == 1).all()
            assert (kept.rank_error == 0).all()
            assert mag.trustworthiness(points, embedding) == 1
            assert mag.continuity(points, embedding) == 1


@every_grid
def test_the_order_of_rows_makes_no_difference(name):
    grid = GRIDS[name]
    other = rng.normal(size=(len(grid), 2)).round(0)
    shuffle = rng.permutation(len(grid))
    for a, b in ((grid, other), (other, grid)):
        kept, again = (neighbours_kept(a[p], b[p], (5, 12)) for p in (slice(None), shuffle))
        for before, after in zip(kept, again, strict=True):
            np.testing.assert_allclose(before[shuffle], after, atol=1e-12)


def test_ties_in_the_embedding_are_all_their_orders_in_the_mean():
    """All 720 orders of six points, each of which breaks the ties in its own way."""
    x = rng.normal(size=(6, 3))
    h = np.array([[0.0], [1.0], [-1.0], [1.0], [2.0], [0.0]])
    before = ranks_of(cdist(x, x), range(6))
    orders = [ranks_of(cdist(h, h), order) for order in permutations(range(6))]
    ks = (1, 2)
    kept = neighbours_kept(x, h, ks)
    for place, k in enumerate(ks):
        trust = np.mean([brute_trustworthiness(before, after, k) for after in orders])
        assert kept.trustworthiness[:, place].mean() == pytest.approx(trust, abs=1e-12)
        error = np.mean([brute_rank_error(before, after, k) for after in orders])
        assert kept.rank_error[:, place].mean() == pytest.approx(error, abs=1e-12)


def test_ties_in_the_input_are_counted_from_their_nearer_end():
    """Four points at distance 1 from the first, two further off; the embedding has no ties."""
    x = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [3, 0], [0, 4]])
    h = np.array([[0.0], [1], [2], [3], [4], [5], [6]])
    assert neighbours_kept(x, h, (3,), np.array([0])).trustworthiness == 1
    swapped = h[[0, 5, 2, 3, 4, 1, 6]]  # the nearest neighbour has rank 5 and not 1
    kept = neighbours_kept(x, swapped, (1, 3), np.array([0]))
    assert kept.rank_error[0, 0] == pytest.approx(4 / 6)
    assert kept.trustworthiness[0] == pytest.approx([1 - 2 * 4 / 10, 1 - 2 * 2 / 12])


@pytest.mark.parametrize("ks", [(0,), (5,), (1, 5), (-1,)])
def test_neighbourhoods_are_less_than_half_of_all_points(ks):
    with pytest.raises(ValueError, match="ks must be from 1 to 4 among 10 points"):
        neighbours_kept(np.eye(10), np.eye(10), ks)
