"""How embeddings are judged: measures against independent computations; the other methods."""

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

import magnitude_ae as mag
from magnitude_ae import baselines, evaluation
from magnitude_ae.random import seed_of

rng = np.random.default_rng(0)
ball = mag.datasets.ball(90, random_state=0)
shadow = ball[:, :2] * [1.0, 0.3]


# ---- density


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1])
def test_density_divergence_is_the_entropy_of_kernel_densities(sigma):
    def density(points):
        distances = cdist(points, points)
        return np.exp(-((distances / distances.max()) ** 2) / sigma).sum(0)

    expected = entropy(density(ball), density(shadow))  # scipy normalises both
    assert evaluation.density_divergence(ball, shadow, sigma) == pytest.approx(expected, rel=1e-9)


def test_density_divergence_knows_no_size_place_or_turn():
    turned = 100 + 7 * ball @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert evaluation.density_divergence(ball, turned) == pytest.approx(0, abs=1e-12)


def test_density_divergence_of_collapsed_embeddings_is_finite():
    collapsed = np.zeros((90, 2))
    (density,) = evaluation.kernel_densities(ball, [0.1])
    expected = density @ np.log(90 * density)
    assert evaluation.density_divergence(ball, collapsed) == pytest.approx(expected)


@pytest.mark.parametrize("sigma", [0, -1, np.nan, np.inf, "0.1"])
def test_density_divergence_needs_a_width(sigma):
    with pytest.raises((ValueError, TypeError), match="sigma must be"):
        evaluation.density_divergence(ball, shadow, sigma)


# ---- baselines


@pytest.fixture
def fake_umap(monkeypatch):
    "A package umap whose embedding is the first two columns; records what it was made with."
    module = ModuleType("umap")
    made = []

    class UMAP:
        def __init__(self, **settings):
            made.append(settings)

        def fit_transform(self, x):
            torch.set_num_threads(torch.get_num_threads() + 1)  # as Numba does
            return x[:, :2].astype(np.float32)

    module.UMAP = UMAP
    module.__spec__ = object()
    monkeypatch.setitem(sys.modules, "umap", module)
    return made


@pytest.fixture
def no_umap(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(importlib.import_module("magnitude_ae.baselines"), "find_spec", hidden)


def hidden(name):
    "No package is installed."
    return None


def test_umap_is_a_baseline_where_it_is_installed(fake_umap):
    threads = torch.get_num_threads()
    embeddings = baselines(ball, random_state=3)
    assert torch.get_num_threads() == threads
    assert list(embeddings) == ["PCA", "t-SNE", "UMAP"]
    assert all(e.shape == (90, 2) and e.dtype == np.float64 for e in embeddings.values())
    seed = seed_of(3)
    assert fake_umap == [{"n_components": 2, "n_neighbors": 15, "random_state": seed, "n_jobs": 1}]


def test_umap_is_always_given_a_seed(fake_umap):
    "Without one it draws from NumPy's global generator."
    baselines(ball[:5], methods="UMAP")
    baselines(ball[:5], methods="UMAP")
    first, second = (settings["random_state"] for settings in fake_umap)
    assert isinstance(first, int)
    assert first != second
    assert fake_umap[0]["n_neighbors"] == 4


def test_without_umap_the_rest_is_compared(no_umap):
    assert list(baselines(ball, random_state=0)) == ["PCA", "t-SNE"]
    with pytest.raises(ModuleNotFoundError, match=r"magnitude_ae\[compare\]"):
        baselines(ball, methods=["PCA", "UMAP"])


def test_methods_are_chosen_by_name():
    assert list(baselines(ball, methods=["PCA"])) == ["PCA"]
    for wrong in (["isomap"], "isomap", [3], 3):
        with pytest.raises((ValueError, TypeError), match="method.*PCA.*t-SNE.*UMAP"):
            baselines(ball, methods=wrong)


@pytest.mark.parametrize("method", ["PCA", "t-SNE"])
@pytest.mark.parametrize("random_state", [None, 5])
def test_baselines_leave_the_global_generator_alone(method, random_state):
    "Of PCA, too: on data this large it is randomised."
    wide = np.random.default_rng(0).normal(size=(510, 60))
    before = np.random.get_state()
    first = baselines(wide, random_state, method)[method]
    after = np.random.get_state()
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    if random_state is not None:
        np.testing.assert_array_equal(baselines(wide, random_state, method)[method], first)


# ---- the table


def test_the_table_holds_every_measure():
    table = evaluation.compare_embeddings(ball, {"shadow": shadow}, 0.7, {"shadow": ball + 2})
    row = table.loc["shadow"]
    assert row["rho"] == evaluation.boundary_correlation(ball, shadow, 0.7)
    assert row["KL 0.01"] == evaluation.density_divergence(ball, shadow, 0.01)
    assert row["KL 0.1"] == evaluation.density_divergence(ball, shadow, 0.1)
    assert row["trustworthiness"] == pytest.approx(
        sklearn_trustworthiness(ball, shadow, n_neighbors=12)
    )
    assert row["continuity"] == pytest.approx(sklearn_trustworthiness(shadow, ball, n_neighbors=12))
    assert row["reconstruction error"] == pytest.approx(4)


# ---- held-out points


class Shadow:
    "Keeps two columns, and knows nothing of the others."

    scale_ = 0.8

    def transform(self, points):
        return points.reshape(len(points), -1)[:, :2]

    def inverse_transform(self, latent):
        if isinstance(latent, torch.Tensor):
            return torch.hstack([latent, torch.zeros_like(latent)[:, :1]])
        return np.hstack([latent, np.zeros_like(latent)[:, :1]])


def test_held_out_points_are_weighed_within_the_whole():
    table = evaluation.evaluate_held_out(Shadow(), ball[:60], ball[60:])
    whole, flat = mag.weighting(ball, 0.8), mag.weighting(ball[:, :2], 0.8)
    alone = evaluation.boundary_correlation(ball[:60], ball[:60, :2], 0.8)
    expected = [
        alone,
        np.corrcoef(whole[:60], flat[:60])[0, 1],
        np.corrcoef(whole[60:], flat[60:])[0, 1],
    ]
    np.testing.assert_allclose(table["rho"], expected, rtol=1e-9)
    squares = ball[:, 2] ** 2 / 3
    np.testing.assert_allclose(
        table["reconstruction error"],
        [squares[:60].mean(), squares[:60].mean(), squares[60:].mean()],
    )
    assert list(table["n"]) == [60, 60, 30]


def test_held_out_trustworthiness_adds_up_to_that_of_the_whole():
    table = evaluation.evaluate_held_out(Shadow(), ball[:60], ball[60:])
    assert table["trustworthiness"].iloc[0] == pytest.approx(
        sklearn_trustworthiness(ball[:60], ball[:60, :2], n_neighbors=12)
    )
    mean = np.average(table["trustworthiness"].iloc[1:], weights=[60, 30])
    assert mean == pytest.approx(sklearn_trustworthiness(ball, ball[:, :2], n_neighbors=12))


def test_held_out_takes_tensors_and_images():
    images = torch.tensor(ball[:, None, None, :])
    table = evaluation.evaluate_held_out(Shadow(), images[:60], images[60:])
    np.testing.assert_allclose(table, evaluation.evaluate_held_out(Shadow(), ball[:60], ball[60:]))


def test_held_out_needs_points_of_one_kind():
    with pytest.raises(ValueError, match="train_points has 3 columns and new_points 2"):
        evaluation.evaluate_held_out(Shadow(), ball, shadow)


def test_held_out_asks_nothing_of_the_new_points_in_training():
    "The trained rows do not change with the new ones, but for what being among them does."
    model = mag.MagnitudeAutoencoder(
        scale=1.0, max_epochs=2, strategy=mag.Joint(2), random_state=0, progress=False
    ).fit(ball[:60])
    first = evaluation.evaluate_held_out(model, ball[:60], ball[60:]).iloc[0]
    np.testing.assert_array_equal(
        first, evaluation.evaluate_held_out(model, ball[:60], ball[60:70]).iloc[0]
    )


# ---- known boundaries


def test_boundary_auc_counts_pairs_in_order():
    disc, to_edge = mag.datasets.disc(80, random_state=0, return_boundary_distance=True)
    rim, weights = to_edge < 0.5, mag.weighting(disc, 0.5)
    expected = (weights[rim][:, None] > weights[~rim][None, :]).mean()
    assert evaluation.boundary_auc(disc, rim, 0.5) == pytest.approx(expected)
    assert evaluation.boundary_auc(disc, ~rim, 0.5) == pytest.approx(1 - expected)


@pytest.mark.parametrize(
    "wrong",
    [np.ones(90, bool), np.zeros(90, bool), np.arange(90.0), np.arange(90) % 2, np.arange(89) < 5],
)
def test_boundary_auc_needs_two_kinds_of_points(wrong):
    with pytest.raises(ValueError, match="is_boundary"):
        evaluation.boundary_auc(ball, wrong)


# ---- best scale


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 8.0, 16.0, 32.0, 64.0])
def test_the_best_scale_is_no_worse_than_the_one_given(scale):
    "Where nearly every weight is 1, its hill is narrower than the steps in which it is looked for."
    noisy = ball + 0.01 * np.random.default_rng(1).normal(size=ball.shape)
    best, factor = evaluation.best_scale_correlation(ball, noisy, scale)
    assert best >= evaluation.boundary_correlation(ball, noisy, scale) - 1e-12
    assert best == pytest.approx(
        evaluation.boundary_correlation(ball, noisy * factor, scale), abs=1e-6
    )


def test_a_single_point_has_no_best_scale():
    assert np.isnan(evaluation.best_scale_correlation(ball, np.zeros((90, 2)))).all()
    twice = np.repeat(ball[:45], 2, axis=0)
    best, _ = evaluation.best_scale_correlation(twice, twice)
    assert best == pytest.approx(1)


# ---- constant weightings


def polygon(n, size, place):
    "A regular polygon: no point differs from another, so all of them weigh the same."
    angles = 2 * np.pi * np.arange(n) / n
    return place + size * np.stack([np.cos(angles), np.sin(angles)], 1)


def cross_polytope(d):
    "The 2d unit vectors, plus and minus."
    return np.concatenate([np.eye(d), -np.eye(d)])


SYMMETRIC = {
    "hexagon": polygon(6, 1.0, 0.0),
    "large polygon": polygon(1000, 1.0, 0.0),
    "polygon far out": polygon(6, 1.0, 1000.0),
    "tiny polygon": polygon(50, 1e-6, 0.0),
    "octahedron": cross_polytope(3),
    "many dimensions": cross_polytope(40),
    "twice the same": np.repeat(polygon(6, 1.0, 0.0), 2, axis=0),
    "one point": np.zeros((6, 2)),
}
symmetric = pytest.mark.parametrize("name", SYMMETRIC)


@symmetric
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0])
def test_nothing_correlates_with_a_constant_weighting(name, scale):
    "Only the last digits of the computed weights differ."
    points = SYMMETRIC[name]
    noise = np.random.default_rng(0).normal(size=(len(points), 2))
    assert np.isnan(evaluation.boundary_correlation(points, noise, scale))
    assert np.isnan(evaluation.boundary_correlation(noise, points, scale))
    assert np.isnan(evaluation.boundary_auc(points, noise[:, 0] > 0, scale))


@symmetric
def test_no_stretching_helps_a_constant_weighting(name):
    points = SYMMETRIC[name]
    noise = np.random.default_rng(0).normal(size=(len(points), 2))
    assert np.isnan(evaluation.best_scale_correlation(points, noise)).all()
    assert np.isnan(evaluation.best_scale_correlation(noise, points)).all()


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
def test_a_weighting_that_hardly_varies_still_counts(gap):
    "One point of a hexagon is moved: it is seen long before it is lost in rounding."
    moved = SYMMETRIC["hexagon"] * [1, 1]
    moved[0] *= 1 + gap
    assert evaluation.boundary_correlation(moved, moved) == pytest.approx(1)


def test_correlation_is_numpys_unless_a_side_is_constant():
    a, b = rng.normal(size=(2, 50))
    assert evaluation.correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert np.isnan(evaluation.correlation(np.full(50, 0.1), b))
    assert np.isnan(evaluation.correlation(b, np.full(50, 0.1) + 1e-16 * a))


def test_one_degenerate_embedding_leaves_the_others_alone():
    collapsed, ring = np.ones((90, 2)), polygon(90, 1.0, 0.0)
    members = {"one point": collapsed, "shadow": shadow, "ring": ring}
    table = evaluation.compare_embeddings(ball, members, 0.7)
    alone = evaluation.compare_embeddings(ball, {"shadow": shadow}, 0.7)
    np.testing.assert_array_equal(table.loc["shadow"], alone.loc["shadow"])
    undefined = ["rho", "rho at best scale", "factor"]
    assert table.loc[["one point", "ring"], undefined].isna().all(axis=None)
    assert table.drop(columns=undefined).notna().all(axis=None)
