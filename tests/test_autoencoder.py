"""The estimator: containers, reproducibility, and scikit-learn's manners."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_models import POINTS, quick

import magnitude_ae as mag


@pytest.fixture(scope="module")
def model():
    return quick().fit(POINTS)


# ---- what fit leaves


def test_attributes_after_fit(model):
    assert model.embedding_.shape == (40, 2)
    assert model.weighting_.shape == model.embedding_weighting_.shape == (40,)
    assert model.scale_ == 1.0
    assert model.n_features_in_ == 3
    assert len(model.history_["epoch"]) == 5
    np.testing.assert_allclose(model.weighting_, mag.weighting(POINTS, 1.0), rtol=0, atol=1e-12)
    expected = mag.weighting(model.embedding_, 1.0)
    np.testing.assert_allclose(model.embedding_weighting_, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(model.embedding_, model.transform(POINTS))
    assert not model.module_.training


def test_fit_transform_is_fit_then_transform(model):
    np.testing.assert_array_equal(quick().fit_transform(POINTS), model.transform(POINTS))


def test_automatic_scale():
    found = quick(scale="auto").fit(POINTS).scale_
    assert found == pytest.approx(mag.choose_scale(POINTS), rel=1e-9)


@pytest.mark.parametrize(
    "scale",
    [2, np.float32(2), np.int64(2), torch.tensor(2.0), np.array(2.0)],
    ids=lambda s: type(s).__name__,
)
def test_kinds_of_scale(scale):
    assert quick(scale=scale).fit(POINTS).scale_ == 2.0


@pytest.mark.parametrize("n_components", [1, 2, 3, 5])
def test_numbers_of_components(n_components):
    fitted = quick(n_components=n_components).fit(POINTS)
    latent = fitted.transform(POINTS)
    assert latent.shape == (40, n_components)
    assert fitted.inverse_transform(latent).shape == (40, 3)
    expected = [f"magnitudeautoencoder{k}" for k in range(n_components)]
    assert list(fitted.get_feature_names_out()) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"n_components": np.int64(2)},
        {"max_epochs": np.int32(2)},
        {"batch_size": np.int64(9)},
        {"learning_rate": np.float32(1e-3)},
        {"weighting_coefficient": np.float32(3)},
    ],
    ids=str,
)
def test_numbers_from_numpy_are_numbers(settings):
    "Grid searches pass np.int64."
    assert quick(**settings).fit(POINTS).embedding_.shape == (40, 2)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_points(n):
    assert np.isfinite(quick().fit_transform(POINTS[:n])).all()


@pytest.mark.parametrize(
    "points",
    [
        np.repeat(POINTS[:8], 5, 0),
        np.hstack([POINTS, np.ones((40, 1))]),
        np.ones((10, 3)),
        POINTS + 1e6,
    ],
    ids=["copies", "constant column", "all equal", "far away"],
)
def test_awkward_data(points):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        fitted = quick().fit(points)
    assert np.isfinite(fitted.embedding_).all()
    assert np.isfinite(fitted.inverse_transform(fitted.embedding_)).all()


@pytest.mark.parametrize(
    "solver",
    [mag.LU(), mag.Cholesky(), mag.Inverse(), mag.Schur(), mag.ConjugateGradient()],
    ids=lambda s: type(s).__name__,
)
@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_solvers_and_losses(solver, loss, model):
    "Another exact solver is the same training up to rounding; another loss is another training."
    other = quick(solver=solver, weighting_loss=loss).fit(POINTS)
    apart = np.abs(other.embedding_ - model.embedding_).max()
    assert (apart < 1e-2 * np.abs(model.embedding_).max()) == (loss == "l1")


def test_the_report_recipe_runs():
    fitted = quick(strategy=mag.Joint.report(5), max_epochs=None).fit(POINTS)
    assert len(fitted.history_["epoch"]) == 5
    assert set(fitted.history_["learning_rate"]) == {1e-2}


def test_own_architecture_and_device():
    modules = (torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))
    fitted = quick(architecture=modules, device="cpu").fit(POINTS)
    assert fitted.module_.unit.device.type == "cpu"
    assert fitted.embedding_.shape == (40, 2)


def test_fitting_again_starts_again():
    "An estimator given modules of its own must not go on training them: fit twice is fit once."
    modules = (torch.nn.Linear(3, 2), torch.nn.Linear(2, 3))
    before = copy.deepcopy(modules[0].state_dict())
    estimator = quick(architecture=modules)
    first = estimator.fit_transform(POINTS)
    np.testing.assert_array_equal(estimator.fit_transform(POINTS), first)
    for name, value in modules[0].state_dict().items():
        assert torch.equal(before[name], value), "the caller's modules were changed"


# ---- reproducible


def test_random_state(model):
    np.testing.assert_array_equal(quick().fit_transform(POINTS), model.embedding_)
    assert not np.array_equal(quick(random_state=1).fit_transform(POINTS), model.embedding_)


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_random_state_objects(make):
    found = [quick(random_state=make(5)).fit_transform(POINTS) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    generator = make(5)
    apart = [quick(random_state=generator).fit_transform(POINTS) for _ in range(2)]
    assert not np.array_equal(*apart), "a generator goes on from fit to fit"


def test_one_thread_and_two():
    """Sums over threads are taken in another order, and training amplifies the last digit.

    Over ten seeds, three epochs moved no point by more than 2.6 % of the picture's width and no
    loss by more than 1 %; twice that is allowed. After ten epochs it is 10 %: training is chaotic,
    and then only the quality is comparable.
    """
    points = mag.datasets.swiss_roll(500, random_state=0)
    before = torch.get_num_threads()
    latents = []
    losses = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            fitted = quick(strategy=mag.Joint(3)).fit(points)
            latents.append(fitted.embedding_)
            losses.append(fitted.history_["total_loss"])
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(latents[1], latents[0], rtol=0, atol=0.05 * np.ptp(latents[0]))
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)


# ---- transform


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_row_by_row(model, dtype):
    "A row's latent does not depend on the rows beside it, but for the order of sums."
    points = POINTS.astype(dtype)
    together = model.transform(points)
    assert together.dtype == dtype
    alone = np.vstack([model.transform(points[i : i + 1]) for i in range(40)])
    tolerance = (1e-12 if dtype == np.float64 else 1e-5) * np.abs(together).max()
    np.testing.assert_allclose(alone, together, rtol=0, atol=tolerance)
    turned = model.transform(points[::-1])
    np.testing.assert_allclose(turned, together[::-1], rtol=0, atol=tolerance)


def test_precision_follows_the_input(model):
    double = model.transform(POINTS)
    single = model.transform(POINTS.astype(np.float32))
    half = model.transform(torch.from_numpy(POINTS).half())
    assert (double.dtype, single.dtype, half.dtype) == (np.float64, np.float32, torch.float16)
    assert np.abs(double - single).max() > 0, "double precision is computed, not cast"
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-5 * np.abs(double).max())
    np.testing.assert_allclose(half.double(), double, rtol=0, atol=1e-2 * np.abs(double).max())
    assert model.inverse_transform(single).dtype == np.float32
    assert model.module_.unit.dtype == torch.float32


def test_transform_is_in_evaluation_mode_and_changes_nothing(model):
    before = [value.clone() for value in model.module_.state_dict().values()]
    model.transform(POINTS * 5)
    model.inverse_transform(model.embedding_)
    after = model.module_.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_transform_differentiates_in_its_input(model, dtype):
    points = torch.from_numpy(POINTS).to(dtype).requires_grad_()
    latent = model.transform(points)
    (gradient,) = torch.autograd.grad(latent.square().sum(), points)
    assert gradient.dtype == dtype
    assert gradient.abs().max() > 0
    assert not model.transform(points.detach()).requires_grad


def test_inverse_transform_answers_in_the_units_of_the_data():
    points = POINTS * 100 + 500
    plan = {"strategy": mag.Joint(60), "max_epochs": None, "weighting_coefficient": 0.0}
    fitted = quick(**plan).fit(points)
    back = fitted.inverse_transform(fitted.transform(points))
    miss = np.square(back - points).mean() / points.var(0).mean()
    assert miss < 0.1  # nine tenths of the variance is back


def test_the_same_data_in_other_units():
    "Points 1024 times as large at 1/1024 of the scale: with λ in squared units the same fit."
    settings = {"strategy": mag.Joint.report(10), "max_epochs": None}
    here = quick(weighting_coefficient=1.0, **settings).fit(POINTS)
    larger = quick(weighting_coefficient=1.0 * 1024**2, scale=1 / 1024, **settings)
    there = larger.fit(POINTS * 1024)
    np.testing.assert_allclose(there.weighting_, here.weighting_, rtol=0, atol=1e-12)
    # Adam's ε and weight decay do not scale with the loss: close, not equal
    slack = 0.02 * np.abs(here.embedding_).max()
    np.testing.assert_allclose(there.embedding_ / 1024, here.embedding_, rtol=0, atol=slack)
    weights = there.embedding_weighting_, here.embedding_weighting_
    np.testing.assert_allclose(*weights, rtol=0, atol=0.02)


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
def test_containers(name, model):
    given = CONTAINERS[name]
    fitted = quick().fit(given)
    latent = fitted.transform(given)
    stored = (fitted.embedding_, fitted.weighting_, fitted.embedding_weighting_)
    tensors = isinstance(given, torch.Tensor)
    for answer in (latent, fitted.inverse_transform(latent), *stored):
        assert type(answer) is (torch.Tensor if tensors else np.ndarray)
        assert answer.dtype == (given.dtype if tensors or name == "float32" else np.float64)
    assert not getattr(fitted.embedding_, "requires_grad", False), "what is stored holds no graph"
    if name != "whole":  # training amplifies the rounding of the input
        found = np.asarray(fitted.embedding_)
        np.testing.assert_allclose(found, model.embedding_, rtol=0, atol=0.05)


def test_the_input_is_not_written_to():
    for points in (POINTS.copy(), torch.from_numpy(POINTS.copy())):
        quick().fit(points).transform(points)
        np.testing.assert_array_equal(points, POINTS)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_read_only_input(dtype, tmp_path):
    "Frozen arrays and maps of files are as good as any."
    frozen = POINTS.astype(dtype)
    np.save(tmp_path / "points.npy", frozen)
    frozen.flags.writeable = False
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    wanted = quick().fit(POINTS.astype(dtype))
    for points in (frozen, mapped, pd.DataFrame(frozen)):
        fitted = quick().fit(points)
        np.testing.assert_array_equal(fitted.embedding_, wanted.embedding_)
        latent = fitted.transform(points)
        latent.flags.writeable = False
        assert np.isfinite(fitted.inverse_transform(latent)).all()
        assert fitted.score(points) == wanted.score(points)
    assert (np.load(tmp_path / "points.npy") == frozen).all()


def test_names_of_columns():
    frame = pd.DataFrame(POINTS, columns=["x", "y", "z"])
    fitted = quick().fit(frame)
    assert list(fitted.feature_names_in_) == ["x", "y", "z"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform(frame)
    answer = fitted.set_output(transform="pandas").transform(frame)
    assert list(answer.columns) == ["magnitudeautoencoder0", "magnitudeautoencoder1"]
    assert (answer.index == frame.index).all()


# ---- scikit-learn's manners


def test_parameters():
    model = quick(n_components=3, solver=mag.LU())
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert twin is not model
    assert set(model.get_params()) == {
        "n_components",
        "architecture",
        "scale",
        "weighting_coefficient",
        "weighting_loss",
        "strategy",
        "solver",
        "learning_rate",
        "max_epochs",
        "batch_size",
        "validation_fraction",
        "device",
        "random_state",
        "progress",
        "callbacks",
    }
    assert model.set_params(n_components=1, scale=2.0) is model
    assert (model.n_components, model.scale) == (1, 2.0)
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


def test_deepcopy(model):
    twin = copy.deepcopy(model)
    assert twin.module_ is not model.module_
    np.testing.assert_array_equal(twin.transform(POINTS), model.transform(POINTS))


def test_progress_can_be_silent(capfd):
    quick().fit(POINTS)
    assert capfd.readouterr() == ("", "")
    quick(progress=True).fit(POINTS)
    out, error = capfd.readouterr()
    assert out == ""
    assert "epoch" in error
