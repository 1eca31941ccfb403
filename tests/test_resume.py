"""Stop and resume: whatever ends a training, it goes on from its file to the same bits."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import magnitude_ae as mag
from magnitude_ae.random import draws_from
from magnitude_ae.training import loop, read_checkpoint, read_file, write_file

POINTS = np.random.default_rng(0).standard_normal((40, 3)) * [3, 2, 0.1]
IMAGES = np.random.default_rng(0).random((12, 17 * 17))
ROOT = Path(__file__).parents[1]
OLD = Path(__file__).parent / "data" / "checkpoint_format_1.safetensors"


def dropout():
    encoder = torch.nn.Sequential(
        torch.nn.Linear(3, 8),
        torch.nn.SiLU(),
        torch.nn.Dropout(0.3),
        torch.nn.BatchNorm1d(8),
        torch.nn.Linear(8, 2),
    )
    return encoder, torch.nn.Linear(2, 3)


def jumpy(state):
    "A measure that is best at epoch 4 and never again."
    return abs(state.epoch - 4)


SETTINGS = {
    "default": {"strategy": None, "max_epochs": 6},
    "burn-in": {"strategy": mag.BurnIn(3, 15, joint=mag.Joint(6))},
    "keep best": {"strategy": mag.Joint.report(9)},
    "predictor-corrector": {
        "strategy": mag.PredictorCorrector(n_rounds=5, batch_size=15, optimizer="muon")
    },
    "cells": {
        "strategy": mag.Cells(n_burn_in_epochs=3, batch_size=15, n_epochs=5, cell_size=15, halo=10)
    },
    "best state": {
        "strategy": mag.Cells(n_burn_in_epochs=5, batch_size=15, n_epochs=4, cell_size=15, halo=10),
        "callbacks": [mag.BestState(jumpy), mag.Snapshots(2)],
    },
    "dropout": {"architecture": dropout, "strategy": mag.BurnIn(4, 15, joint=mag.Joint(4))},
    "automatic scale": {"scale": "auto", "strategy": mag.Joint(4)},
    "far away": {"points": POINTS + 1e5, "strategy": mag.Joint(4)},
    "images": {
        "points": IMAGES,
        "architecture": "convolutional",
        "strategy": mag.BurnIn(2, 4, 1e-3, joint=mag.Joint(3, optimizer="adam")),
    },
}


class PowerCut(Exception):
    pass


class Cut:
    "A callback that ends everything after an epoch, when its checkpoint has been written."

    last = True

    def __init__(self, epoch):
        self.epoch = epoch

    def __call__(self, state):
        if state.epoch == self.epoch:
            raise PowerCut


class Keep:
    "A callback that writes a checkpoint after each of these epochs, into files of their own."

    last = True

    def __init__(self, folder, epochs):
        self.folder, self.epochs = folder, epochs

    def __call__(self, state):
        if state.epoch in self.epochs:
            mag.Checkpoint(self.folder / str(state.epoch), every=1)(state)


def fit(points=POINTS, callbacks=(), resume_from=None, architecture="linear", **settings):
    with draws_from(torch.Generator().manual_seed(0)):
        architecture = architecture() if callable(architecture) else architecture
    model = mag.MagnitudeAutoencoder(
        **{
            "architecture": architecture,
            "scale": 1.0,
            "random_state": 0,
            "progress": False,
            **settings,
        },
        callbacks=callbacks,
    )
    return model.fit(points, resume_from=resume_from)


def assert_same_bits(found, wanted):
    for name in ("embedding_", "weighting_", "embedding_weighting_"):
        assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes(), name
    for name, column in wanted.history_.items():
        if name != "seconds":
            np.testing.assert_array_equal(found.history_[name], column, err_msg=name)
    states = [m.module_.state_dict() for m in (found, wanted)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[1])
    assert (found.scale_, found.seed_) == (wanted.scale_, wanted.seed_) and str(
        found.notes_
    ) == str(wanted.notes_)


# ---- every epoch of every kind of training


@pytest.mark.parametrize("case", SETTINGS)
def test_resumed_is_unbroken(case, tmp_path):
    "From every third epoch on, and from those around a change of phase and at the end."
    settings = dict(SETTINGS[case])
    callbacks = settings.pop("callbacks", [])
    whole = fit(callbacks=callbacks, **settings)
    n_epochs, phases = len(whole.history_["epoch"]), whole.history_["phase"]
    if n_epochs < 50:
        changes = [k for k in range(1, n_epochs) if phases[k] != phases[k - 1]][:2]
        after = [k + 1 for k in changes]
        wanted = {1, n_epochs, *changes, *after, *range(3, n_epochs, 3)}
    else:
        wanted = {99, 100, 101, n_epochs - 1}
    watched = fit(callbacks=[*callbacks, Keep(tmp_path, wanted)], **settings)
    assert_same_bits(watched, whole)
    assert {int(path.name) for path in tmp_path.iterdir()} == wanted
    for epoch in sorted(wanted):
        path = tmp_path / str(epoch)
        assert_same_bits(fit(callbacks=callbacks, resume_from=path, **settings), whole)


def test_resumed_again_and_again(tmp_path):
    settings, path = SETTINGS["burn-in"], tmp_path / "c"
    for epoch in (2, 4, 7):
        with pytest.raises(PowerCut):
            fit(
                callbacks=[mag.Checkpoint(path, every=1), Cut(epoch)],
                resume_from=path if path.exists() else None,
                **settings,
            )
    assert_same_bits(fit(resume_from=path, **settings), fit(**settings))


def test_a_training_that_was_stopped_stays_stopped(tmp_path):
    settings, path = SETTINGS["burn-in"], tmp_path / "c"

    def enough(state):
        return state.epoch == 5

    whole = fit(
        callbacks=[enough, mag.Checkpoint(path, every=100)], **settings
    )  # the last epoch is written, whatever `every` says
    assert_same_bits(fit(callbacks=[enough], resume_from=path, **settings), whole)
    assert len(whole.history_["epoch"]) == 5


def test_early_stopping_remembers(tmp_path):
    settings, path = (
        {"strategy": mag.Joint(60, schedule="constant", learning_rate=0.3)},
        tmp_path / "c",
    )
    stopping = mag.EarlyStopping(patience=8)
    whole = fit(callbacks=[stopping], **settings)
    n = len(whole.history_["epoch"])
    assert n < 60
    with pytest.raises(PowerCut):
        fit(callbacks=[stopping, mag.Checkpoint(path, every=1), Cut(n - 3)], **settings)
    assert_same_bits(fit(callbacks=[stopping], resume_from=path, **settings), whole)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_log_goes_on(tmp_path, suffix):
    "Lines written after the last checkpoint are written again, not twice."
    settings, log = SETTINGS["burn-in"], mag.LogFile(tmp_path / f"log.{suffix}")
    with pytest.raises(PowerCut):
        fit(callbacks=[log, mag.Checkpoint(tmp_path / "c", every=3), Cut(5)], **settings)
    assert len(log.path.read_text().splitlines()) == 5 + (suffix == "csv")
    model = fit(callbacks=[log], resume_from=tmp_path / "c", **settings)
    lines = log.path.read_text().splitlines()[suffix == "csv" :]
    epochs = [
        json.loads(line)["epoch"] if suffix == "jsonl" else int(line.split(",")[0])
        for line in lines
    ]
    assert epochs == model.history_["epoch"] == list(range(9))


def test_without_a_seed_of_ones_own(tmp_path):
    "`random_state=None` draws a seed; the checkpoint knows which."
    path, seen = tmp_path / "c", {}
    settings = {**SETTINGS["burn-in"], "random_state": None}
    with pytest.raises(PowerCut):
        fit(callbacks=[mag.Checkpoint(path, every=2), Cut(4)], **settings)
    seed = read_checkpoint(path)[0]["seed"]
    first, second = (
        fit(
            resume_from=path, callbacks=[lambda state: seen.update(at=state.resumed_at)], **settings
        )
        for _ in range(2)
    )
    assert first.seed_ == seed and seen["at"] == 4
    assert_same_bits(first, second)


def test_resuming_leaves_the_generators_alone(tmp_path):
    settings, path = SETTINGS["dropout"], tmp_path / "c"
    fit(callbacks=[mag.Checkpoint(path, every=3)], **settings)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit(resume_from=path, **settings)
    assert (
        torch.equal(torch.get_rng_state(), before[0])
        and (np.random.get_state()[1] == before[1]).all()
    )


def test_checkpoints_change_nothing(tmp_path):
    settings = SETTINGS["dropout"]
    assert_same_bits(
        fit(callbacks=[mag.Checkpoint(tmp_path / "c", every=1)], **settings), fit(**settings)
    )


def test_fit_transform_and_pipelines_resume(tmp_path):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def pipeline(*callbacks):
        model = mag.MagnitudeAutoencoder(
            scale=1.0, strategy=mag.Joint(5), random_state=0, progress=False, callbacks=callbacks
        )
        return make_pipeline(StandardScaler(), model)

    whole = pipeline(mag.Checkpoint(tmp_path / "c", every=3)).fit_transform(POINTS)
    again = pipeline().fit_transform(POINTS, magnitudeautoencoder__resume_from=tmp_path / "c")
    np.testing.assert_array_equal(again, whole)


# ---- what does not fit


CHANGED = {
    "other points": ({"points": POINTS[::-1].copy()}, "other points"),
    "fewer points": ({"points": POINTS[:-1]}, "other points"),
    "other scale": ({"scale": 2.0}, r"other scale \(1.0 there, 2.0 here\)"),
    "other seed": ({"random_state": 1}, "other seed"),
    "other loss": ({"weighting_loss": "l2"}, r"other weighting_loss \('l1' there, 'l2' here\)"),
    "other solver": ({"solver": mag.LU()}, r"other solver.*LU"),
    "other coefficient": (
        {"weighting_coefficient": 3.0},
        r"other phases \(by its strategy, weighting_coefficient",
    ),
    "more epochs": ({"strategy": mag.BurnIn(3, 15, joint=mag.Joint(7))}, "other phases"),
    "other strategy": ({"strategy": mag.Joint(9)}, "other phases"),
    "other width": ({"n_components": 1}, "does not fit this network"),
    "other network": ({"architecture": dropout}, "does not fit this network"),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "c"
    fit(callbacks=[mag.Checkpoint(path, every=4)], **SETTINGS["burn-in"])
    return path


@pytest.mark.parametrize("case", CHANGED)
def test_another_training_is_refused(case, checkpoint):
    settings, message = CHANGED[case]
    with pytest.raises(ValueError, match=f"resume_from: .*{message}"):
        fit(resume_from=checkpoint, **{**SETTINGS["burn-in"], **settings})


def test_a_missing_or_damaged_checkpoint(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file .* to read a checkpoint from"):
        fit(resume_from=tmp_path / "nowhere")
    for share in (0.0, 0.01, 0.5, 0.999):
        (tmp_path / "part").write_bytes(
            checkpoint.read_bytes()[: int(share * checkpoint.stat().st_size)]
        )
        with pytest.raises(ValueError, match="damaged or is not a safetensors file"):
            fit(resume_from=tmp_path / "part", **SETTINGS["burn-in"])


def items(about, name):
    "The items of a part of a packed state."
    return next(value for key, value in about["state"]["items"] if key == name)["items"]


FORGED = {
    "no state": lambda about, tensors: about.pop("state"),
    "no terms": lambda about, tensors: about.pop("terms"),
    "a list": lambda about, tensors: about.update(state=[1, 2]),
    "no network": lambda about, tensors: about["state"]["items"].pop(),
    "no history": lambda about, tensors: about["state"].update(
        items=[item for item in about["state"]["items"] if item[0] != "history"]
    ),
    "no tensor": lambda about, tensors: tensors.pop("state/module/unit"),
    "no progress": lambda about, tensors: items(about, "progress").pop(),
    "other generator": lambda about, tensors: tensors.update(
        {"state/generators/batches": torch.zeros(3, dtype=torch.uint8)}
    ),
    "moments of another shape": lambda about, tensors: tensors.update(
        {"state/module/encoder.0.weight": torch.zeros(2, 2)}
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_checkpoint(case, checkpoint, tmp_path):
    tensors, about = read_file(checkpoint, "checkpoint")
    FORGED[case](about, tensors)
    write_file(tmp_path / "forged", "checkpoint", tensors, about)
    with pytest.raises(
        ValueError, match="does not describe a training of this version|does not fit this network"
    ):
        fit(resume_from=tmp_path / "forged", **SETTINGS["burn-in"])


def test_a_checkpoint_of_0_1_is_refused_in_words():
    "Its trainings drew other random numbers; written once, by version 0.1.0."
    words = r"written by magnitude_ae 0\.1\.0, whose checkpoints .* can no longer use; begin anew"
    with pytest.raises(ValueError, match=words):
        read_checkpoint(OLD)
    with pytest.raises(ValueError, match=words):
        fit(resume_from=OLD)


def test_another_torch_is_told(checkpoint, tmp_path):
    tensors, about = read_file(checkpoint, "checkpoint")
    write_file(tmp_path / "old", "checkpoint", tensors, {**about, "torch": "2.1.0"})
    with pytest.warns(RuntimeWarning, match=r"written with torch 2.1.0, this is .*last digits"):
        fit(resume_from=tmp_path / "old", **SETTINGS["burn-in"])


def test_the_header_is_json(checkpoint):
    "Plain JSON, without Python's NaN and Infinity, so that any program can read it."

    def refuse(word):
        raise AssertionError(word)

    with safe_open(checkpoint, "pt") as file:
        about = json.loads(file.metadata()["magnitude_ae"], parse_constant=refuse)
    assert about["version"] == mag.__version__ and about["kind"] == "checkpoint"


@pytest.mark.parametrize(
    "note",
    [
        {0: torch.arange(3), "0": [None, True, 1.5]},
        {"a/b": torch.ones(1), "a": {"b": torch.zeros(1)}},
        [float("nan"), float("inf"), -0.0],
        {
            "bits": torch.tensor([float("nan"), -0.0]),
            "half": torch.ones(2, dtype=torch.bfloat16),
            "truth": torch.tensor(True),
        },
        np.float32(0.1),
    ],
    ids=repr,
)
def test_notes_come_back(note, tmp_path):
    def write(state):
        state.notes["note"] = note

    fit(callbacks=[write, mag.Checkpoint(tmp_path / "c", every=9)], **SETTINGS["burn-in"])
    back = fit(resume_from=tmp_path / "c", **SETTINGS["burn-in"]).notes_["note"]
    assert repr(back) == repr(note.item() if isinstance(note, np.generic) else note)


@pytest.mark.parametrize(
    "note",
    [{(1, 2): 3}, {None: 1}, {1, 2}, object, np.ones(2)],
    ids=lambda note: type(note).__name__,
)
def test_notes_that_cannot_come_back_are_refused(note, tmp_path):
    def write(state):
        state.notes["note"] = note

    with pytest.raises(TypeError, match="state/notes/note is of type"):
        fit(callbacks=[write, mag.Checkpoint(tmp_path / "c", every=9)], **SETTINGS["burn-in"])


def test_settings_of_a_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        mag.Checkpoint(tmp_path / "no" / "c")
    with pytest.raises(ValueError, match="every must be at least 1"):
        mag.Checkpoint(tmp_path / "c", every=0)
    assert replace(mag.Checkpoint(tmp_path / "c"), every=3) == mag.Checkpoint(tmp_path / "c", 3)


# ---- a crash while writing


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, step):
    settings, path = SETTINGS["burn-in"], tmp_path / "c"
    original = getattr(os, step)

    def crash_at_the_third(*args):
        crash_at_the_third.calls += 1
        if crash_at_the_third.calls == 3:
            raise PowerCut
        return original(*args)

    crash_at_the_third.calls = 0
    monkeypatch.setattr(os, step, crash_at_the_third)
    with pytest.raises(PowerCut):
        fit(callbacks=[mag.Checkpoint(path, every=2)], **settings)
    monkeypatch.undo()
    assert read_checkpoint(path)[1]["progress"]["epoch"] == 4 and list(tmp_path.iterdir()) == [path]
    assert_same_bits(fit(resume_from=path, **settings), fit(**settings))


# ---- real signals to real processes


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.slow
@pytest.mark.parametrize("strategy, kills", [("default", 2), ("predictor-corrector", 1)])
def test_killed_and_resumed(strategy, kills):
    "Processes that are killed at random moments; the benchmark does this twenty times."
    command = [
        sys.executable,
        ROOT / "benchmarks" / "kill_and_resume.py",
        "--strategy",
        strategy,
        "--runs",
        "1",
        "--kills",
        str(kills),
        "--points",
        "60",
        "--epochs",
        "20",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["identical"] and len(run["killed_after_epoch"]) == kills


INTERRUPTED = """
import warnings
import magnitude_ae as mag
def watch(training):
    if training.epoch == 5: print("training", flush=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    long = mag.Joint(100_000, keep="best")
    settings = dict(scale=1.0, random_state=0, progress=False)
    model = mag.MagnitudeAutoencoder(strategy=long, callbacks=[watch], **settings)
    points = mag.datasets.swiss_roll(100, random_state=0)
    latent = model.fit_transform(points)
total = model.history_["total_loss"]
print([str(w.message) for w in caught if "interrupted" in str(w.message)][0])
fine = len(total) < 100_000 and latent.shape == (100, 2) and abs(model.score(points)) <= 1
print(fine, flush=True)
"""
MESSAGE = r"training ended at epoch \d+ because it was interrupted; the best network is kept"


def test_ctrl_c():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGINT)
    message, fine = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0 and fine == "True"
    assert re.search(MESSAGE, message)


def test_a_notebook_s_stop_button():
    manager_module = pytest.importorskip("jupyter_client.manager")
    manager, client = manager_module.start_new_kernel(kernel_name="python3")
    try:
        client.execute(INTERRUPTED)
        text, started = "", False
        while "True" not in text:
            message = client.get_iopub_msg(timeout=120)
            assert message["msg_type"] != "error", message["content"]
            text += message["content"].get("text", "")
            if not started and "training" in text:
                started = True
                manager.interrupt_kernel()
        assert re.search(MESSAGE, text)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_an_interrupt_keeps_the_best_network_so_far():
    def press(state):
        if state.epoch == 30:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match=MESSAGE.replace(r"\d+", "30")):
        model = fit(
            strategy=mag.Joint(
                100,
                schedule="constant",
                learning_rate=0.5,
                clip_norm=None,
                keep="best",
                relative=False,
            ),
            weighting_coefficient=20.0,
            callbacks=[press],
        )
    total = model.history_["total_loss"]
    best = int(np.argmin(total))
    assert best < 29
    reconstruction = np.square(model.inverse_transform(model.embedding_) - POINTS).mean()
    weighted = np.abs(model.embedding_weighting_ - model.weighting_).mean()
    assert reconstruction + 20 * weighted == pytest.approx(total[best], rel=1e-2)


def test_an_interrupt_while_cells_begin_leaves_a_whole_network(monkeypatch):
    "The statistics of batch normalisation are being taken anew when someone presses stop."
    original, calls = loop.calibrate, []

    def interrupted(module, points):
        calls.append(1)
        if len(calls) == 1:
            for layer in module.modules():
                if isinstance(layer, torch.nn.BatchNorm1d):
                    layer.reset_running_stats()
            raise KeyboardInterrupt
        return original(module, points)

    monkeypatch.setattr(loop, "calibrate", interrupted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        model = fit(**SETTINGS["cells"])
    norms = [layer for layer in model.module_.modules() if isinstance(layer, torch.nn.BatchNorm1d)]
    assert len(calls) == 2 and all(layer.running_mean.abs().max() > 0 for layer in norms)
