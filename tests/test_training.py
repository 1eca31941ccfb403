"""The training loop: what it leaves untouched, what it survives, what it keeps."""

import copy
import json
import pickle
import random
import sys
import threading
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import magnitude_ae as mag
from magnitude_ae.architectures import Autoencoder, LinearAutoencoder, build, calibrate, mlp
from magnitude_ae.batches import Cloud
from magnitude_ae.losses import reconstruction_loss, weighting_loss
from magnitude_ae.random import draws_from
from magnitude_ae.strategies import Phase
from magnitude_ae.training import COLUMNS, Training, callbacks, train
from magnitude_ae.training.state import Generators, quiet

POINTS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
TARGET = mag.weighting(POINTS, 1.0)


def small(seed=0, batch_norm=True):
    with draws_from(torch.Generator().manual_seed(seed)):
        return LinearAutoencoder(3, 2, width=8, n_hidden=1, batch_norm=batch_norm).fit_units(POINTS)


def dropping(seed=0):
    "A network with dropout."
    module = small(seed)
    module.encoder = nn.Sequential(module.encoder, nn.Dropout(0.3))
    return module


def training(module=None, **kwargs):
    cloud = Cloud(POINTS, 1.0, input_weighting=TARGET)
    return Training(small() if module is None else module, cloud, **{"progress": False, **kwargs})


def joint(n_epochs=4, **kwargs):
    settings = {"weighting_coefficient": 1.0, "relative": False}
    return Phase("joint", n_epochs, **(settings | kwargs))


def burn_in(n_epochs=2, batch_size=10, **kwargs):
    return Phase("burn-in", n_epochs, batch_size, **kwargs)


class Constant(nn.Module):
    "An encoder that sends every point to one place, and can learn where."

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 2))

    def forward(self, points):
        return self.place.expand(len(points), 2)


class Sometimes(nn.Module):
    "A decoder or encoder that gives NaN in the given calls."

    def __init__(self, inner, bad):
        super().__init__()
        self.inner, self.bad, self.calls = inner, bad, 0

    def forward(self, points):
        self.calls += 1
        return self.inner(points) * (float("nan") if self.bad(self.calls) else 1.0)


# ---- history


def test_history_has_one_row_an_epoch():
    done = train(training(), [burn_in(2), joint(3)])
    assert tuple(done.history) == COLUMNS
    assert {len(column) for column in done.history.values()} == {5}
    assert done.history["phase"] == ["burn-in"] * 2 + ["joint"] * 3
    assert done.history["epoch"] == [0, 1, 2, 3, 4] and done.epoch == 5 and done.stopped is None
    assert (
        np.isnan(done.history["weighting_loss"][:2]).all()
        and np.isfinite(done.history["weighting_loss"][2:]).all()
    )
    assert done.history["n_skipped"] == [0] * 5 and min(done.history["seconds"]) > 0
    assert not done.module.training


def test_recorded_losses_are_those_of_the_definitions():
    module = small(batch_norm=False)
    before = copy.deepcopy(module)
    done = train(training(module), [joint(1, weighting_coefficient=3.0)])
    latent, reconstruction = before(POINTS)
    reconstructed = (reconstruction - POINTS).square().mean()
    weighted = (mag.weighting(latent, 1.0) - TARGET).abs().mean()
    row = {name: column[0] for name, column in done.history.items()}
    assert row["reconstruction_loss"] == pytest.approx(reconstructed.item(), rel=1e-6)
    assert row["weighting_loss"] == pytest.approx(weighted.item(), rel=1e-5)
    assert row["total_loss"] == pytest.approx((reconstructed + 3 * weighted).item(), rel=1e-5)
    assert row["weighting_coefficient"] == 3.0


def test_losses():
    a, b = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 1.0])
    assert weighting_loss(a, b).item() == pytest.approx(5 / 3) and weighting_loss(
        a, b, "l2"
    ).item() == pytest.approx(13 / 3)
    assert reconstruction_loss(a[:, None], b[:, None]).item() == pytest.approx(13 / 3)
    with pytest.raises(ValueError, match="'l1', 'l2'"):
        weighting_loss(a, b, "l3")


def test_losses_fall():
    done = train(training(), [joint(150)])
    total = done.history["total_loss"]
    assert np.mean(total[-5:]) < 0.5 * np.mean(total[:5])


def test_coefficient_and_rate_follow_the_phase():
    done = train(
        training(), [joint(20, weighting_coefficient=2.0, learning_rate=1e-3, schedule="cosine")]
    )
    rate = done.history["learning_rate"]
    assert done.history["weighting_coefficient"] == [2.0] * 20
    assert max(rate) <= 1e-3 and rate[-1] < 1e-8 and np.argmax(rate) <= 2
    constant = train(training(), [joint(3, schedule="constant", learning_rate=1e-3)])
    assert constant.history["learning_rate"] == [1e-3] * 3


# ---- determinism


def states(module):
    return [value.clone() for value in module.state_dict().values()]


def assert_same_bits(found, wanted):
    assert all(torch.equal(a, b) for a, b in zip(states(found), states(wanted), strict=True))


CELLS = Phase("cells", 3, 15, "cells", 10, weighting_coefficient=1.0)
PLANS = {
    "joint": [burn_in(3), joint(3, optimizer="muon")],
    "cells": [burn_in(2), CELLS, joint(2)],
}


def trained(plan, seed=0, make=small, **kwargs):
    return train(training(make(seed), seed=seed, **kwargs), PLANS[plan])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("make", [small, dropping])
def test_same_seed_same_network(plan, make):
    a, b, c = (train(training(make(), seed=seed), PLANS[plan]).module for seed in (1, 1, 2))
    assert_same_bits(a, b)
    pairs = zip(states(a), states(c), strict=True)
    assert not all(torch.equal(x, y) for x, y in pairs), "the seed shuffles and drops"


def global_generators():
    "The states of everything global that draws."
    return torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


def assert_untouched(before):
    after = global_generators()
    assert torch.equal(before[0], after[0])
    assert (before[1] == after[1]).all() and before[2] == after[2]


@pytest.mark.parametrize("make", [small, dropping])
def test_global_generators_are_left_alone(make, tmp_path):
    before = global_generators()
    watchers = [mag.Snapshots(1), mag.Checkpoint(tmp_path / "c", 1), lambda state: state.network()]
    trained("cells", make=make, callbacks=watchers)
    assert_untouched(before)


def test_the_estimator_leaves_global_generators_alone():
    before = global_generators()
    short = {"max_epochs": 2, "strategy": mag.BurnIn(2), "progress": False, "scale": 1.0}
    mag.MagnitudeAutoencoder(random_state=3, **short).fit(POINTS)
    mag.MagnitudeAutoencoder(**short).fit(POINTS)
    assert_untouched(before)


@pytest.mark.parametrize("make", [small, dropping])
def test_global_generators_are_not_read(make):
    "Another global seed, the same network."
    torch.manual_seed(1)
    one = trained("cells", make=make)
    torch.manual_seed(2)
    assert_same_bits(one.module, trained("cells", make=make).module)


@contextmanager
def somebody_who_draws():
    "A thread that draws from the global generator all the while; its draws are handed out."
    done, drawn = threading.Event(), []

    def draw():
        while not done.is_set():
            drawn.append(torch.rand(7))

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield drawn
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("make", [small, dropping])
def test_four_trainings_in_four_threads_are_those_one_after_another(make):
    "To the bit; and what another thread draws from the global generator meanwhile is its own."
    alone = [trained("cells", seed, make).module for seed in range(4)]
    torch.manual_seed(0)
    with somebody_who_draws() as drawn, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: trained("cells", seed, make).module, range(4)))
    for found, wanted in zip(together, alone, strict=True):
        assert_same_bits(found, wanted)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    assert drawn and all(torch.equal(torch.rand(7), values) for values in drawn)
    assert torch.equal(torch.get_rng_state(), after)


def test_warning_filters_are_put_back_by_the_last_of_several_threads():
    before = list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def late():
        with quiet:
            inside.set()
            leave.wait()

    thread = threading.Thread(target=late)
    with quiet:
        thread.start()
        inside.wait()
    assert warnings.filters != before, "somebody is still within"
    leave.set()
    thread.join()
    assert warnings.filters == before


def test_watching_draws_what_comes_next_and_moves_nothing():
    generators = Generators(5, torch.device("cpu"))
    with generators.watching():
        watched = torch.rand(3), torch.rand(3)
    with generators.drawing():
        drawn = torch.rand(3), torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(watched, drawn, strict=True))
    state = generators.state_dict()
    with generators.drawing():
        third = torch.rand(3)
    other = Generators(6, torch.device("cpu"))
    other.load_state_dict(state)
    with other.drawing():
        assert torch.equal(torch.rand(3), third)
    with pytest.raises(ValueError, match="another kind of device"):
        other.load_state_dict({**state, "layers": state["layers"] * 2})


@contextmanager
def default_dtype_float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


AMBIENT = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": default_dtype_float64,
    "meta device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("mode", AMBIENT)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("make", [small, dropping])
def test_nothing_ambient_changes_a_training(mode, plan, make):
    plain = trained(plan, make=make)
    state = training(make())
    with AMBIENT[mode]():
        done = train(state, PLANS[plan])
    assert_same_bits(done.module, plain.module)
    assert done.history["total_loss"] == plain.history["total_loss"]


def test_global_settings_are_left_alone():
    def settings():
        return (
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            np.geterr(),
            list(warnings.filters),
        )

    before = settings()
    train(training(), [joint()])
    assert before == settings()


def test_the_weighting_of_all_points_is_found_when_a_phase_asks_for_it():
    state = Training(small(), Cloud(POINTS, 1.0), progress=False)
    train(state, [burn_in(1)])
    assert state.cloud.known_weighting is None
    train(state, [burn_in(1), joint(1)])
    torch.testing.assert_close(state.cloud.known_weighting, TARGET)


# ---- batches


@pytest.mark.parametrize(
    "batch_size, n_batches", [(10, 4), (40, 1), (41, 1), (10_000, 1), (None, 1), (15, 2), (1, 40)]
)
def test_batches_are_clipped_to_the_data(batch_size, n_batches):
    seen = []

    class Watcher(nn.Module):
        def forward(self, points):
            seen.append(points.clone())
            return points

    module = Autoencoder(nn.Sequential(Watcher(), nn.Linear(3, 2)), nn.Linear(2, 3))
    train(training(module), [burn_in(1, batch_size)])
    assert len(seen) == n_batches
    together = torch.cat(seen)
    assert together.shape == POINTS.shape, "each point once an epoch"
    assert torch.equal(together.sort(0).values, POINTS.sort(0).values)
    sizes = [len(part) for part in seen]
    assert max(sizes) - min(sizes) <= 1, (
        "no tiny last batch, which batch normalisation could not use"
    )


# ---- stopping


def test_interrupt_keeps_the_result():
    def press(state):
        if state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="epoch 3.*interrupted.*kept"):
        done = train(training(callbacks=[press]), [joint(50)])
    assert (
        done.stopped == "interrupted"
        and len(done.history["epoch"]) == 3
        and not done.module.training
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mag.MagnitudeAutoencoder(
            strategy=mag.Joint(50), progress=False, scale=1.0, callbacks=[press]
        ).fit(POINTS)
    assert len(model.history_["epoch"]) == 3
    assert torch.isfinite(model.transform(POINTS)).all()


def test_interrupt_between_two_callbacks_of_an_epoch_leaves_equal_columns():
    class Stop(nn.Module):
        calls = 0

        def forward(self, points):
            Stop.calls += 1
            if Stop.calls == 7:
                raise KeyboardInterrupt
            return points

    module = Autoencoder(nn.Sequential(Stop(), nn.Linear(3, 2)), nn.Linear(2, 3))
    with pytest.warns(RuntimeWarning, match="interrupted"):
        done = train(training(module), [burn_in(20, 10)])
    assert {len(column) for column in done.history.values()} == {
        1
    }  # four batches an epoch: the second was cut short


def test_callbacks_see_and_stop():
    epochs = []

    def watch(state):
        epochs.append((state.epoch, len(state.history["total_loss"])))

    def enough(state):
        return state.epoch == 5

    done = train(training(callbacks=[watch, enough]), [joint(100)])
    assert epochs == [(k, k) for k in range(1, 6)] and done.stopped == "callback"


def test_a_callback_that_returns_something_true_does_not_stop():
    assert train(training(callbacks=[lambda state: 1]), [joint(3)]).epoch == 3


def test_stop_in_an_early_phase_ends_all_phases():
    done = train(training(callbacks=[lambda state: state.epoch == 1]), [burn_in(5), joint(5)])
    assert done.history["phase"] == ["burn-in"]


def test_an_error_in_a_callback_is_not_swallowed():
    def broken(state):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        train(training(callbacks=[broken]), [joint(3)])


def test_the_first_reason_to_stop_counts():
    def three(state):
        if state.epoch == 3:
            state.stop("three")
            return True

    assert train(training(callbacks=[three]), [joint(9)]).stopped == "three"


# ---- the callbacks that come with the library


def test_early_stopping_counts_epochs_of_the_last_phase():
    "Rising losses in the burn-in are no reason to stop, and neither is the jump that follows it."

    def rising(state):
        if state.history["phase"][-1] == "burn-in":
            state.history["total_loss"][-1] = float(state.epoch)
        else:
            state.history["total_loss"][-1] = 100.0 + abs(state.epoch - 12)

    done = train(
        training(callbacks=[rising, mag.EarlyStopping(patience=4)]), [burn_in(10), joint(50)]
    )
    assert done.epoch == 12 + 4 and done.stopped == "callback"


@pytest.mark.parametrize(
    "losses, patience, min_change, stops",
    [
        ([3, 2, 1, 1], 1, 0, 4),
        ([3, 2, 1, 1], 2, 0, None),
        ([3, 2, 1, 2, 2, 0.5, 1, 1], 3, 0, None),
        ([3, 2, 1, 2, 2, 2], 3, 0, 6),
        ([3, 2.9, 2.8, 2.7], 1, 0.5, 2),
        ([3, 2.9, 2.8, 2.4, 2.3, 2.2], 3, 0.5, None),
        ([3, 2.9, 2.8, 2.4, 2.3, 2.2], 3, 0.7, 4),
        ([float("nan")] * 3, 2, 0, 3),
        ([2, float("nan"), 1], 2, 0, None),
    ],
)
def test_patience(losses, patience, min_change, stops):
    def given(state):
        state.history["total_loss"][-1] = float(losses[state.epoch - 1])

    done = train(
        training(callbacks=[given, mag.EarlyStopping(patience, min_change=min_change)]),
        [joint(len(losses))],
    )
    assert (done.epoch if done.stopped else None) == stops


def test_early_stopping_in_rounds():
    "In a plan of rounds, the epochs of one kind are compared across the rounds."
    phases = [burn_in(1), joint(1, weighting_coefficient=5.0)] * 20
    done = train(
        training(callbacks=[mag.EarlyStopping(3, "weighting_loss", min_change=100.0)]), phases
    )
    assert done.epoch == 8 and done.history["phase"].count("joint") == 4


def test_the_best_state_comes_back():
    seen = {}

    def measure(state):
        seen[state.epoch] = states(state.network())
        return abs(state.epoch - 6)

    done = train(training(callbacks=[mag.BestState(measure, every=2)]), [burn_in(3), joint(7)])
    assert list(seen) == [2, 4, 6, 8, 10] and done.notes["best"] == {"value": 0.0, "epoch": 6}
    for found, wanted in zip(states(done.module), seen[6], strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_the_best_state_of_another_kind_of_phase():
    "Statistics are frozen on cells, and not in the burn-in before: the network is whole anyway."

    def measure(state):
        return abs(state.epoch - 2)

    done = train(training(callbacks=[mag.BestState(measure)]), [burn_in(3), CELLS])
    other = train(training(), [burn_in(2)])
    assert done.notes["best"]["epoch"] == 2
    pairs = zip(done.module.parameters(), other.module.parameters(), strict=True)
    different = [not torch.equal(a, b) for a, b in pairs]
    assert any(different), "the learning rate of a longer phase is another"
    torch.testing.assert_close(
        done.module.encode(POINTS),
        copy.deepcopy(done.module).train().encode(POINTS),
        rtol=1e-4,
        atol=1e-5,
    )


def test_nan_is_never_the_best():
    done = train(training(callbacks=[mag.BestState(lambda state: float("nan"))]), [joint(3)])
    after = train(training(), [joint(3)])
    assert "best" not in done.notes
    assert_same_bits(done.module, after.module)


def test_snapshots_are_of_finished_networks():
    done = train(training(callbacks=[mag.Snapshots(every=3)]), [burn_in(4), joint(5)])
    assert list(done.notes["snapshots"]) == [3, 6, 9]
    torch.testing.assert_close(
        done.notes["snapshots"][9], done.module.encode(POINTS).detach(), rtol=0, atol=0
    )


def test_watching_changes_nothing(tmp_path):
    watchers = [
        mag.Snapshots(1),
        mag.LogFile(tmp_path / "log.csv"),
        mag.Checkpoint(tmp_path / "c", 1),
        mag.EarlyStopping(99),
        lambda state: state.network(),
    ]
    watched, alone = (
        trained("cells", make=dropping, callbacks=callbacks) for callbacks in (watchers, [])
    )
    assert_same_bits(watched.module, alone.module)
    np.testing.assert_array_equal(watched.history["total_loss"], alone.history["total_loss"])


def test_log_files(tmp_path):
    logs = [mag.LogFile(tmp_path / name) for name in ("log.csv", "log.jsonl")]
    logs[0].path.write_text("an older log\n")
    done = train(training(callbacks=logs), [burn_in(2), joint(2)])
    frame = pd.read_csv(logs[0].path)
    lines = [json.loads(line) for line in logs[1].path.read_text().splitlines()]
    for name, column in done.history.items():
        assert (
            frame[name].tolist() == pytest.approx(column, rel=0, abs=0, nan_ok=True)
            if name != "phase"
            else frame[name].tolist() == column
        )
        assert [line[name] for line in lines] == [
            None if value != value else value for value in column
        ]


def test_a_log_is_there_while_training_runs(tmp_path):
    path, n_lines = tmp_path / "log.jsonl", []
    train(
        training(
            callbacks=[
                mag.LogFile(path),
                lambda state: n_lines.append(len(path.read_text().splitlines())),
            ]
        ),
        [joint(4)],
    )
    assert n_lines == [1, 2, 3, 4]


class Writer:
    "Stands in for TensorBoard's writer."

    made = []

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, {}, False
        Writer.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars[name, step] = value

    def close(self):
        self.closed = True


@pytest.fixture
def tensorboard(monkeypatch):
    monkeypatch.setattr(callbacks, "find_spec", lambda name: name)
    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer)
    )
    Writer.made = []
    return Writer.made


def test_tensorboard(tensorboard, tmp_path):
    callback = mag.TensorBoard(tmp_path)
    done = train(training(callbacks=[callback]), [burn_in(2), joint(2)])
    (writer,) = tensorboard
    assert writer.closed and writer.folder == str(tmp_path) and writer.purge_step == 1
    assert [writer.scalars["total_loss", step] for step in (1, 2, 3, 4)] == done.history[
        "total_loss"
    ]
    assert ("weighting_loss", 3) in writer.scalars and (
        "weighting_loss",
        2,
    ) not in writer.scalars, "what is not a number is not sent"
    assert pickle.loads(pickle.dumps(callback)) == callback, (
        "the open file does not stay in the callback"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_tensorboard_is_closed_however_training_ends(tensorboard, tmp_path, error):
    def trouble(state):
        if state.epoch == 2:
            raise error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(ZeroDivisionError):
            train(training(callbacks=[mag.TensorBoard(tmp_path), trouble]), [joint(5)])
    assert tensorboard[0].closed and len({step for _, step in tensorboard[0].scalars}) == 2


def test_the_real_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = train(training(callbacks=[mag.TensorBoard(tmp_path)]), [joint(3)])
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("total_loss")
    assert [event.step for event in events] == [1, 2, 3] and [
        event.value for event in events
    ] == pytest.approx(done.history["total_loss"], rel=1e-6)


def test_without_tensorboard(monkeypatch, tmp_path):
    monkeypatch.setattr(callbacks, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorboard, or use LogFile"):
        mag.TensorBoard(tmp_path)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda p: mag.EarlyStopping(0), ValueError, "patience must be at least 1"),
        (lambda p: mag.EarlyStopping(2.5), TypeError, "patience must be a whole"),
        (
            lambda p: mag.EarlyStopping(column="loss"),
            ValueError,
            "column 'loss' is not known.*total_loss",
        ),
        (lambda p: mag.EarlyStopping(column="phase"), ValueError, "column 'phase'"),
        (lambda p: mag.EarlyStopping(min_change=-1), ValueError, "min_change"),
        (lambda p: mag.BestState(len, every=0), ValueError, "every must be at least 1"),
        (lambda p: mag.Snapshots("often"), TypeError, "every must be a whole"),
        (
            lambda p: mag.LogFile(p / "log.txt"),
            ValueError,
            r"path .*log.txt' must end in .csv or .jsonl",
        ),
        (lambda p: mag.LogFile(p / "no" / "log.csv"), FileNotFoundError, "no folder.*log.csv"),
    ],
    ids=lambda part: "" if callable(part) else str(part),
)
def test_callbacks_refuse_at_once(make, error, message, tmp_path):
    with pytest.raises(error, match=message):
        make(tmp_path)


def test_callbacks_hold_their_settings_only(tmp_path):
    for callback in (
        mag.EarlyStopping(7),
        mag.BestState(len),
        mag.Snapshots(2),
        mag.LogFile(tmp_path / "a.csv"),
        mag.Checkpoint(tmp_path / "c"),
    ):
        before = repr(callback)
        train(
            training(
                callbacks=[callback]
                if not isinstance(callback, mag.BestState)
                else [mag.BestState(lambda state: state.epoch)]
            ),
            [joint(3)],
        )
        assert (
            repr(callback) == before
            and copy.deepcopy(callback) == callback
            and pickle.loads(pickle.dumps(callback)) == callback
        )


# ---- singular latents and overflow


def test_a_latent_that_has_collapsed_does_not_stop_training():
    module = Autoencoder(Constant(), nn.Linear(2, 3))
    done = train(training(module), [joint(25, schedule="constant")])
    assert done.epoch == 25 and done.stopped is None and sum(done.history["n_skipped"]) == 0
    # each of the 40 copies weighs 1/40, and no gradient can part them
    assert done.history["weighting_loss"] == pytest.approx(
        [(1 / 40 - TARGET).abs().mean().item()] * 25, rel=1e-5
    )
    assert done.history["reconstruction_loss"][-1] < done.history["reconstruction_loss"][0]


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-12, 1e-20, 1e-30, 1e-42])
def test_a_latent_that_has_almost_collapsed(size):
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, points):
            return self.layer(points) * size

    with draws_from(torch.Generator().manual_seed(0)):
        module = Autoencoder(Tiny(), nn.Linear(2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about merged points
        done = train(training(module), [joint(5)])
    assert done.epoch == 5 and all(
        torch.isfinite(value).all() for value in module.state_dict().values()
    )
    if size > 1e-15:  # below, the gradient (of the order of 1/size) may overflow float32
        assert sum(done.history["n_skipped"]) == 0
        assert np.isfinite(done.history["gradient_norm"]).all()


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("coefficient", [0.0, 1.0])
def test_steps_that_give_nan_are_skipped(part, coefficient):
    module = small()
    setattr(module, part, Sometimes(getattr(module, part), lambda call: call in (3, 4)))
    done = train(training(module), [joint(8, weighting_coefficient=coefficient)])
    assert done.epoch == 8 and done.history["n_skipped"] == [0, 0, 1, 1, 0, 0, 0, 0]
    assert (
        np.isnan(done.history["total_loss"][2])
        and np.isfinite(done.history["total_loss"][4:]).all()
    )
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("coefficient", [0.0, 1.0])
def test_nan_without_end_stops_with_the_last_good_network(part, coefficient):
    # Good are the parameters that last gave finite losses, those of the fifth forward pass.
    module, kept = small(), {}
    setattr(module, part, Sometimes(getattr(module, part), lambda call: call > 5))

    def keep(state):
        if state.epoch == 4:
            kept.update({k: v.clone() for k, v in state.module.named_parameters()})

    with pytest.warns(RuntimeWarning, match="20 steps in a row.*last good network is kept"):
        done = train(
            training(module, callbacks=[keep]), [joint(100, weighting_coefficient=coefficient)]
        )
    assert done.stopped == "failed" and done.epoch == 25
    assert all(torch.equal(kept[k].detach(), v.detach()) for k, v in module.named_parameters())


def test_nan_gradients_are_skipped():
    class Blind(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("nan")

    class Layer(nn.Module):
        def forward(self, points):
            return Blind.apply(points)

    module = small()
    module.encoder = nn.Sequential(module.encoder, Layer())
    before = {k: v.clone() for k, v in module.named_parameters()}
    with pytest.warns(RuntimeWarning, match="20 steps in a row"):
        train(training(module), [joint(30)])
    assert all(torch.equal(before[k].detach(), v.detach()) for k, v in module.named_parameters())


def test_a_network_that_fails_ends_in_words_not_in_lapack():
    encoder, decoder = Sometimes(nn.Linear(3, 2), lambda call: call > 3), nn.Linear(2, 3)
    model = mag.MagnitudeAutoencoder(
        architecture=(encoder, decoder), strategy=mag.Joint(40), scale=1.0, progress=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            model.fit(POINTS)
        except ValueError as error:
            assert "latent" in str(error) or "network" in str(error), "the points are not to blame"


# ---- the best epoch


def test_keep_best_restores_the_epoch_with_the_lowest_loss():
    module = small(batch_norm=False)
    done = train(
        training(module),
        [joint(60, schedule="constant", learning_rate=0.5, clip_norm=None, keep="best")],
    )
    total = done.history["total_loss"]
    assert done.best_epoch == int(np.argmin(total)) and done.progress.best_loss == pytest.approx(
        min(total), rel=1e-6
    )
    assert min(total) < total[-1], (
        "the learning rate is so high that the last epoch is not the best"
    )
    latent, reconstruction = module(POINTS)
    again = reconstruction_loss(reconstruction, POINTS) + weighting_loss(
        mag.weighting(latent, 1.0), TARGET
    )
    assert again.item() == pytest.approx(min(total), rel=1e-4)


def test_keep_best_compares_only_epochs_of_its_own_phase():
    "The burn-in's loss leaves out the weighting: it is lower, and says nothing about the rest."
    done = train(
        training(small(batch_norm=False)),
        [burn_in(3, None, keep="best"), joint(10, weighting_coefficient=50.0, keep="best")],
    )
    assert done.best_epoch >= 3


def test_keep_last_keeps_the_last():
    done = train(training(small(batch_norm=False)), [burn_in(3, None, keep="best"), joint(10)])
    after = train(training(small(batch_norm=False)), [burn_in(3, None), joint(10)])
    assert_same_bits(done.module, after.module)


# ---- evaluation mode


def test_after_training_evaluation_equals_a_full_batch_in_training_mode():
    module = train(training(), [burn_in(2), joint(3)]).module
    evaluated = module(POINTS)[0]
    module.train()
    torch.testing.assert_close(evaluated, module(POINTS)[0], rtol=1e-4, atol=1e-5)


def test_calibrate_leaves_mode_and_momentum():
    module = small().eval()
    calibrate(module, POINTS)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d)]
    assert norms and not module.training and all(layer.momentum == 0.1 for layer in norms)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_units_cancel(scale):
    "The same network on points in other units, moved elsewhere."
    a, b = small().eval(), small().eval()
    b.fit_units(POINTS * scale + 5 * scale)
    torch.testing.assert_close(
        b.encode(POINTS * scale + 5 * scale), a.encode(POINTS) * scale, rtol=1e-3, atol=1e-4 * scale
    )
    torch.testing.assert_close(
        b.decode(a.encode(POINTS) * scale),
        a.decode(a.encode(POINTS)) * scale + 5 * scale,
        rtol=1e-3,
        atol=1e-4 * scale,
    )


def test_constant_data_has_a_unit():
    module = LinearAutoencoder(3, 2).fit_units(torch.ones(5, 3))
    assert module.unit == 1 and torch.isfinite(module.eval()(torch.ones(5, 3))[0]).all()


@pytest.mark.parametrize("batch_norm", [True, False])
def test_mlp(batch_norm):
    net = mlp((3, 7, 5, 2), nn.ReLU, batch_norm)
    assert net(torch.zeros(4, 3)).shape == (4, 2)
    assert (
        sum(isinstance(m, nn.Linear) for m in net) == 3
        and sum(isinstance(m, nn.ReLU) for m in net) == 2
    )
    assert sum(isinstance(m, nn.BatchNorm1d) for m in net) == 2 * batch_norm and isinstance(
        net[-1], nn.Linear
    )


def test_the_decoder_mirrors_the_encoder():
    def widths(net):
        return [(m.in_features, m.out_features) for m in net if isinstance(m, nn.Linear)]

    module = build("linear", 10, 3)
    assert widths(module.encoder) == [(b, a) for a, b in reversed(widths(module.decoder))]
    assert widths(module.encoder)[0][0] == 10 and widths(module.encoder)[-1][1] == 3
