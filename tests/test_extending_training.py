"""A strategy, a callback and a way to make batches, added from outside of the package."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import magnitude_ae as mag
from magnitude_ae.batches import BATCHES, Batch
from magnitude_ae.strategies import Phase

POINTS = np.random.default_rng(0).standard_normal((40, 3)) * [3, 2, 0.1]


def estimator(**settings):
    plain = {"scale": 1.0, "random_state": 0, "progress": False, "weighting_coefficient": 8.0}
    return mag.MagnitudeAutoencoder(**{**plain, **settings})


# ---- a strategy: a class with one method


@dataclass(frozen=True)
class Staircase:
    "λ rises in steps: a quarter, a half, all of it."

    n_epochs: int = 3  # on each step

    def phases(
        self, weighting_coefficient, *, learning_rate=None, max_epochs=None, batch_size=None
    ):
        if batch_size is not None:
            raise ValueError(f"batch_size is {batch_size}, but Staircase takes all points at once")
        return [
            Phase(
                f"step {share:g}",
                max_epochs or self.n_epochs,
                weighting_coefficient=share * weighting_coefficient,
                learning_rate=learning_rate or 1e-2,
            )
            for share in (0.25, 0.5, 1.0)
        ]


def test_a_strategy_from_outside():
    model = estimator(strategy=Staircase(), max_epochs=2).fit(POINTS)
    assert model.history_["phase"] == ["step 0.25"] * 2 + ["step 0.5"] * 2 + ["step 1"] * 2
    assert model.history_["weighting_coefficient"] == [2.0, 2.0, 4.0, 4.0, 8.0, 8.0]
    assert model.embedding_.shape == (40, 2)


def test_a_strategy_from_outside_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="batch_size is 9, but Staircase"):
        estimator(strategy=Staircase(), batch_size=9).fit(POINTS)


def test_a_strategy_from_outside_after_a_burn_in():
    plan = mag.BurnIn(1, 20, joint=Staircase(1))
    assert estimator(strategy=plan).fit(POINTS).history_["phase"] == [
        "burn-in",
        "step 0.25",
        "step 0.5",
        "step 1",
    ]


# ---- a callback: anything that can be called


@dataclass
class LightWeight:
    "Notes the weighting loss after every epoch; stops below a threshold."

    threshold: float
    finished: list = field(default_factory=list)
    last = True

    def __call__(self, training):
        loss = training.history["weighting_loss"][-1]
        training.notes.setdefault("seen", []).append(loss)
        return loss < self.threshold

    def finish(self, training):
        self.finished.append(training.epoch)


@pytest.mark.parametrize("number", [float, np.float64], ids=["Python", "NumPy"])
def test_a_callback_from_outside(number):
    "NumPy's comparisons answer with a True of their own, which stops as well."
    long = mag.Joint(100)
    losses = estimator(strategy=long).fit(POINTS).history_["weighting_loss"]
    threshold = number(0.5 * losses[0])
    callback = LightWeight(threshold)
    model = estimator(strategy=long, callbacks=[callback]).fit(POINTS)
    first = next(k for k, loss in enumerate(losses) if loss < threshold)
    assert len(model.history_["epoch"]) == first + 1 < 100
    assert model.notes_["seen"] == losses[: first + 1]
    assert callback.finished == [first + 1]


def test_a_callback_with_last_is_called_after_the_others():
    order = []

    class Late:
        last = True

        def __call__(self, training):
            order.append("late")

    def plain(training):
        order.append("plain")

    estimator(strategy=mag.Joint(2), callbacks=[Late(), plain]).fit(POINTS)
    assert order == ["plain", "late"] * 2


# ---- a way to make batches: a class with three methods, known by a name


class Halves:
    "Random halves of the points, weighed by themselves on both sides."

    representative = True

    def check(self, settings):
        if settings.batch_size is not None:
            raise ValueError(f"phase {settings.name!r}: halves have a size already")

    def parts(self, n_points, settings, latents, generator):
        return [torch.randperm(n_points, generator=generator)[: n_points // 2] for _ in range(3)]

    def batch(self, cloud, rows, settings, latents):
        some = cloud.rows(rows)
        return Batch(some, mag.weighting(some, cloud.scale, solver=cloud.solver))


@dataclass(frozen=True)
class OnHalves:
    "The total loss on random halves."

    n_epochs: int = 30

    def phases(self, weighting_coefficient, **settings):
        rate = settings["learning_rate"] or 1e-2
        return [
            Phase(
                "halves",
                self.n_epochs,
                batches="halves",
                weighting_coefficient=weighting_coefficient,
                learning_rate=rate,
            )
        ]


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setitem(BATCHES, "halves", Halves())


def test_batches_from_outside(halves):
    model, again = (estimator(strategy=OnHalves()).fit(POINTS) for _ in range(2))
    assert model.history_["phase"] == ["halves"] * 30
    assert np.mean(model.history_["weighting_loss"][-5:]) < model.history_["weighting_loss"][0]
    np.testing.assert_array_equal(model.embedding_, again.embedding_)


def test_batches_from_outside_refuse_for_themselves(halves):
    class Wrong:
        def phases(self, weighting_coefficient, **settings):
            return [Phase("halves", 1, batch_size=3, batches="halves")]

    with pytest.raises(ValueError, match="halves have a size already"):
        estimator(strategy=Wrong()).fit(POINTS)


def test_unknown_batches_are_refused():
    with pytest.raises(ValueError, match="batches 'halves' is not known; choose one of 'shuffled'"):
        Phase("mine", 1, batches="halves")
