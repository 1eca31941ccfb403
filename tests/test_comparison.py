"""`mag.evaluate`: every column against an independent computation, every row with its rules."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import entropy
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.preprocessing import StandardScaler

import magnitude_ae as mag
from magnitude_ae import rivals
from magnitude_ae.architectures import build
from magnitude_ae.comparison import NULL_SCORES, several_neighbours, unexplained
from magnitude_ae.evaluation import best_scale_correlation
from magnitude_ae.random import draws_from, seed_of

ball, to_edge = mag.datasets.ball(110, random_state=0, return_boundary_distance=True)
old, new = ball[:60], ball[60:]
rim = to_edge[60:] < np.quantile(to_edge[60:], 0.2)
SCALE = 0.8


class Shadow:
    "Keeps two columns, and knows nothing of the others."

    scale_ = SCALE

    def transform(self, points):
        return np.asarray(points).reshape(len(points), -1)[:, :2] * [1.0, 0.5]

    def inverse_transform(self, latent):
        return np.hstack([latent, np.zeros_like(latent)[:, :1]])


class NoWayBack:
    def transform(self, points):
        return points[:, :2]


def weigh(points):
    "The definition."
    return np.linalg.solve(np.exp(-SCALE * cdist(points, points)), np.ones(len(points)))


@pytest.fixture(scope="module")
def table():
    return mag.evaluate(Shadow(), old, new, is_boundary=rim, random_state=0)


@pytest.fixture(scope="module")
def model():
    return mag.MagnitudeAutoencoder(
        scale=SCALE, strategy=mag.Joint(3), random_state=0, progress=False
    ).fit(old)


# Columns


def test_correlations_are_those_of_the_definition(table):
    row = table.loc["model"]
    before, after = weigh(ball), weigh(Shadow().transform(ball))
    alone = np.corrcoef(weigh(old), weigh(Shadow().transform(old)))[0, 1]
    assert row["rho in-sample"] == pytest.approx(alone, abs=1e-9)
    assert row["rho new"] == pytest.approx(np.corrcoef(before[60:], after[60:])[0, 1], abs=1e-9)
    radius = np.linalg.norm(ball - ball.mean(0), axis=1)[60:]
    rest = [w - np.polyval(np.polyfit(radius, w, 2), radius) for w in (before[60:], after[60:])]
    assert row["rho new, radius out"] == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-9)


def test_neighbour_columns_are_those_of_the_published_protocol(table):
    """By brute force, on the new points alone, in the mean over the numbers of neighbours."""
    latent = Shadow().transform(new)
    n = len(new)
    before, after = (cdist(x, x).argsort(1).argsort(1) for x in (new, latent))

    def error(of_neighbours, k):
        "The mean relative rank error in one direction; ranks count from 1, the point itself is 0."
        near = (of_neighbours > 0) & (of_neighbours <= k)
        relative = abs(before - after)[near] / of_neighbours[near]
        return relative.sum() / (n * sum(abs(n + 1 - 2 * s) / s for s in range(1, k + 1)))

    ks = (10, 20)  # 30 is more than half of 50
    row = table.loc["model"]
    mrre = np.mean([error(ranks, k) for ranks in (before, after) for k in ks])
    assert row["MRRE"] == pytest.approx(mrre, abs=1e-12)
    trust = np.mean([sklearn_trustworthiness(new, latent, n_neighbors=k) for k in ks])
    assert row["trustworthiness"] == pytest.approx(trust, abs=1e-12)
    continuity = np.mean([sklearn_trustworthiness(latent, new, n_neighbors=k) for k in ks])
    assert row["continuity"] == pytest.approx(continuity, abs=1e-12)


def test_density_columns_are_entropies_of_kernel_densities(table):
    for sigma in (0.01, 0.1, 1):
        p, q = (
            np.exp(-((cdist(x, x) / cdist(x, x).max()) ** 2) / sigma).sum(0)
            for x in (new, Shadow().transform(new))
        )
        assert table.loc["model", f"KL {sigma:g}"] == pytest.approx(entropy(p, q), rel=1e-9)


def test_the_numbers_of_neighbours_are_those_of_the_published_protocol():
    assert several_neighbours(10_000) == tuple(range(10, 201, 10))
    assert several_neighbours(401) == tuple(range(10, 201, 10))
    assert several_neighbours(400) == tuple(range(10, 191, 10))
    assert several_neighbours(21) == (10,)
    assert several_neighbours(20) == (9,)
    assert several_neighbours(3) == (1,)


def test_new_points_count_as_in_evaluate_held_out(table):
    held_out = mag.evaluate_held_out(Shadow(), old, new).loc["new, within the whole"]
    row = table.loc["model"]
    assert row["rho new"] == held_out["rho"]
    assert row["trustworthiness (12)"] == held_out["trustworthiness"]
    assert row["reconstruction error"] == pytest.approx(held_out["reconstruction error"])
    assert "trustworthiness (5)" in mag.evaluate(Shadow(), old, new, n_neighbors=5)


def test_boundary_columns_are_those_of_the_boundary_function(table):
    seed = seed_of(0)
    of_input = mag.boundary_function(old, SCALE, random_state=seed)(new)
    shadow = Shadow().transform
    of_shadow = mag.boundary_function(shadow(old), SCALE, random_state=seed)(shadow(new))
    for row, values in (("input", of_input), ("model", of_shadow)):
        in_order = (values[rim][:, None] > values[~rim][None, :]).mean()
        assert table.loc[row, "boundary AUC"] == pytest.approx(in_order)
        agreement = np.corrcoef(of_input, values)[0, 1]
        assert table.loc[row, "boundary functions"] == pytest.approx(agreement)


def test_columns_that_nobody_asked_for_are_left_out():
    table = mag.evaluate(Shadow(), old, new, rivals=())
    assert not {"boundary AUC", "loops"} & set(table)
    assert list(table.index) == ["model", *NULL_SCORES]


def test_the_input_itself_is_perfect():
    class Itself:
        scale_ = SCALE

        def transform(self, points):
            return points

        inverse_transform = transform

    row = mag.evaluate(Itself(), old, new, rivals=(), is_boundary=rim, random_state=0).loc["model"]
    ones = row.filter(regex="rho|trust|continuity|functions")
    np.testing.assert_allclose(ones, 1, atol=1e-12)
    zeros = row.filter(regex="KL|MRRE|error")
    np.testing.assert_allclose(zeros, 0, atol=1e-12)


def test_the_parabola_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    r, values = rng.random(40), rng.normal(size=40)
    expected = values - np.polyval(np.polyfit(r, values, 2), r)
    np.testing.assert_allclose(unexplained(values, r), expected, atol=1e-12)
    assert (unexplained(1e6 + 1e-3 * r**2, r) == 0).all()
    assert (unexplained(np.ones(40), np.zeros(40)) == 0).all()


# Rows


@pytest.mark.parametrize("name", ["PCA", "standardised PCA"])
def test_rivals_are_stretched_by_what_suits_the_training_points(name):
    stretched = ball * [1.0, 5.0, 1.0]
    a, b = stretched[:60], stretched[60:]
    row = mag.evaluate(Shadow(), a, b, rivals=[name], random_state=0).loc[name]
    scaler = StandardScaler(with_mean=False, with_std=name != "PCA").fit(a)
    pca = PCA(2).fit(scaler.transform(a))
    latents = [pca.transform(scaler.transform(part)) for part in (a, b)]
    rho, factor = best_scale_correlation(a, latents[0], SCALE)
    assert row["rho in-sample"] == pytest.approx(rho, abs=1e-6)
    assert row["factor"] == pytest.approx(factor, rel=1e-6)
    whole = weigh(np.concatenate([a, b]))[60:], weigh(factor * np.concatenate(latents))[60:]
    assert row["rho new"] == pytest.approx(np.corrcoef(*whole)[0, 1], abs=1e-6)
    back = scaler.inverse_transform(pca.inverse_transform(latents[1]))
    assert row["reconstruction error"] == pytest.approx(((b - back) ** 2).mean())


def test_the_size_of_a_rival_means_nothing_and_that_of_the_model_does():
    class Large(Shadow):
        def transform(self, points):
            return 7 * super().transform(points)

    sizes = {"small": Shadow(), "large": Large()}
    table = mag.evaluate(Shadow(), old, new, rivals=sizes, random_state=0)
    a, b = (table.loc[name].drop(["factor", "reconstruction error"]) for name in sizes)
    np.testing.assert_allclose(a, b, atol=1e-3)
    assert table.loc["small", "factor"] == pytest.approx(7 * table.loc["large", "factor"], rel=1e-2)
    large = mag.evaluate(Large(), old, new, rivals=(), random_state=0)
    assert large.loc["model", "factor"] == 1
    assert abs(large.loc["model", "rho new"] - table.loc["model", "rho new"]) > 0.01


def test_without_weighting_loss_all_else_is_the_same(model):
    fitted = rivals.fit_rival("λ = 0", model, old, 2, 5)
    by_hand = clone(model).set_params(weighting_coefficient=0.0, random_state=5).fit(old)
    np.testing.assert_array_equal(fitted.transform(new), by_hand.transform(new))
    assert not np.allclose(fitted.transform(old), model.embedding_)


def test_without_weighting_loss_no_callback_writes_again(model):
    calls = []
    watched = clone(model).set_params(callbacks=[calls.append]).fit(old)
    before = len(calls)
    rivals.fit_rival("λ = 0", watched, old, 2, 0)
    assert len(calls) == before > 0


def test_a_method_without_a_way_back_has_no_reconstruction():
    table = mag.evaluate(Shadow(), old, new, rivals={"there": NoWayBack()})
    assert np.isnan(table.loc["there", "reconstruction error"])
    assert table.drop(columns="reconstruction error").loc["there"].notna().all()


def test_null_scores_are_what_they_say(table):
    distances = cdist(ball, ball)
    scores = {
        "distance from the mean": np.linalg.norm(ball - ball.mean(0), axis=1),
        "k-NN distance": np.sort(distances, 1)[:, 10],
        "low density": -np.exp(-((distances / distances.max()) ** 2) / 0.1).sum(1),
    }
    for name, score in scores.items():
        rho = np.corrcoef(weigh(ball)[60:], score[60:])[0, 1]
        assert table.loc[name, "rho new"] == pytest.approx(rho, abs=1e-9)
        in_order = (score[60:][rim][:, None] > score[60:][~rim][None, :]).mean()
        assert table.loc[name, "boundary AUC"] == pytest.approx(in_order)
    assert np.isnan(table.loc["distance from the mean", "rho new, radius out"])
    only = table.loc[list(scores)].filter(regex="trust|continuity|KL|MRRE|error|factor")
    assert only.isna().all(axis=None)


def test_a_collapsed_rival_leaves_the_other_rows_alone(table):
    class Point:
        def transform(self, points):
            return np.zeros((len(points), 2))

    members = {"point": Point(), "PCA": PCA(2).fit(old)}
    mixed = mag.evaluate(
        Shadow(), old, new, is_boundary=rim, rivals=members, count_loops=True, random_state=0
    )
    np.testing.assert_allclose(
        mixed.loc[["model", "PCA"], list(table)], table.loc[["model", "PCA"]], atol=1e-9
    )
    assert mixed.loc["point"].filter(regex="rho|AUC|functions").isna().all()
    assert mixed.loc["point", "loops"] == 0


def test_a_model_that_repeats_its_points_is_seen_to_have_no_holes():
    ring = np.stack([np.cos(np.arange(100)), np.sin(np.arange(100)), np.zeros(100)], 1)
    table = mag.evaluate(Shadow(), ring, ring + 0.01, count_loops=True, rivals={"no": NoWayBack()})
    assert list(table.loc[["input", "model", "no"], "loops"]) == [1, 1, 1]


# Many points, images, seeds


def test_of_many_training_points_a_part_is_weighed():
    seen = []

    class Watching(Shadow):
        def transform(self, points):
            seen.append(len(points))
            return super().transform(points)

    few = mag.evaluate(Watching(), old, new, rivals=(), max_points=20, random_state=0)
    again = mag.evaluate(Shadow(), old, new, rivals=(), max_points=20, random_state=0)
    all_of_them = mag.evaluate(Shadow(), old, new, rivals=(), max_points=60, random_state=0)
    np.testing.assert_array_equal(few, again)
    assert max(seen) == 60
    assert few.loc["model", "rho in-sample"] != all_of_them.loc["model", "rho in-sample"]
    alone = ["continuity", "MRRE", "KL 0.1", "reconstruction error"]  # of the new points alone
    np.testing.assert_array_equal(few.loc["model", alone], all_of_them.loc["model", alone])


def test_images_are_points_in_rows():
    images = ball[:, None, :]
    table = mag.evaluate(Shadow(), images[:60], images[60:], random_state=0)
    np.testing.assert_array_equal(table, mag.evaluate(Shadow(), old, new, random_state=0))


@pytest.mark.parametrize("names", [("PCA",), ("TopoAE",)])
def test_a_seed_gives_the_same_table_and_no_global_generator_is_touched(model, names, quick):
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = mag.evaluate(model, old, new, rivals=names, random_state=3)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    assert torch.equal(torch.get_rng_state(), torch_before)
    again = mag.evaluate(model, old, new, rivals=names, random_state=3)
    np.testing.assert_array_equal(again, first)


# Packages of others


@pytest.fixture
def quick(monkeypatch):
    "A topological autoencoder that is trained for a moment."
    train = rivals.train_topological
    monkeypatch.setattr(rivals, "train_topological", lambda network, x: train(network, x, 1.0, 3))


def test_the_topological_autoencoder_keeps_the_edges_of_spanning_trees():
    """By the published loss over all points of a Swiss roll, against training without it."""
    nn = pytest.importorskip("torch_topological.nn")
    x = torch.from_numpy(mag.datasets.swiss_roll(200, random_state=0)).float()
    edges, loss = nn.VietorisRipsComplex(dim=0), nn.SignatureLoss()
    left = []
    for coefficient in (0.0, 1.0):
        network = build("linear", 3, 2, seed=0).fit_units(x)
        with draws_from(torch.Generator().manual_seed(0)):
            rivals.train_topological(network, x, coefficient, n_steps=200)
        latent = network.eval().encode(x).detach()
        left.append(loss([x, edges(x)], [latent, edges(latent)]).item())
    assert left[1] < 0.5 * left[0]


def test_the_topological_autoencoder_has_the_models_network(model, quick):
    pytest.importorskip("torch_topological")
    fitted = rivals.fit_rival("TopoAE", model, old, 2, 0)
    shapes = [p.shape for p in fitted.network.parameters()]
    assert shapes == [p.shape for p in model.module_.parameters()]


def test_umap_carries_over_to_new_points(monkeypatch):
    made = []
    threads = torch.get_num_threads()

    class UMAP:
        def __init__(self, **settings):
            made.append(settings)

        def fit(self, x):
            made.append(x.shape)
            torch.set_num_threads(threads + 1)  # as Numba does
            return self

        def transform(self, x):
            torch.set_num_threads(threads + 2)
            return x[:, :2].astype(np.float32)

    module = ModuleType("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    table = mag.evaluate(Shadow(), old, new, rivals=["UMAP"], random_state=0)
    assert torch.get_num_threads() == threads
    settings, shape = made
    assert shape == (60, 3)
    assert settings["n_components"] == 2
    assert isinstance(settings["random_state"], int)
    assert np.isnan(table.loc["UMAP", "reconstruction error"])
    assert table.loc["UMAP", "rho new"] > 0


@pytest.mark.parametrize(
    "name, package", [("UMAP", "umap"), ("TopoAE", "torch_topological"), ("loops", "ripser")]
)
def test_what_is_not_installed_is_named_with_the_extra(monkeypatch, name, package):
    for known in [each for each in sys.modules if each.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, known, None)
    monkeypatch.setitem(sys.modules, package, None)
    settings = {"rivals": (), "count_loops": True} if name == "loops" else {"rivals": [name]}
    with pytest.raises(ModuleNotFoundError, match=rf"{name}.*magnitude_ae\[compare\]"):
        mag.evaluate(Shadow(), old, new, **settings)


# What is refused


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"model": "PCA"}, TypeError, "model must be a fitted model with transform, not str"),
        ({"model": PCA}, TypeError, "model must be a fitted model with transform, not ABCMeta"),
        ({"model": NoWayBack()}, TypeError, "pass scale"),
        ({"new_points": new[:, :2]}, ValueError, "train_points has 3 columns and new_points 2"),
        ({"new_points": new[:2]}, ValueError, "2 rows; neighbourhoods need at least three"),
        ({"train_points": old[:2]}, ValueError, "train_points has 2 rows"),
        ({"scale": -1}, ValueError, "scale must be positive"),
        ({"is_boundary": rim[:-1]}, ValueError, "is_boundary"),
        ({"is_boundary": np.zeros(50, bool)}, ValueError, "is_boundary"),
        ({"rivals": "PCA"}, TypeError, "rivals must be a sequence of names"),
        ({"rivals": 3}, TypeError, "rivals must be a sequence of names"),
        ({"rivals": ["t-SNE"]}, ValueError, "rivals 't-SNE' is not known; .*'TopoAE'"),
        ({"rivals": ["λ = 0"]}, TypeError, "model must be a MagnitudeAutoencoder .* not Shadow"),
        ({"rivals": {"model": Shadow()}}, ValueError, "rivals has a method called 'model'"),
        ({"rivals": {"mine": 3}}, TypeError, "mine must be a fitted model with transform"),
        ({"n_neighbors": 0}, ValueError, "n_neighbors must be at least 1"),
        ({"max_points": 2}, ValueError, "max_points must be at least 3"),
        ({"random_state": "0"}, ValueError, "random_state"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_name(wrong, error, words):
    usual = {"model": Shadow(), "train_points": old, "new_points": new, "rivals": ()}
    with pytest.raises(error, match=words):
        mag.evaluate(**{**usual, **wrong})
