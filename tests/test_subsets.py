"""Boundary functions of random subsets, against dense matrices and against each other."""

import numpy as np
import pandas as pd
import pytest
import torch

import magnitude_ae as mag
from magnitude_ae.subsets import subset_functions


def cloud(n=60, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def by_hand(part, t, places):
    """m_S from dense matrices in NumPy alone."""
    zeta = np.exp(-t * np.linalg.norm(part[:, None] - part, axis=2))
    w = np.linalg.solve(zeta, np.ones(len(part)))
    c = np.exp(-t * np.linalg.norm(places[:, None] - part, axis=2))
    return 1 + c @ np.linalg.solve(zeta, w - 1)


def test_it_is_the_mean_over_its_subsets():
    points, places = cloud(), cloud(17, seed=1)
    f = mag.boundary_function(points, 1.3, n_subsets=7, subset_size=12, random_state=0)
    assert f.subsets.shape == (7, 12)
    each = np.stack([by_hand(points[subset], 1.3, places) for subset in f.subsets], axis=1)
    # ζ of twelve points is well conditioned: only rounding differs
    np.testing.assert_allclose(f.each(places), each, rtol=1e-10)
    np.testing.assert_allclose(f(places), each.mean(1), rtol=1e-10)


def test_one_subset_of_all_points_gives_their_weighting():
    points = cloud(40)
    f = mag.boundary_function(points, 0.7, n_subsets=1, subset_size=40, random_state=0)
    np.testing.assert_allclose(f(points), mag.weighting(points, 0.7), rtol=1e-8)


def test_it_tends_to_one_far_away():
    f = mag.boundary_function(cloud(), 1.0, subset_size=20, random_state=0)
    np.testing.assert_allclose(f(np.full((1, 3), 1e3)), 1.0)


@pytest.mark.parametrize(
    "metric", ["cityblock", "chebyshev", "cosine", "seuclidean", "mahalanobis", "jaccard"]
)
def test_a_metric_gives_what_its_matrix_gives(metric):
    points = cloud() if metric != "jaccard" else (cloud(d=12) > 0).astype(float)
    points = np.unique(points, axis=0)
    matrix = mag.distance_matrix(points, metric=metric)
    settings = {"n_subsets": 5, "subset_size": 15, "random_state": 3}
    by_name = mag.boundary_function(points, 1.1, metric=metric, **settings)
    by_matrix = mag.boundary_function(matrix, 1.1, metric="precomputed", **settings)
    np.testing.assert_allclose(by_name(points), by_matrix(matrix), rtol=1e-6, atol=1e-9)


def test_equal_rows_get_equal_values_and_share_their_weight():
    points = np.repeat(cloud(20), 3, axis=0)
    f = mag.boundary_function(points, 1.0, n_subsets=1, subset_size=60, random_state=0)
    np.testing.assert_allclose(f(points), mag.weighting(points, 1.0), rtol=1e-8)


def test_containers_follow_the_places():
    points = cloud()
    f = mag.boundary_function(pd.DataFrame(points), 1.0, random_state=0)
    expected = f(points)
    assert isinstance(expected, np.ndarray)
    np.testing.assert_array_equal(f(pd.DataFrame(points)), expected)
    single = f(torch.tensor(points, dtype=torch.float32))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=1e-5)


def test_seeds_hold_and_the_global_generator_is_left_alone():
    points = cloud()
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    a, b = (mag.boundary_function(points, random_state=5) for _ in range(2))
    other = mag.boundary_function(points, random_state=6)
    np.testing.assert_array_equal(a(points), b(points))
    assert not np.array_equal(a(points), other(points))
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("factor", [2.0**-21, 2.0**11, 1e-9, 1e9])
def test_the_unit_does_not_matter(factor):
    points = cloud()
    plain = mag.boundary_function(points, random_state=0)
    other = mag.boundary_function(factor * points, random_state=0)
    # the automatic scale is found to 1e-4
    np.testing.assert_allclose(other(factor * points), plain(points), rtol=1e-3)


def test_gradients_of_the_places():
    f = mag.boundary_function(cloud(), 1.0, n_subsets=3, subset_size=10, random_state=0)
    places = torch.tensor(cloud(5, seed=4), requires_grad=True)
    assert torch.autograd.gradcheck(f, places)
    assert torch.autograd.gradgradcheck(f, places)


def test_functions_of_a_batch():
    points = torch.tensor(cloud(30), requires_grad=True)
    subsets = torch.arange(20).view(4, 5)
    found = subset_functions(mag.similarity_matrix(points, 0.9), subsets)
    rows = points.detach().numpy()
    for row, subset in zip(found.detach().numpy(), subsets, strict=True):
        # the nugget of 1e-9 is magnified by the condition of ζ
        np.testing.assert_allclose(row, by_hand(rows[subset], 0.9, rows), atol=1e-6)
    assert torch.autograd.gradcheck(
        lambda x: subset_functions(mag.similarity_matrix(x, 0.9), subsets), points
    )


def test_equal_rows_of_a_batch_share_their_weight():
    points = torch.tensor(np.repeat(cloud(8), 2, axis=0))
    found = subset_functions(mag.similarity_matrix(points), torch.arange(16)[None])
    np.testing.assert_allclose(found[0].numpy(), mag.weighting(points.numpy()), atol=1e-7)


def test_a_batch_that_is_not_finite_is_refused():
    zeta = torch.full((4, 4), torch.nan)
    with pytest.raises(mag.SingularSimilarityError, match="not finite"):
        subset_functions(zeta, torch.arange(4)[None])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"subset_size": 61}, "subset_size must be from 1 to 60, not 61: there are 60 points"),
        ({"n_subsets": 0}, "n_subsets must be at least 1"),
        ({"scale": "wide"}, "scale must be a positive number or one of 'auto'"),
        ({"scale": -1.0}, "scale must be positive"),
        ({"metric": "none"}, "metric"),
        ({"subset_size": 1}, "a subset of one point has no scale"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(settings, words):
    with pytest.raises(ValueError, match=words):
        mag.boundary_function(cloud(), **settings)


def test_places_of_another_width_are_refused():
    f = mag.boundary_function(cloud(), 1.0, random_state=0)
    with pytest.raises(ValueError, match="places has 2 columns; this function takes 3"):
        f(np.zeros((4, 2)))
