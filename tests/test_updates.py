"""Points added, removed and tried: always the weighting of the points that are there."""

import numpy as np
import pytest
import torch

import magnitude_ae as mag


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


def test_a_space_does_not_change_when_others_are_made_of_it():
    points = np.random.default_rng(2).normal(size=(20, 2))
    space = mag.WeightedSpace(points)
    before = space.weighting.copy()
    space.add([[5.0, 0.0]])
    space.remove([0, 1]).remove([0])
    assert len(space) == 20
    np.testing.assert_array_equal(space.weighting, before)
    np.testing.assert_array_equal(space.points, points)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_adding_one_by_one_is_the_same_as_all_at_once(scale):
    points = np.random.default_rng(3).normal(size=(30, 3))
    space = mag.WeightedSpace(points[:1], scale)
    for point in points[1:]:
        space = space.add(point[None])
    expected = mag.WeightedSpace(points, scale)
    # at t = 1e-3 the smallest eigenvalue of ζ is about 1e-4
    np.testing.assert_allclose(space.weighting, expected.weighting, rtol=0, atol=1e-10)


def test_points_that_nearly_coincide_are_named_as_the_reason():
    "Distinct points whose similarity is 1 to the last digit."
    with pytest.raises(mag.SingularSimilarityError, match="nearly coincide"):
        mag.WeightedSpace([[0.0], [1e-20], [1.0]])
    space = mag.WeightedSpace([[0.0], [1.0]])
    with pytest.raises(mag.SingularSimilarityError, match="nearly coincide"):
        space.add([[1e-20]])


@pytest.mark.parametrize("index", [1.5, [True], "one"])
def test_an_index_that_is_no_whole_number(index):
    space = mag.WeightedSpace([[0.0], [1.0], [3.0]])
    with pytest.raises(TypeError, match="whole numbers"):
        space.remove(index)


def test_answers_come_in_the_container_that_came():
    points = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    space = mag.WeightedSpace(points).remove(torch.tensor([3, -1]))
    assert isinstance(space.weighting, torch.Tensor)
    assert isinstance(space.points, torch.Tensor)
    assert isinstance(space.deficit([[0.0, 0.0]]), np.ndarray)
    kept = [0, 1, 2, *range(4, 11)]
    torch.testing.assert_close(space.weighting, mag.weighting(points.double()[kept]))
