"""The estimator: containers, reproducibility, files, and scikit-learn's manners."""

import copy
import json
import pickle
import struct
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import magnitude_ae as mag

POINTS = np.random.default_rng(0).standard_normal((40, 3)) * [3, 2, 0.1]


def quick(**settings):
    return mag.MagnitudeAutoencoder(**{"scale": 1.0, "max_epochs": 3, "strategy": mag.BurnIn(n_burn_in_epochs=2, batch_size=15), "progress": False,
                                       "random_state": 0, **settings})


@pytest.fixture(scope="module")
def model():
    return quick().fit(POINTS)


# ---- what fit leaves


def test_attributes_after_fit(model):
    assert model.embedding_.shape == (40, 2) and model.weighting_.shape == model.embedding_weighting_.shape == (40,)
    assert model.scale_ == 1.0 and model.n_features_in_ == 3 and len(model.history_["epoch"]) == 5
    np.testing.assert_allclose(model.weighting_, mag.weighting(POINTS, 1.0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.embedding_weighting_, mag.weighting(model.embedding_, 1.0), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.embedding_, model.transform(POINTS))
    assert not model.module_.training


def test_fit_transform_is_fit_then_transform(model):
    np.testing.assert_array_equal(quick().fit_transform(POINTS), model.transform(POINTS))


def test_automatic_scale():
    assert quick(scale="auto").fit(POINTS).scale_ == pytest.approx(mag.choose_scale(POINTS), rel=1e-9)


@pytest.mark.parametrize("scale", [2, np.float32(2), np.int64(2), torch.tensor(2.0), np.array(2.0)], ids=lambda s: type(s).__name__)
def test_kinds_of_scale(scale):
    assert quick(scale=scale).fit(POINTS).scale_ == 2.0


@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
def test_numbers_of_components(n_components):
    fitted = quick(n_components=n_components).fit(POINTS)
    latent = fitted.transform(POINTS)
    assert latent.shape == (40, n_components) and fitted.inverse_transform(latent).shape == (40, 3)
    assert list(fitted.get_feature_names_out()) == [f"magnitudeautoencoder{k}" for k in range(n_components)]


@pytest.mark.parametrize("settings", [{"n_components": np.int64(2)}, {"max_epochs": np.int32(2)}, {"batch_size": np.int64(9)},
                                      {"learning_rate": np.float32(1e-3)}, {"weighting_coefficient": np.float32(3)}], ids=str)
def test_numbers_from_numpy_are_numbers(settings):
    "Grid searches pass np.int64."
    assert quick(**settings).fit(POINTS).embedding_.shape == (40, 2)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_points(n):
    assert np.isfinite(quick().fit_transform(POINTS[:n])).all()


@pytest.mark.parametrize("points", [np.repeat(POINTS[:8], 5, 0), np.hstack([POINTS, np.ones((40, 1))]), np.ones((10, 3)),
                                    POINTS + 1e6], ids=["copies", "constant column", "all equal", "far away"])
def test_awkward_data(points):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        fitted = quick().fit(points)
    assert np.isfinite(fitted.embedding_).all() and np.isfinite(fitted.inverse_transform(fitted.embedding_)).all()


@pytest.mark.parametrize("solver", [mag.LU(), mag.Cholesky(), mag.Inverse(), mag.Schur(), mag.ConjugateGradient()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_solvers_and_losses(solver, loss, model):
    "Another exact solver is the same training up to rounding; another loss is another training."
    other = quick(solver=solver, weighting_loss=loss).fit(POINTS)
    near = np.abs(other.embedding_ - model.embedding_).max() < 1e-2 * np.abs(model.embedding_).max()
    assert near == (loss == "l1")


def test_the_report_recipe_runs():
    fitted = mag.MagnitudeAutoencoder(strategy=mag.Joint.report(5), scale=1.0, progress=False, random_state=0).fit(POINTS)
    assert len(fitted.history_["epoch"]) == 5 and set(fitted.history_["learning_rate"]) == {1e-2}


def test_own_architecture_and_device():
    encoder, decoder = torch.nn.Linear(3, 2), torch.nn.Linear(2, 3)
    fitted = quick(architecture=(encoder, decoder), device="cpu").fit(POINTS)
    assert fitted.module_.unit.device.type == "cpu" and fitted.embedding_.shape == (40, 2)


def test_fitting_again_starts_again():
    "An estimator given modules of its own must not go on training them: fit twice is fit once."
    modules = (torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))
    before = copy.deepcopy(modules[0].state_dict())
    estimator = quick(architecture=modules)
    first = estimator.fit_transform(POINTS)
    np.testing.assert_array_equal(estimator.fit_transform(POINTS), first)
    assert all(torch.equal(before[k], v) for k, v in modules[0].state_dict().items()), "the caller's modules were changed"


# ---- reproducible


def test_random_state(model):
    np.testing.assert_array_equal(quick().fit_transform(POINTS), model.embedding_)
    assert not np.array_equal(quick(random_state=1).fit_transform(POINTS), model.embedding_)
    assert not np.array_equal(quick(random_state=None).fit_transform(POINTS), quick(random_state=None).fit_transform(POINTS))


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_random_state_objects(make):
    np.testing.assert_array_equal(quick(random_state=make(5)).fit_transform(POINTS), quick(random_state=make(5)).fit_transform(POINTS))


def test_what_came_before_does_not_matter(model):
    torch.rand(7), np.random.rand(7)
    np.testing.assert_array_equal(quick().fit_transform(POINTS), model.embedding_)


# ---- transform


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_row_by_row(model, dtype):
    "A row's latent does not depend on the rows beside it, but for the order in which a product is summed."
    points = POINTS.astype(dtype)
    together = model.transform(points)
    assert together.dtype == dtype
    alone = np.vstack([model.transform(points[i : i + 1]) for i in range(40)])
    tolerance = (1e-12 if dtype == np.float64 else 1e-5) * np.abs(together).max()
    np.testing.assert_allclose(alone, together, rtol=0, atol=tolerance)
    np.testing.assert_allclose(model.transform(points[::-1]), together[::-1], rtol=0, atol=tolerance)


def test_precision_follows_the_input(model):
    double = model.transform(POINTS)
    single, half = model.transform(POINTS.astype(np.float32)), model.transform(torch.from_numpy(POINTS).half())
    assert (double.dtype, single.dtype, half.dtype) == (np.float64, np.float32, torch.float16)
    assert np.abs(double - single).max() > 0, "double precision is computed, not cast"
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-5 * np.abs(double).max())
    np.testing.assert_allclose(half.double(), double, rtol=0, atol=1e-2 * np.abs(double).max())
    assert model.inverse_transform(single).dtype == np.float32 and model.module_.unit.dtype == torch.float32


def test_transform_is_in_evaluation_mode_and_changes_nothing(model):
    before = [value.clone() for value in model.module_.state_dict().values()]
    model.transform(POINTS * 5), model.inverse_transform(model.embedding_)
    assert all(torch.equal(a, b) for a, b in zip(before, model.module_.state_dict().values()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_transform_differentiates_in_its_input(model, dtype):
    points = torch.from_numpy(POINTS).to(dtype).requires_grad_()
    latent = model.transform(points)
    (gradient,) = torch.autograd.grad(latent.square().sum(), points)
    assert gradient.dtype == dtype and gradient.abs().max() > 0
    assert not model.transform(points.detach()).requires_grad


def test_inverse_transform_answers_in_the_units_of_the_data():
    long = quick(strategy=mag.Joint(300), max_epochs=None, weighting_coefficient=0.0).fit(POINTS * 100 + 500)
    back = long.inverse_transform(long.transform(POINTS * 100 + 500))
    miss = np.square(back - POINTS * 100 - 500).mean() / np.square(POINTS * 100 - POINTS.mean(0) * 100).mean()
    assert miss < 0.1  # nine tenths of the variance is back


def test_the_same_data_in_other_units():
    "Points 1024 times as large at 1/1024 of the scale: λ must follow the squared units, and then the fit is the same."
    settings = {"strategy": mag.Joint.report(10), "max_epochs": None}
    here = quick(weighting_coefficient=1.0, **settings).fit(POINTS)
    there = quick(weighting_coefficient=1.0 * 1024**2, scale=1 / 1024, **settings).fit(POINTS * 1024)
    np.testing.assert_allclose(there.weighting_, here.weighting_, rtol=0, atol=1e-12)
    # Adam's ε and weight decay do not scale with the loss: close, not equal
    np.testing.assert_allclose(there.embedding_ / 1024, here.embedding_, rtol=0, atol=0.02 * np.abs(here.embedding_).max())
    np.testing.assert_allclose(there.embedding_weighting_, here.embedding_weighting_, rtol=0, atol=0.02)


# ---- containers


CONTAINERS = {
    "list": POINTS.tolist(),
    "float32": POINTS.astype(np.float32),
    "DataFrame": pd.DataFrame(POINTS, columns=["x", "y", "z"]),
    "Fortran": np.asfortranarray(POINTS),
    "tensor": torch.from_numpy(POINTS.copy()),
    "float tensor": torch.from_numpy(POINTS).float(),
    "parameter": torch.nn.Parameter(torch.from_numpy(POINTS.copy())),
    "whole": (POINTS * 10).astype(int),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name):
    given = CONTAINERS[name]
    fitted = quick().fit(given)
    kind = torch.Tensor if isinstance(given, torch.Tensor) else np.ndarray
    latent = fitted.transform(given)
    for answer in (latent, fitted.embedding_, fitted.weighting_, fitted.embedding_weighting_, fitted.inverse_transform(latent)):
        assert type(answer) is kind
        assert answer.dtype == (given.dtype if kind is torch.Tensor or name == "float32" else np.float64)
    assert not getattr(fitted.embedding_, "requires_grad", False), "what is stored holds no graph"
    if name not in ("whole",):
        np.testing.assert_allclose(np.asarray(fitted.embedding_), quick().fit(POINTS).embedding_, rtol=0, atol=0.05)  # training amplifies the rounding of the input


def test_the_input_is_not_written_to():
    given, tensor = POINTS.copy(), torch.from_numpy(POINTS.copy())
    for points in (given, tensor):
        quick().fit(points).transform(points)
        np.testing.assert_array_equal(points, POINTS)


def test_names_of_columns():
    frame = pd.DataFrame(POINTS, columns=["x", "y", "z"])
    fitted = quick().fit(frame)
    assert list(fitted.feature_names_in_) == ["x", "y", "z"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform(frame)
    answer = quick().set_output(transform="pandas").fit(frame).transform(frame)
    assert list(answer.columns) == ["magnitudeautoencoder0", "magnitudeautoencoder1"] and (answer.index == frame.index).all()


# ---- scikit-learn's manners


def test_parameters():
    model = quick(n_components=3, solver=mag.LU())
    twin = clone(model)
    assert twin.get_params() == model.get_params() and twin is not model
    assert set(model.get_params()) == {
        "n_components", "architecture", "scale", "weighting_coefficient", "weighting_loss", "strategy", "solver", "learning_rate",
        "max_epochs", "batch_size", "device", "random_state", "progress", "callbacks"}
    assert model.set_params(n_components=1, scale=2.0) is model and (model.n_components, model.scale) == (1, 2.0)
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        model.set_params(colour=1)
    assert "n_components=1" in repr(model)


def test_clone_forgets_the_fit(model):
    assert not hasattr(clone(model), "module_")


def test_fit_does_not_change_parameters():
    settings = quick()
    before = dict(settings.get_params())
    settings.fit(POINTS)
    assert settings.get_params() == before


def test_in_a_pipeline():
    latent = make_pipeline(StandardScaler(), quick()).fit_transform(POINTS, y=np.zeros(40))
    assert latent.shape == (40, 2)


def test_pickle_and_deepcopy(model):
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.transform(POINTS), model.transform(POINTS))


def test_progress_can_be_silent(capfd):
    quick().fit(POINTS)
    assert capfd.readouterr() == ("", "")
    quick(progress=True).fit(POINTS)
    out, error = capfd.readouterr()
    assert out == "" and "epoch" in error


# ---- files


@pytest.mark.parametrize("given", ["DataFrame", "tensor", "float32"])
@pytest.mark.parametrize("settings", [{}, {"solver": mag.LU(), "strategy": mag.Joint(2), "n_components": 1, "scale": torch.tensor(2.0)}],
                         ids=["plain", "own"])
def test_round_trip(tmp_path, given, settings):
    points, path = CONTAINERS[given], tmp_path / "model.safetensors"
    fitted = quick(**settings).fit(points)
    fitted.save(path)
    back = mag.MagnitudeAutoencoder.load(str(path))
    for call in ("transform", "inverse_transform"):
        argument = points if call == "transform" else fitted.embedding_
        answers = [getattr(m, call)(argument) for m in (fitted, back)]
        np.testing.assert_array_equal(*answers)
        assert type(answers[0]) is type(answers[1])
    for name in ("embedding_", "weighting_", "embedding_weighting_"):
        assert type(getattr(back, name)) is type(getattr(fitted, name)) and getattr(back, name).dtype == getattr(fitted, name).dtype
        np.testing.assert_array_equal(getattr(back, name), getattr(fitted, name))
    assert back.scale_ == fitted.scale_ and back.n_features_in_ == 3 and not back.module_.training
    for name, column in fitted.history_.items():
        np.testing.assert_array_equal(back.history_[name], column)
    assert list(getattr(back, "feature_names_in_", [])) == list(getattr(fitted, "feature_names_in_", []))
    assert (back.solver, back.strategy, back.n_components) == (fitted.solver, fitted.strategy, fitted.n_components)
    back.save(path)  # over itself
    np.testing.assert_array_equal(mag.MagnitudeAutoencoder.load(path).embedding_, fitted.embedding_)


@pytest.mark.parametrize("solver", [mag.LU(), mag.Schur(), mag.Vecchia(5), mag.ConjugateGradient(), mag.ConjugateGradient(preconditioner=mag.Vecchia(5))], ids=repr)
def test_every_solver_can_be_saved(tmp_path, solver):
    fitted = quick(solver=solver).fit(POINTS)
    fitted.save(tmp_path / "m")
    assert mag.MagnitudeAutoencoder.load(tmp_path / "m").solver == solver


@pytest.mark.parametrize("settings", [{"weighting_coefficient": np.float32(3)}, {"n_components": np.int64(2)}, {"scale": np.float32(2)},
                                      {"strategy": mag.BurnIn(n_burn_in_epochs=np.int64(1))}], ids=str)
def test_settings_from_numpy_can_be_saved(tmp_path, settings):
    fitted = quick(**settings).fit(POINTS)
    fitted.save(tmp_path / "m")
    np.testing.assert_array_equal(mag.MagnitudeAutoencoder.load(tmp_path / "m").embedding_, fitted.embedding_)


def test_the_history_comes_back_as_it_was(model, tmp_path):
    model.save(tmp_path / "m")
    back = mag.MagnitudeAutoencoder.load(tmp_path / "m").history_
    assert list(back) == list(model.history_), "the columns keep their order"
    assert {k: type(v[0]) for k, v in back.items()} == {k: type(v[0]) for k, v in model.history_.items()}


def test_own_architectures_are_not_saved(tmp_path):
    fitted = quick(architecture=(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))).fit(POINTS)
    with pytest.raises(ValueError, match=r"only named architectures.*state_dict\(\)"):
        fitted.save(tmp_path / "m")


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path, change_about=None, change_tensors=None):
    with safe_open(path, "pt") as file:
        about, tensors = json.loads(file.metadata()["magnitude_ae"]), {k: file.get_tensor(k) for k in file.keys()}
    if change_about:
        about = change_about(about) or about
    if change_tensors:
        change_tensors(tensors)
    save_file(tensors, path, metadata={"magnitude_ae": json.dumps(about)})


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.9999])
def test_a_truncated_file(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="damaged or is not a safetensors file"):
        mag.MagnitudeAutoencoder.load(saved)


@pytest.mark.parametrize("content", [b"hello", b"x,y\n1,2\n" * 100, b"\x80\x04" * 50, struct.pack("<Q", 2**60) + b"{}", b"\0" * 64],
                         ids=["text", "csv", "pickle", "huge header", "zeros"])
def test_a_file_of_another_kind(saved, content):
    saved.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or is not a safetensors file|was not written by"):
        mag.MagnitudeAutoencoder.load(saved)


def test_a_pickle_is_not_run(saved):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code from a file was run')",))

    saved.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError):
        mag.MagnitudeAutoencoder.load(saved)


def test_foreign_newer_and_missing_files(saved, tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(ValueError, match="not written by MagnitudeAutoencoder.save"):
        mag.MagnitudeAutoencoder.load(tmp_path / "foreign")
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match="no file"):
            mag.MagnitudeAutoencoder.load(path)
    rewrite(saved, lambda about: about.update(format=99))
    with pytest.raises(ValueError, match="newer version.*upgrade"):
        mag.MagnitudeAutoencoder.load(saved)


DAMAGE = {
    "no settings": lambda a: a.pop("settings") and None,
    "unknown setting": lambda a: a["settings"].update(colour="red"),
    "settings are a list": lambda a: a.update(settings=[1]),
    "unknown class": lambda a: a["settings"].update(solver={"class": "os.system"}),
    "unknown field": lambda a: a["settings"].update(solver={"class": "LU", "x": 1}),
    "other width": lambda a: a.update(n_features_in=7),
    "text for a width": lambda a: a.update(n_features_in="three"),
    "unknown architecture": lambda a: a["settings"].update(architecture="transformer"),
    "no components": lambda a: a["settings"].update(n_components=-1),
    "no history": lambda a: a.pop("phases") and None,
    "a list": lambda a: [1, 2],
    "a word": lambda a: "words",
    "a number": lambda a: 7,
    "empty": lambda a: {"format": 1},
    "format in words": lambda a: a.update(format="new"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_description(saved, case):
    rewrite(saved, DAMAGE[case])
    with pytest.raises(ValueError):
        mag.MagnitudeAutoencoder.load(saved)


@pytest.mark.parametrize("change", [lambda t: t.pop("module.unit"), lambda t: t.pop("embedding_"),
                                    lambda t: t.update({"module.encoder.0.weight": torch.zeros(2, 2)}),
                                    lambda t: t.update({"module.more": torch.zeros(2)})], ids=["unit", "embedding", "shape", "more"])
def test_damaged_tensors(saved, change):
    rewrite(saved, change_tensors=change)
    with pytest.raises(ValueError, match="does not describe a model"):
        mag.MagnitudeAutoencoder.load(saved)


def test_saving_where_nothing_can_be_saved(model, tmp_path):
    with pytest.raises(OSError):
        model.save(tmp_path / "no" / "such" / "folder" / "model")
