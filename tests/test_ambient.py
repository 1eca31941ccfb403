"""Nothing around a fit changes it, and a fit changes nothing around it.

Modes of torch, global generators, other threads, other processes; and an earlier fit, when the next
one fails.
"""

import contextlib
import os
import pickle
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from small_models import POINTS, quick
from torch import nn
from torch.testing import assert_close

import magnitude_ae as mag
from magnitude_ae import autoencoder, boundary, fitting
from magnitude_ae.architectures import build
from magnitude_ae.solvers import SingularSimilarityError, Solver

SINGLE = torch.from_numpy(POINTS).float()


DROPPING = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Dropout(0.2), nn.Linear(8, 2))
PLAIN = nn.Linear(2, 3)


def noisy(**settings):
    """An autoencoder whose layers draw numbers in every step."""
    return quick(architecture=(DROPPING, PLAIN), **settings)


# ---- modes of torch


@contextlib.contextmanager
def default_dtype(dtype):
    """Within, new tensors are of this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(device):
    """Within, new tensors are on this device."""
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def everything():
    """Within, all of it at once."""
    with contextlib.ExitStack() as stack:
        for name in ("inference_mode", "float64", "default device", "autocast"):
            stack.enter_context(AMBIENT[name]())
        yield


AMBIENT = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": lambda: default_dtype(torch.float64),
    "default device": lambda: default_device("meta"),
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "everything": everything,
}


@pytest.fixture(scope="module")
def model():
    return quick().fit(POINTS)


@pytest.fixture(scope="module")
def detector():
    return mag.BoundaryDetector().fit(POINTS)


def fits():
    """What fits give, by name: an estimator of each kind, in either precision."""
    own = quick().fit(POINTS)
    found = mag.BoundaryDetector().fit(SINGLE)
    return {
        "embedding": own.embedding_,
        "weighting": own.weighting_,
        "embedding_weighting": own.embedding_weighting_,
        "single": quick().fit(SINGLE).embedding_,
        "noisy": noisy().fit(SINGLE).embedding_,
        "automatic scale": quick(scale="auto").fit(SINGLE).embedding_,
        "scores": found.score_samples(SINGLE),
        "threshold": np.array([found.offset_]),
    }


def answers(model, detector, folder):
    """What fitted estimators answer, by name."""
    model.save(folder / "model")
    loaded = mag.MagnitudeAutoencoder.load(folder / "model")
    latent = model.transform(SINGLE)
    return {
        "latent": latent,
        "double": model.transform(POINTS),
        "back": model.inverse_transform(latent),
        "score": np.array([model.score(SINGLE)]),
        "loaded": loaded.transform(SINGLE),
        "scores": detector.score_samples(SINGLE),
        "inside": detector.predict(SINGLE),
        "area": np.array([detector.score(SINGLE, np.arange(40) % 2)]),
    }


def same(found, expected):
    """Equal to the bit, in type and values, on the CPU and without a graph."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert type(value) is type(expected[name]), name
        assert value.dtype == expected[name].dtype, name
        assert not getattr(value, "requires_grad", False), name
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.fixture(scope="module")
def expected_fits():
    return fits()


@pytest.mark.parametrize("mode", AMBIENT)
def test_fits_do_not_depend_on_modes_of_torch(mode, expected_fits):
    with AMBIENT[mode]():
        found = fits()
    same(found, expected_fits)


@pytest.mark.parametrize("mode", AMBIENT)
def test_answers_do_not_depend_on_modes_of_torch(mode, model, detector, tmp_path):
    expected = answers(model, detector, tmp_path)
    with AMBIENT[mode]():
        found = answers(model, detector, tmp_path)
    same(found, expected)


@pytest.mark.parametrize("mode", AMBIENT)
@pytest.mark.parametrize("name", ["linear", "convolutional"])
def test_networks_begin_with_the_same_values_in_all_modes(mode, name):
    expected = build(name, 400, 2, seed=3).state_dict()
    with AMBIENT[mode]():
        found = build(name, 400, 2, seed=3)
    assert not any(parameter.is_inference() for parameter in found.parameters())
    assert_close(found.state_dict(), expected, rtol=0, atol=0)


def test_a_model_loaded_in_inference_mode_can_be_differentiated(model, tmp_path):
    model.save(tmp_path / "model")
    with torch.inference_mode():
        loaded = mag.MagnitudeAutoencoder.load(tmp_path / "model")
    points = SINGLE.clone().requires_grad_()
    loaded.transform(points).sum().backward()
    assert points.grad.abs().max() > 0


def test_gradients_are_recorded_where_the_caller_records_them(model, detector):
    points = torch.from_numpy(POINTS.copy()).requires_grad_()
    for ask in (model.transform, model.inverse_transform, detector.score_samples):
        given = points if ask != model.inverse_transform else points[:, :2]
        assert ask(given).requires_grad
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                assert not ask(given).requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_may_be_inference_tensors(dtype):
    plain = torch.from_numpy(POINTS).to(dtype)
    with torch.inference_mode():
        points = plain.clone()
    assert points.is_inference()
    for estimator, ask in (
        (quick(), "transform"),
        (quick(), "score"),
        (mag.BoundaryDetector(), "score_samples"),
        (mag.BoundaryDetector(metric="chebyshev"), "score_samples"),
    ):
        expected = getattr(estimator.fit(plain), ask)(plain)
        found = getattr(estimator.fit(points), ask)(points)
        assert_close(found, expected, rtol=0, atol=0)


def test_fitted_estimators_keep_their_own_copy_of_the_points(detector):
    points = torch.from_numpy(POINTS.copy())
    fitted = mag.BoundaryDetector().fit(points)
    points.zero_()
    np.testing.assert_array_equal(fitted.score_samples(POINTS), detector.score_samples(POINTS))


# ---- global generators


def global_states():
    """The states of all generators that belong to nobody."""
    numpy_state = np.random.get_state()
    return (
        torch.get_rng_state().tolist(),
        [numpy_state[1].tolist(), *numpy_state[2:]],
        random.getstate(),
    )


def seed_everything(seed):
    """Seeds the generators that belong to nobody."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


STRATEGIES = {
    "burn-in": mag.BurnIn(2, 15, joint=mag.Joint(3)),
    "joint": mag.Joint(3),
    "report": mag.Joint.report(3),
    "predictor-corrector": mag.PredictorCorrector(n_rounds=1, batch_size=20),
    "cells": mag.Cells(1, 20, n_epochs=2, cell_size=15, halo=5),
}


@pytest.mark.parametrize("make", [quick, noisy])
@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.filterwarnings("ignore:training ended")
def test_fits_neither_read_nor_change_global_generators(name, make):
    found = []
    for seed in (0, 1):
        seed_everything(seed)
        before = global_states()
        fitted = make(strategy=STRATEGIES[name], max_epochs=None).fit(POINTS)
        assert global_states() == before
        found.append(fitted.embedding_)
    np.testing.assert_array_equal(*found)


def test_without_a_random_state_every_fit_is_another_one():
    found = []
    for _ in range(2):
        seed_everything(0)
        before = global_states()
        found.append(quick(random_state=None).fit(POINTS))
        assert global_states() == before
    assert found[0].seed_ != found[1].seed_
    assert not np.array_equal(found[0].embedding_, found[1].embedding_)


def test_the_detector_leaves_global_generators_alone():
    before = global_states()
    mag.BoundaryDetector().fit(POINTS).score_samples(POINTS)
    assert global_states() == before


# ---- threads


def four_fits(make, within):
    """Seeded fits in a pool of threads, beside something that goes on meanwhile."""
    stop = threading.Event()
    with ThreadPoolExecutor(5) as pool:
        beside = pool.submit(within, stop)
        fitted = list(pool.map(lambda seed: make(random_state=seed).fit(POINTS), range(4)))
        stop.set()
        beside.result()
    return [each.embedding_ for each in fitted]


def draw_meanwhile(stop):
    """Draws from all global generators, and seeds them."""
    while not stop.is_set():
        seed_everything(5)
        nn.Linear(3, 3)
        np.random.random(7)
        random.random()


@pytest.mark.parametrize("make", [quick, noisy])
@pytest.mark.parametrize("within", [threading.Event.wait, draw_meanwhile])
def test_seeds_hold_in_threads(make, within):
    serial = [make(random_state=seed).fit(POINTS).embedding_ for seed in range(4)]
    for found, expected in zip(four_fits(make, within), serial, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_seeded_draws_beside_a_fit_are_those_without():
    def drawn():
        seed_everything(9)
        return [(torch.rand(()).item(), np.random.random(), random.random()) for _ in range(2000)]

    alone = drawn()
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(noisy().fit, POINTS)
        found = drawn()
        beside.result()
    assert found == alone


# ---- processes


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
def test_every_public_name_is_pickled_by_name(dumps):
    for name in mag.__all__:
        value = getattr(mag, name)
        if not isinstance(value, ModuleType):
            assert pickle.loads(dumps(value)) is value, name


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
def test_the_package_itself_is_pickled_by_name(dumps):
    assert pickle.loads(dumps(mag)) is mag
    assert len(dumps(mag)) < 200


def test_functions_that_use_the_package_can_be_sent_by_value():
    def job(points):
        return mag.magnitude(points), mag.datasets.disc(3, random_state=0)

    found = pickle.loads(cloudpickle.dumps(job))(POINTS)
    assert found[0] == mag.magnitude(POINTS)


@pytest.mark.parametrize("estimator", [quick(), mag.BoundaryDetector()], ids=["model", "detector"])
@pytest.mark.parametrize("fitted", [False, True], ids=["new", "fitted"])
def test_estimators_are_pickled(estimator, fitted, tmp_path):
    if fitted:
        estimator = estimator.fit(POINTS)
    joblib.dump(estimator, tmp_path / "estimator")
    twins = [
        pickle.loads(pickle.dumps(estimator)),
        pickle.loads(cloudpickle.dumps(estimator)),
        joblib.load(tmp_path / "estimator"),
    ]
    ask = "transform" if isinstance(estimator, mag.MagnitudeAutoencoder) else "score_samples"
    for twin in twins:
        assert twin.get_params() == estimator.get_params()
        if fitted:
            found = getattr(twin, ask)(POINTS)
            np.testing.assert_array_equal(found, getattr(estimator, ask)(POINTS))


SCRIPT = """
import numpy as np
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV
import magnitude_ae as mag

points = np.random.default_rng(0).standard_normal((40, 3))

def job(scale):
    return mag.magnitude(points, scale)

def own(model, points, y=None):
    return mag.boundary_correlation(points, model.transform(points), scale=model.scale_)

plan = mag.Joint(2)
model = mag.MagnitudeAutoencoder(scale=1.0, strategy=plan, random_state=0, progress=False)
grid = {"weighting_coefficient": [1.0, 9.0]}
search = GridSearchCV(model, grid, cv=2, n_jobs=2, scoring=own, error_score="raise").fit(points)
alone = GridSearchCV(model, grid, cv=2, scoring=own).fit(points)
scales = (0.5, 1.0, 2.0)
print(Parallel(n_jobs=2)(delayed(job)(s) for s in scales) == [job(s) for s in scales])
print(np.allclose(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]))
"""


def test_jobs_of_a_script_go_to_other_processes():
    """As people write them: functions of the script itself, which workers cannot import."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["True", "True"], done.stderr


# ---- all or nothing


@dataclass(frozen=True)
class Fails(Solver):
    """A solver that raises."""

    error: BaseException

    def factor(self, similarity):
        raise self.error


class FailsToPlan:
    """A strategy that is interrupted."""

    def phases(self, *args, **kwargs):
        raise KeyboardInterrupt


def fail(training):
    """A callback that divides by zero."""
    raise ZeroDivisionError


def leave(training):
    """A callback that ends the process."""
    raise SystemExit


def spoiled():
    points = POINTS.copy()
    points[3, 1] = np.nan
    return points


ERRORS = (
    KeyboardInterrupt(),
    SystemExit(),
    MemoryError("too large"),
    SingularSimilarityError("singular"),
    ZeroDivisionError(),
)
FAILURES = {  # settings, points, what is raised
    **{type(error).__name__: ({"solver": Fails(error)}, POINTS, type(error)) for error in ERRORS},
    "wrong scale": ({"scale": -1}, POINTS, ValueError),
    "wrong solver": ({"solver": "cholesky"}, POINTS, TypeError),
    "NaN": ({}, spoiled(), ValueError),
    "one row": ({}, POINTS[:1], ValueError),
    "other columns, all equal": ({"scale": "auto"}, np.ones((5, 2)), ValueError),
    "text": ({}, pd.DataFrame({"a": ["x", "y"]}), ValueError),
    "names of two kinds": ({}, pd.DataFrame(POINTS, columns=[0, "b", 2]), TypeError),
    "a number": ({}, 3.0, TypeError),
}
FAILURES_OF_TRAINING = {
    "architecture": ({"architecture": "transformer"}, POINTS, ValueError),
    "columns of the architecture": ({"architecture": "convolutional"}, POINTS, ValueError),
    "strategy": ({"strategy": FailsToPlan()}, POINTS, KeyboardInterrupt),
    "callback": ({"callbacks": [fail]}, POINTS, ZeroDivisionError),
    "callback that ends": ({"callbacks": [leave]}, POINTS, SystemExit),
    "spread": ({"scale": 1e-25}, POINTS * 1e30, ValueError),
}
FRAME = pd.DataFrame(POINTS, columns=["x", "y", "z"])


def refit_fails(estimator, settings, points, error, **kwargs):
    """The fit raises, and leaves everything as it was."""
    before = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    plain = estimator.get_params(deep=False)
    with pytest.raises(error):
        estimator.set_params(**settings).fit(points, **kwargs)
    estimator.set_params(**{name: plain[name] for name in settings})
    after = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


@pytest.mark.parametrize("case", {**FAILURES, **FAILURES_OF_TRAINING})
def test_a_failed_fit_leaves_the_autoencoder_as_it_was(case):
    settings, points, error = {**FAILURES, **FAILURES_OF_TRAINING}[case]
    if case == "KeyboardInterrupt":  # after an epoch it would end the training, and keep that
        settings = {**settings, "strategy": mag.Joint(1)}
    fitted = quick().fit(FRAME)
    latent = fitted.transform(FRAME)
    refit_fails(fitted, settings, points, error)
    np.testing.assert_array_equal(fitted.transform(FRAME), latent)
    refit_fails(quick(), settings, points, error)


@pytest.mark.parametrize(
    "case, method",
    [
        (case, method)
        for case, (settings, *_) in FAILURES.items()
        for method in ("subsets", "exact")
        # a solver is used by exact weights only
        if method == "exact" or not isinstance(settings.get("solver"), Fails)
    ],
)
def test_a_failed_fit_leaves_the_detector_as_it_was(case, method):
    settings, points, error = FAILURES[case]
    fitted = mag.BoundaryDetector(method=method).fit(FRAME)
    scores = fitted.score_samples(FRAME)
    refit_fails(fitted, settings, points, error)
    np.testing.assert_array_equal(fitted.score_samples(FRAME), scores)
    unfitted = mag.BoundaryDetector(method=method)
    refit_fails(unfitted, settings, points, error)
    with pytest.raises(NotFittedError):
        unfitted.predict(FRAME)


def test_a_checkpoint_that_is_not_there_leaves_the_autoencoder_as_it_was(tmp_path):
    missing = tmp_path / "missing"
    refit_fails(quick().fit(FRAME), {}, POINTS[:, :2], FileNotFoundError, resume_from=missing)


def interrupt_after(n_calls, function):
    """The function, interrupted when it is called once more."""
    left = [n_calls]

    def interrupted(*args, **kwargs):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return function(*args, **kwargs)

    return interrupted


@pytest.mark.parametrize(
    "module, name, n_calls",
    [
        (fitting, "Projection", 0),  # of the latents, when the network is trained
        (autoencoder, "restore", 0),  # half of the attributes are set
        (boundary, "boundary_function", 0),
    ],
)
def test_interrupts_leave_no_mixture_of_two_fits(module, name, n_calls, monkeypatch):
    make = mag.BoundaryDetector if module is boundary else quick
    fitted = make().fit(FRAME)
    other = pd.DataFrame(POINTS[:, :2], columns=["a", "b"])
    monkeypatch.setattr(module, name, interrupt_after(n_calls, getattr(module, name)))
    refit_fails(fitted, {}, other, KeyboardInterrupt)
    assert fitted.n_features_in_ == 3
    assert list(fitted.feature_names_in_) == ["x", "y", "z"]


def test_a_fit_forgets_the_names_of_the_last_one():
    for estimator in (quick(), mag.BoundaryDetector()):
        assert hasattr(estimator.fit(FRAME), "feature_names_in_")
        assert not hasattr(estimator.fit(POINTS[:, :2]), "feature_names_in_")
