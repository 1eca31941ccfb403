"""Faults that were once there, each with the smallest case that showed it."""

import gc
import itertools
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import magnitude_ae as mag
from magnitude_ae import arrays, strategies, training
from magnitude_ae.architectures import LinearAutoencoder
from magnitude_ae.batches import Cloud
from magnitude_ae.solvers import dense

points = np.random.default_rng(0).normal(size=(60, 3))


def quick(**settings):
    settings = {
        "scale": 1.0,
        "progress": False,
        "random_state": 0,
        "strategy": mag.Joint(30),
        **settings,
    }
    return mag.MagnitudeAutoencoder(**settings)


@pytest.mark.parametrize("shift", [1e6, 1e8])
def test_points_far_from_the_origin_keep_their_digits(shift):
    """They were rounded to float32 before they were centred."""
    near, far = quick().fit(points), quick().fit(points + shift)
    errors = [
        np.mean((m.inverse_transform(m.transform(x)) - x) ** 2)
        for m, x in ((near, points), (far, points + shift))
    ]
    assert errors[1] < 3 * errors[0] + 1e-3
    assert np.isfinite(far.embedding_weighting_).all()


def test_far_points_survive_saving(tmp_path):
    model = quick().fit(points + 1e7)
    model.save(tmp_path / "m.safetensors")
    loaded = mag.MagnitudeAutoencoder.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.transform(points + 1e7), model.transform(points + 1e7))


def test_a_loaded_model_does_not_lean_on_its_file(tmp_path):
    """Its tensors were views of the mapped file, and a file cut short later killed the process."""
    path = tmp_path / "m.safetensors"
    model = quick().fit(points)
    model.save(path)
    loaded = mag.MagnitudeAutoencoder.load(path)
    path.write_bytes(b"")
    np.testing.assert_array_equal(loaded.transform(points), model.transform(points))
    np.testing.assert_array_equal(loaded.embedding_, model.embedding_)


def test_a_tiny_rectangle_under_cityblock():
    """Its smallest eigenvalue is of second order in its size, so merging has to reach further."""
    corners = [*itertools.product([0, 1e-9], repeat=2), (1, 1)]
    with pytest.warns(RuntimeWarning, match="weighted as one point"):
        w = mag.weighting(np.array(corners, dtype=float), metric="cityblock")
    pair = mag.weighting([[0.0, 0.0], [1.0, 1.0]], metric="cityblock")
    np.testing.assert_allclose(
        [w[:4].sum(), w[4]], pair, rtol=1e-6
    )  # four corners are one point to nine digits


def test_a_change_in_place_before_backward_is_noticed():
    """The gradient was silently that of the changed points."""
    x = torch.rand(5, 2, dtype=torch.float64, requires_grad=True)
    y = x * 1
    w = mag.weighting(y)
    with torch.no_grad():
        y.mul_(3)
    with pytest.raises(RuntimeError, match="inplace"):
        w[0].backward()


def test_many_scales_do_not_hold_many_factors(monkeypatch):
    alive, most = set(), []

    class Counted(dense.DirectFactor):
        def __init__(self, *args):
            super().__init__(*args)
            alive.add(id(self))
            most.append(len(alive))

        def __del__(self):
            alive.discard(id(self))

    monkeypatch.setattr(dense, "DirectFactor", Counted)
    gc.collect()
    mag.weighting(points, np.geomspace(0.1, 10, 12))
    mag.magnitude(points, np.geomspace(0.1, 10, 12))
    assert max(most) <= 2


@pytest.mark.parametrize(
    "call",
    [
        lambda x: mag.similarity_matrix(x.requires_grad_()),
        lambda x: mag.distance_matrix(x),
        lambda x: mag.weighting(x, solver=mag.Cholesky()),
    ],
    ids=["similarity with gradient", "distances", "weighting"],
)
def test_every_dense_matrix_is_predicted(call):
    with pytest.raises(MemoryError, match="bytes"):
        call(torch.rand(10**6, 2))


def test_unconnected_spaces_have_a_scale_and_a_gradient():
    inf = float("inf")
    D = torch.tensor([[0, 1, inf], [1, 0, inf], [inf, inf, 0]], dtype=torch.float64)
    assert mag.choose_scale(D.numpy(), metric="precomputed", fraction=0.9) > 0
    with pytest.raises(
        ValueError, match="pass a scale"
    ):  # two unconnected parts are never fewer than two points
        mag.choose_scale(D.numpy(), metric="precomputed", fraction=0.05)
    t = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(mag.similarity_matrix(D, t, metric="precomputed").sum(), t)
    torch.testing.assert_close(gradient, -2 * torch.exp(-t.detach()))


def test_copies_are_found_beside_infinite_distances():
    inf = float("inf")
    D = torch.tensor([[0, inf, inf], [inf, 0, 0], [inf, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(
        mag.weighting(D, metric="precomputed", solver=mag.Cholesky()),
        torch.tensor([1, 0.5, 0.5], dtype=torch.float64),
    )


def test_a_fraction_below_the_limit_at_zero_is_refused():
    camps = np.ones((6, 6))
    camps[3:, 3:] = 2
    np.fill_diagonal(camps, 0)  # tends to 6/5 effective points, above 1.05
    with pytest.raises(ValueError, match="pass a scale"):
        mag.choose_scale(camps, fraction=0.01, metric="precomputed")


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "sgd"},
        {"schedule": "linear"},
        {"keep": "bset"},
        {"n_epochs": 0},
        {"n_epochs": -3},
        {"learning_rate": 0.0},
    ],
)
def test_a_plan_with_a_typo_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        strategies.Phase("joint", **{"n_epochs": 3, **wrong})


def test_failing_for_good_leaves_a_finite_network():
    """An enormous step used to be kept as "the last good network"."""
    cloud = Cloud(torch.tensor(points).float(), 1.0)
    state = training.Training(LinearAutoencoder(3), cloud, progress=False)
    plan = [strategies.Phase("wild", 60, learning_rate=1e36, schedule="constant", clip_norm=None)]
    with pytest.warns(RuntimeWarning, match="last good network"):
        training.train(state, plan)
    assert torch.isfinite(state.module.encode(state.points)).all()


def test_huge_latents_are_skipped_not_raised():
    wild = mag.Joint(60, learning_rate=1e7, optimizer="adam", clip_norm=None, schedule="constant")
    encoder = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = quick(strategy=wild, architecture=(encoder, nn.Linear(2, 3))).fit(points)
    assert np.isfinite(model.embedding_).all()


def test_muon_leaves_the_outer_layers_alone():
    """With 64 features the first and last layers are square, too."""
    module = LinearAutoencoder(64)
    optimizers = training.make_optimizers(module, strategies.Phase("joint", 1, optimizer="muon"))
    assert [sum(len(g["params"]) for g in o.param_groups) for o in optimizers][1] == 10


def test_a_strategy_of_ones_own_is_refused_before_the_file_is_written(tmp_path):
    class Mine:
        def phases(self, weighting_coefficient, **settings):
            return mag.Joint(2).phases(weighting_coefficient)

    model = quick(strategy=Mine()).fit(points)
    with pytest.raises(ValueError, match="own"):
        model.save(tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_dropout_is_repeatable_and_leaves_the_generator_alone():
    pair = (
        nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Dropout(0.3), nn.Linear(16, 2)),
        nn.Linear(2, 3),
    )
    before = torch.get_rng_state()
    one, two = (quick(architecture=pair).fit(points).embedding_ for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_numbers_written_as_text_are_text():
    with pytest.raises(ValueError, match="text"):
        arrays.as_tensor([["1", "2"], ["3", "4"]])


def test_solutions_can_be_compared():
    assert mag.solve(points) != mag.solve(points)  # by identity: arrays have no single truth value


def test_small_whole_numbers_of_numpy_do_not_overflow():
    "evaluate_held_out(n_neighbors=np.uint8(3)) raised OverflowError."
    points = np.random.default_rng(0).normal(size=(90, 3))
    model = mag.MagnitudeAutoencoder(
        scale=1.0,
        strategy=mag.BurnIn(np.uint8(200), joint=mag.Joint(np.uint8(200))),
        max_epochs=None,
        progress=False,
    )
    assert [type(phase.n_epochs) for phase in model.strategy.phases(1.0)] == [int, int]
    model = mag.MagnitudeAutoencoder(
        scale=1.0, strategy=mag.Joint(np.uint8(2)), random_state=0, progress=False
    ).fit(points[:60])
    held_out = mag.evaluate_held_out(model, points[:60], points[60:], n_neighbors=np.uint8(3))
    np.testing.assert_array_equal(
        held_out, mag.evaluate_held_out(model, points[:60], points[60:], n_neighbors=3)
    )
