"""From settings to a trained network: units, far rows, held-out points, the report's method."""

import warnings

import numpy as np
import pytest
import torch

import magnitude_ae as mag
from magnitude_ae import autoencoder
from magnitude_ae.architectures import build
from magnitude_ae.fitting import far_rows
from magnitude_ae.losses import reconstruction_loss, weighting_loss
from magnitude_ae.training import loop

POINTS = np.random.default_rng(0).normal(size=(120, 3))
QUICK = {"max_epochs": 4, "random_state": 0, "progress": False}


def fit(points=POINTS, **settings):
    return mag.MagnitudeAutoencoder(**(QUICK | settings)).fit(points)


# ---- units


@pytest.mark.parametrize("power", [-30, -21, 11, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_power_of_two_changes_no_digit(power, dtype):
    factor = dtype(2.0**power)
    points = POINTS.astype(dtype)
    plain = fit(points)
    other = fit(factor * points)
    assert other.scale_ * float(factor) == plain.scale_
    np.testing.assert_array_equal(other.embedding_, factor * plain.embedding_)
    assert other.history_["weighting_loss"] == plain.history_["weighting_loss"]


@pytest.mark.parametrize("factor", [1e-9, 1e-3, 1e3, 1e9])
def test_the_losses_of_a_fit_do_not_depend_on_the_unit(factor):
    """Other factors change last digits, so only the first epoch is the same."""
    plain = fit(max_epochs=1, scale=1.0)
    other = fit(factor * POINTS, max_epochs=1, scale=1.0 / factor)
    for column, power in (("weighting_loss", 0), ("reconstruction_loss", 2)):
        found = other.history_[column][0] / factor**power
        assert found == pytest.approx(plain.history_[column][0], rel=1e-2)


def test_lambda_is_relative_to_the_unit_squared():
    model = fit(7 * POINTS, scale=0.1, strategy=mag.Joint(3), weighting_coefficient=2.0)
    unit = np.sqrt(((7 * POINTS - (7 * POINTS).mean(0)) ** 2).mean())
    history = model.history_
    for k in range(3):
        total = history["reconstruction_loss"][k] + 2.0 * unit**2 * history["weighting_loss"][k]
        assert history["total_loss"][k] == pytest.approx(total, rel=1e-5)
    absolute = fit(
        7 * POINTS,
        scale=0.1,
        strategy=mag.Joint(3, relative=False),
        weighting_coefficient=2.0 * unit**2,
    )
    assert absolute.history_["total_loss"] == pytest.approx(history["total_loss"], rel=1e-4)


# ---- far rows


@pytest.mark.parametrize("distance", [1e4, 1e6, 1e9])
def test_a_far_row_is_left_out_and_said_so(distance):
    points = np.concatenate([POINTS, [[distance, 0, 0]]])
    with pytest.warns(UserWarning, match=r"1 row\(s\) more than 30 times.*first at 120"):
        model = fit(points, scale=1.0)
    assert model.embedding_.shape == (121, 2)
    np.testing.assert_array_equal(model.embedding_[:120], fit(scale=1.0).embedding_)


def test_friendly_clouds_have_no_far_rows():
    rng = np.random.default_rng(0)
    clouds = {
        "normal": rng.normal(size=(500, 3)),
        "Cauchy": rng.standard_cauchy(size=(2000, 2)),  # that is how they are
        "one place": np.zeros((50, 2)),
        "mostly one place": np.concatenate([np.zeros((60, 2)), rng.normal(size=(40, 2))]),
    }
    for name, points in clouds.items():
        assert not far_rows(torch.from_numpy(points)).any(), name


# ---- held-out points


def test_held_out_points_are_judged_and_the_best_network_is_kept():
    model = fit(validation_fraction=0.25, max_epochs=30, scale=1.0)
    total = np.array(model.history_["validation_total_loss"])
    assert np.isfinite(total).all()
    assert model.notes_["best"]["epoch"] == np.argmin(total) + 1
    assert model.notes_["best"]["value"] == total.min()
    assert len(model.embedding_) == len(POINTS)


def test_early_stopping_may_watch_held_out_points():
    stop = mag.EarlyStopping(patience=3, column="validation_total_loss")
    model = fit(validation_fraction=0.25, max_epochs=200, scale=1.0, callbacks=[stop])
    assert len(model.history_["epoch"]) < 200


def test_without_held_out_points_their_columns_are_empty():
    assert np.isnan(fit().history_["validation_rho"]).all()


def test_held_out_points_are_not_trained_on():
    seen = []

    def look(training):
        seen.append(len(training.cloud))

    fit(validation_fraction=0.25, callbacks=[look])
    assert set(seen) == {90}


def test_too_few_points_to_hold_out():
    with pytest.raises(ValueError, match="validation_fraction=0.1 of 10 points holds out 1"):
        fit(POINTS[:10], validation_fraction=0.1)


# ---- weightings when asked for


def test_weightings_are_computed_when_asked_for(monkeypatch):
    calls = []

    def counted(points, scale, **settings):
        calls.append(len(points))
        return mag.weighting(points, scale, **settings)

    monkeypatch.setattr(autoencoder, "weighting", counted)
    model = fit(scale=1.0)
    assert calls == []
    first = model.weighting_
    assert calls == [120]
    np.testing.assert_array_equal(model.weighting_, first)
    assert calls == [120]
    np.testing.assert_allclose(first, mag.weighting(POINTS, 1.0))


def test_they_are_those_of_the_points_as_they_were():
    points = POINTS.copy()
    model = fit(points, scale=1.0)
    points *= 3
    np.testing.assert_allclose(model.weighting_, mag.weighting(POINTS, 1.0))


# ---- large data


def test_points_from_a_file_mapped_into_memory(tmp_path):
    path = tmp_path / "points.npy"
    np.save(path, POINTS.astype(np.float32))
    mapped = np.load(path, mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit(mapped, scale=1.0)
    np.testing.assert_array_equal(
        model.embedding_, fit(POINTS.astype(np.float32), scale=1.0).embedding_
    )


def test_subsets_weigh_no_more_points_than_a_subset(monkeypatch):
    sizes = []
    original = loop.weighting

    def counted(points, scale, **settings):
        sizes.append(len(points))
        return original(points, scale, **settings)

    monkeypatch.setattr(loop, "weighting", counted)
    points = np.random.default_rng(1).normal(size=(3000, 2))
    model = fit(points, strategy=mag.Subsets(1, batch_size=100))
    assert max(sizes) <= 101
    assert model._known_weights == {"weighting_": None, "embedding_weighting_": None}


# ---- the report's method


def test_the_report_minimises_what_the_report_says():
    """L_recons + λ·mean|w_X − w_h| on all points, in the data's units, by Adam."""
    points = 5 * POINTS
    losses = []

    def look(training):
        if training.epoch > 1:
            return
        losses.append(training.history["total_loss"][0])

    model = mag.MagnitudeAutoencoder.report(
        "shapes", max_epochs=1, random_state=0, progress=False, callbacks=[look]
    )
    model.fit(points)
    x = torch.from_numpy(points).float()
    network = build("linear", 3, 2, seed=model.seed_).fit_units(x).train()
    latent, reconstruction = network(x)
    wanted = reconstruction_loss(reconstruction, x) + 10.0 * weighting_loss(
        mag.weighting(latent, 1.0), mag.weighting(x, 1.0)
    )
    assert losses[0] == pytest.approx(wanted.item(), rel=1e-4)
    (phase,) = model.strategy.phases(10.0)
    assert (phase.optimizer, phase.schedule, phase.learning_rate) == ("adam", "constant", 1e-2)
    assert (phase.batch_size, phase.relative, phase.smoothing) == (None, False, 0.0)


def test_the_report_on_digits_burns_in():
    model = mag.MagnitudeAutoencoder.report("mnist")
    burn_in, joint = model.strategy.phases(model.weighting_coefficient)
    assert (burn_in.n_epochs, burn_in.batch_size, burn_in.weighting_coefficient) == (5, 100, 0.0)
    assert (joint.batch_size, joint.relative, joint.weighting_coefficient) == (None, False, 5.0)
    assert (model.scale, model.architecture) == (0.6, "convolutional")


def test_the_report_knows_two_tasks():
    with pytest.raises(ValueError, match="choose one of 'shapes', 'mnist'"):
        mag.MagnitudeAutoencoder.report("cubes")


# ---- architectures by width


def test_the_architecture_follows_the_width():
    narrow = fit(POINTS)
    wide = fit(np.random.default_rng(0).normal(size=(40, 120)), max_epochs=1)
    assert type(narrow.module_).__name__ == "LinearAutoencoder"
    assert type(wide.module_).__name__ == "DeepAutoencoder"
