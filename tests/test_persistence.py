"""Models in files: they come back, damage is refused in words, and nothing in a file is run."""

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_models import POINTS, quick

import magnitude_ae as mag
from magnitude_ae.training import files, read_file, write_file

GOLDEN = Path(__file__).parent / "data" / "model_format_1.safetensors"


@pytest.fixture(scope="module")
def model():
    return quick().fit(POINTS)


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def load(path):
    return mag.MagnitudeAutoencoder.load(path)


def rewrite(path, change_about=lambda about: None, change_tensors=lambda tensors: None):
    "Forges a file: other contents, with a checksum that fits them."
    tensors, about = read_file(path, "model")
    about = change_about(about) or about
    change_tensors(tensors)
    if isinstance(about, dict):
        write_file(path, "model", tensors, about)
    else:
        save_file(tensors, path, metadata={"magnitude_ae": json.dumps(about)})


# ---- there and back


CONTAINERS = {
    "DataFrame": pd.DataFrame(POINTS, columns=["x", "y", "z"]),
    "tensor": torch.from_numpy(POINTS.copy()),
    "float32": POINTS.astype(np.float32),
}


@pytest.mark.parametrize("given", CONTAINERS)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "solver": mag.LU(),
            "strategy": mag.Joint(2),
            "n_components": 1,
            "scale": torch.tensor(2.0),
        },
    ],
    ids=["plain", "own"],
)
def test_round_trip(tmp_path, given, settings):
    points, path = CONTAINERS[given], tmp_path / "model.safetensors"
    fitted = quick(**settings).fit(points)
    fitted.save(path)
    back = load(str(path))
    for call in ("transform", "inverse_transform"):
        argument = points if call == "transform" else fitted.embedding_
        answers = [getattr(m, call)(argument) for m in (fitted, back)]
        np.testing.assert_array_equal(*answers)
        assert type(answers[0]) is type(answers[1])
    for name in ("embedding_", "weighting_", "embedding_weighting_"):
        assert (
            type(getattr(back, name)) is type(getattr(fitted, name))
            and getattr(back, name).dtype == getattr(fitted, name).dtype
        )
        np.testing.assert_array_equal(getattr(back, name), getattr(fitted, name))
    assert (back.scale_, back.seed_, back.n_features_in_) == (
        fitted.scale_,
        fitted.seed_,
        3,
    ) and not back.module_.training
    for name, column in fitted.history_.items():
        np.testing.assert_array_equal(back.history_[name], column)
    assert list(getattr(back, "feature_names_in_", [])) == list(
        getattr(fitted, "feature_names_in_", [])
    )
    assert {k: v for k, v in back.get_params().items() if k != "progress"} == {
        k: v for k, v in fitted.get_params().items() if k != "progress"
    }
    back.save(path)  # over itself
    np.testing.assert_array_equal(load(path).embedding_, fitted.embedding_)


def test_images_come_back_as_images(tmp_path):
    images = np.random.default_rng(0).random((12, 17, 17))
    fitted = quick(architecture="convolutional", strategy=mag.Joint(2)).fit(images)
    fitted.save(tmp_path / "m")
    back = load(tmp_path / "m")
    np.testing.assert_array_equal(back.transform(images), fitted.transform(images))
    assert back.inverse_transform(back.embedding_).shape == images.shape


@pytest.mark.parametrize(
    "solver",
    [
        mag.LU(),
        mag.Schur(),
        mag.HODLR(),
        mag.Vecchia(5),
        mag.ConjugateGradient(),
        mag.ConjugateGradient(preconditioner=mag.Vecchia(5)),
    ],
    ids=repr,
)
def test_every_solver_can_be_saved(tmp_path, solver):
    fitted = quick(solver=solver).fit(POINTS)
    fitted.save(tmp_path / "m")
    assert load(tmp_path / "m").solver == solver


@pytest.mark.parametrize(
    "settings",
    [
        {"weighting_coefficient": np.float32(3)},
        {"n_components": np.int64(2)},
        {"scale": np.float32(2)},
        {"strategy": mag.BurnIn(n_burn_in_epochs=np.int64(1))},
        {"random_state": np.int64(7)},
    ],
    ids=str,
)
def test_settings_from_numpy_can_be_saved(tmp_path, settings):
    fitted = quick(**settings).fit(POINTS)
    fitted.save(tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m").embedding_, fitted.embedding_)


def test_a_generator_is_saved_as_the_seed_it_gave(tmp_path):
    fitted = quick(random_state=np.random.RandomState(4)).fit(POINTS)
    fitted.save(tmp_path / "m")
    back = load(tmp_path / "m")
    assert back.random_state is None and back.seed_ == fitted.seed_


def test_the_history_comes_back_as_it_was(model, saved):
    back = load(saved).history_
    assert list(back) == list(model.history_), "the columns keep their order"
    assert {k: type(v[0]) for k, v in back.items()} == {
        k: type(v[0]) for k, v in model.history_.items()
    }


def test_loading_draws_no_random_numbers(saved):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load(saved)
    assert (
        torch.equal(torch.get_rng_state(), before[0])
        and (np.random.get_state()[1] == before[1]).all()
    )


def test_the_description_says_how_the_model_was_made(model, saved):
    with safe_open(saved, "pt") as file:
        about = json.loads(file.metadata()["magnitude_ae"])
    assert (
        about["version"] == mag.__version__
        and about["format"] == 1
        and about["dtype"] == "torch.float64"
    )
    assert (
        about["scale"] == 1.0
        and about["seed"] == model.seed_
        and about["settings"]["random_state"] == 0
    )
    assert about["settings"]["strategy"]["class"] == "BurnIn"


def test_own_architectures_are_not_saved(tmp_path):
    fitted = quick(architecture=(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))).fit(POINTS)
    with pytest.raises(ValueError, match=r"only named architectures.*state_dict\(\)"):
        fitted.save(tmp_path / "m")


# ---- files that stay readable


def test_a_file_of_format_1_can_be_read():
    "`model_format_1.safetensors` was written by version 0.1.0 and must be readable for ever."
    expected = json.loads(GOLDEN.with_suffix(".json").read_text(encoding="utf-8"))
    model, points = load(GOLDEN), pd.DataFrame(expected["points"], columns=["x", "y", "z"])
    # Another machine adds in another order; a wrong weight would show in the first digits.
    np.testing.assert_allclose(model.transform(points), expected["latent"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        model.inverse_transform(expected["latent"]), expected["reconstruction"], rtol=0, atol=1e-9
    )
    assert model.scale_ == expected["scale"] and list(model.feature_names_in_) == ["x", "y", "z"]
    assert model.solver == mag.ConjugateGradient(
        preconditioner=mag.Vecchia(5)
    ) and model.strategy == mag.BurnIn(2, 8, joint=mag.Joint(3, keep="best"))
    assert model.history_["phase"] == ["burn-in"] * 2 + ["joint"] * 3 and model.random_state == 5


# ---- files that are not whole


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.9999])
def test_a_truncated_file(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="damaged or is not a safetensors file"):
        load(saved)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"x,y\n1,2\n" * 100, b"\x80\x04" * 50, struct.pack("<Q", 2**60) + b"{}", b"\0" * 64],
    ids=["text", "csv", "pickle", "huge header", "zeros"],
)
def test_a_file_of_another_kind(saved, content):
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or is not a safetensors file|was not written by"):
        load(saved)


def test_a_changed_byte_is_noticed_wherever_it_is(saved):
    whole, rng = saved.read_bytes(), np.random.default_rng(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    places = [
        *rng.integers(0, header, 100),
        *rng.integers(header, len(whole), 50),
        header,
        len(whole) - 1,
    ]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(changed)
        with pytest.raises(ValueError, match="damaged|not written by|newer version"):
            load(saved)


def test_a_pickle_is_not_run(saved):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code from a file was run')",))

    saved.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError):
        load(saved)


def test_foreign_newer_and_missing_files(saved, tmp_path, monkeypatch):
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="not written by MagnitudeAutoencoder.save"):
        load(tmp_path / "foreign")
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match="no file"):
            load(path)
    monkeypatch.setitem(files.FORMATS, "model", 2)
    monkeypatch.setattr(files, "__version__", "9.1")
    load(saved).save(saved)
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match=f"newer version of magnitude_ae, 9.1; this is {mag.__version__}: upgrade"
    ):
        load(saved)


def test_a_checkpoint_is_not_a_model(saved, tmp_path):
    quick(callbacks=[mag.Checkpoint(tmp_path / "checkpoint", every=1)]).fit(POINTS)
    with pytest.raises(ValueError, match="is a checkpoint and not a model.*resume_from"):
        load(tmp_path / "checkpoint")
    with pytest.raises(
        ValueError, match="is a model and not a checkpoint.*MagnitudeAutoencoder.load"
    ):
        quick().fit(POINTS, resume_from=saved)


DAMAGE = {
    "no settings": lambda a: a.pop("settings") and None,
    "unknown setting": lambda a: a["settings"].update(colour="red"),
    "settings are a list": lambda a: a.update(settings=[1]),
    "impossible setting": lambda a: a["settings"].update(weighting_loss="l3"),
    "unknown class": lambda a: a["settings"].update(solver={"class": "os.system"}),
    "unknown field": lambda a: a["settings"].update(solver={"class": "LU", "x": 1}),
    "other width": lambda a: a.update(n_features_in=7),
    "more than fits into memory": lambda a: a.update(n_features_in=10**12),
    "more than can be counted": lambda a: a.update(n_features_in=10**30),
    "text for a width": lambda a: a.update(n_features_in="three"),
    "unknown architecture": lambda a: a["settings"].update(architecture="transformer"),
    "other architecture": lambda a: a["settings"].update(architecture="convolutional"),
    "no components": lambda a: a["settings"].update(n_components=-1),
    "no history": lambda a: a.pop("phases") and None,
}
NO_DESCRIPTION = {
    "a list": [1, 2],
    "a word": "words",
    "a number": 7,
    "empty": {"format": 1, "kind": "model"},
    "format in words": {"format": "new"},
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_forged_description(saved, case):
    rewrite(saved, DAMAGE[case])
    with pytest.raises(ValueError, match="does not describe a model of this version"):
        load(saved)


@pytest.mark.parametrize("case", NO_DESCRIPTION)
def test_no_description(saved, case):
    save_file(
        {"a": torch.zeros(2)}, saved, metadata={"magnitude_ae": json.dumps(NO_DESCRIPTION[case])}
    )
    with pytest.raises(ValueError, match="damaged|was not written by MagnitudeAutoencoder.save"):
        load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("module.unit"),
        lambda t: t.pop("embedding_"),
        lambda t: t.update({"module.encoder.0.weight": torch.zeros(2, 2)}),
        lambda t: t.update({"module.more": torch.zeros(2)}),
    ],
    ids=["unit", "embedding", "shape", "more"],
)
def test_forged_tensors(saved, change):
    rewrite(saved, change_tensors=change)
    with pytest.raises(ValueError, match="does not describe a model"):
        load(saved)


# ---- writing


def test_saving_where_nothing_can_be_saved(model, tmp_path):
    for path in (tmp_path / "no" / "such" / "folder" / "model", tmp_path):
        with pytest.raises(OSError):
            model.save(path)
    assert list(tmp_path.iterdir()) == [], "nothing half written is left behind"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_while_writing_harms_nothing(model, saved, monkeypatch, step):
    "A full disk, or a crash between writing and moving: the old file stays, and no other."

    def fail(*args):
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        quick(max_epochs=1).fit(POINTS).save(saved)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    for name in "ab":
        model.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
