"""Every explorer driven from Python: the picture follows its controls and is drawn once."""

import html
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from PIL import Image

import magnitude_ae as mag
from magnitude_ae import explore
from magnitude_ae.explore import (
    comparisons,
    panels,
    picture,
    runs,
    scales,
    selections,
    shell,
    snapshots,
    trainings,
)
from magnitude_ae.reproduce import Experiment, run_or_load

root = Path(__file__).parent.parent
disc = mag.datasets.disc(60, random_state=0)
ball = mag.datasets.ball(60, random_state=0)
images = np.random.default_rng(0).random((60, 4, 4))
EXPLORERS = ("scale", "training", "epochs", "sweep", "linked", "methods")


@pytest.fixture(autouse=True)
def no_figure_of_pyplot_is_left():
    before = plt.get_fignums()  # by the tests before these
    yield
    assert plt.get_fignums() == before


def estimator(n_epochs=3, **settings):
    return mag.MagnitudeAutoencoder(
        **{
            "scale": 1.0,
            "strategy": mag.Joint(n_epochs),
            "random_state": 0,
            "progress": False,
            **settings,
        }
    )


@pytest.fixture(scope="module")
def fitted():
    return estimator(
        strategy=mag.BurnIn(2, joint=mag.Joint(6)), callbacks=[mag.Snapshots(every=2)]
    ).fit(ball)


@pytest.fixture(scope="module")
def fitted_weightings(fitted):
    "Of the points and of the embedding, at the scale of the training."
    return mag.weighting(ball), mag.weighting(fitted.embedding_)


@pytest.fixture(scope="module")
def disc_function():
    return mag.magnitude_function(disc)


@pytest.fixture(scope="module")
def on_disc():
    "An explorer of scales that several tests move."
    return explore.scale(disc)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "Stored trainings: two walks, two seeds."
    folder = tmp_path_factory.mktemp("runs")
    changes = (
        {"weighting_coefficient": 0.0},
        {"weighting_coefficient": 5.0},
        {"scale": 2.0},
        {"scale": 1.0},
    )
    with warnings.catch_warnings():
        # some latents of trainings this short are no better than their points
        warnings.simplefilter("ignore")
        for seed in (0, 1):
            for change in changes:
                experiment = Experiment(
                    "ball", "joint", seed=seed, n_points=40, max_epochs=2, **change
                )
                run_or_load(experiment, folder)
    return folder


@pytest.fixture(scope="module")
def on_folder(folder):
    "An explorer of stored trainings that several tests move."
    return explore.sweep(folder)


@pytest.fixture(scope="module")
def on_epochs(fitted):
    "An explorer of the snapshots that several tests move."
    return explore.epochs(ball, fitted)


@pytest.fixture
def on_ball(fitted, linked_once):
    "An explorer of linked points, nothing selected."
    linked_once.clear.click()
    return linked_once


@pytest.fixture(scope="module")
def linked_once(fitted):
    return explore.linked(ball, fitted)


def pixels(png):
    "A PNG as an array; it must be whole."
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def told(explorer):
    "The words of the badge."
    return html.unescape(re.sub("<[^>]*>", "", explorer.badge.value))


def count(monkeypatch, module, name):
    "A list that grows with every call of a function of the module."
    calls = []
    function = getattr(module, name)

    def counted(*arguments, **more):
        calls.append(1)
        return function(*arguments, **more)

    monkeypatch.setattr(module, name, counted)
    return calls


def losses_of(figure):
    "The axes with the losses."
    (ax,) = [ax for ax in figure.axes if ax.get_xlabel() == "epoch"]
    return ax


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


# The picture


def test_the_picture_needs_no_network_and_no_build():
    script = explore.Picture._esm + explore.Picture._css
    assert "export default" in script
    assert "import " not in script
    assert "//" not in re.sub(r"(^|\s)//.*", "", script)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_script_is_javascript(tmp_path):
    script = tmp_path / "picture.mjs"
    shutil.copy(root / "magnitude_ae" / "explore" / "picture.js", script)
    done = subprocess.run(["node", "--check", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name, value",
    [
        ("brush", [0.1, 0.2]),
        ("brush", [0, 0, 1, 2]),
        ("click", [0.5]),
        ("click", [-0.1, 0.5]),
        ("click", [0.1, 0.2, 0.3]),
    ],
)
def test_places_outside_of_the_picture_are_refused(name, value):
    picture = explore.Picture()
    with pytest.raises(traitlets.TraitError, match=name):
        picture.set_trait(name, value)
    assert picture.brush == picture.click == []


def test_png_takes_figures_only():
    with pytest.raises(TypeError, match="figure is str"):
        explore.png("no figure")


def test_figures_show_themselves(on_disc):
    figure = on_disc.figure()
    assert figure._repr_png_() == explore.png(figure)


def test_a_film_shows_its_pictures_in_order():
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    files = [io.BytesIO() for _ in frames]
    for frame, file in zip(frames, files, strict=True):
        frame.save(file, format="png")
    with Image.open(io.BytesIO(picture.film(file.getvalue() for file in files))) as film:
        assert film.n_frames == 3
        for number, frame in enumerate(frames):
            film.seek(number)
            assert film.convert("RGB").getpixel((3, 3)) == frame.getpixel((3, 3))


# The shell


class Counter(shell.Explorer):
    "A minimal explorer; `drawn` lists what was drawn."

    def __init__(self):
        self.number = 0
        self.drawn = []
        super().__init__("counter", [])
        self.refresh()

    def settings(self):
        return self.number

    def draw(self, settings):
        self.drawn.append(settings)
        return panels.Drawing(figsize=(1, 1))

    def describe(self, settings):
        return shell.Words(f"the number {settings}", str(settings))

    def show(self, number):
        self.number = number
        self.refresh()


def test_pictures_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(Counter, "n_kept", 2)
    explorer = Counter()
    for number in (1, 0, 2, 0, 1):
        explorer.show(number)
    assert explorer.drawn == [0, 1, 2, 1]  # 1 was given up for 2, since 0 was seen later


def test_changes_that_belong_together_make_one_picture():
    explorer = Counter()
    with explorer.together():
        explorer.show(1)
        explorer.show(2)
        assert explorer.drawn == [0]
    assert explorer.drawn == [0, 2] and told(explorer) == "2"


def test_a_failure_inside_together_leaves_the_explorer_awake():
    explorer = Counter()
    with pytest.raises(ZeroDivisionError), explorer.together():
        raise ZeroDivisionError
    explorer.show(3)
    assert explorer.drawn[-1] == 3


# Scale


def test_scale_shows_what_the_function_draws(on_disc, disc_function):
    for t in (0.7, 3.0):
        on_disc.slider.value = t
        expected = explore.scale_figure(disc, mag.weighting(disc, t), t, *disc_function)
        assert on_disc.picture.png == explore.png(expected)
        np.testing.assert_array_equal(on_disc.weighting, mag.solve(disc, t).value)
        assert f"t = {t:.3g}" in on_disc.picture.description
        assert "condition number" in told(on_disc)


def test_scale_solves_and_draws_each_stop_once(on_disc, monkeypatch):
    solved = count(monkeypatch, scales, "solve")
    drawn = count(monkeypatch, scales, "scale_figure")
    looked = count(monkeypatch, scales, "condition")
    pictures = []
    for t in (0.51, 1.01, 2.01, 0.51, 1.01, 2.01):
        on_disc.slider.value = t
        pictures.append(on_disc.picture.png)
    assert len(solved) == len(drawn) == len(looked) == 3
    assert pictures[:3] == pictures[3:] and len(set(pictures)) == 3


def test_a_stop_is_known_again_after_rounding_in_the_browser(on_disc, monkeypatch):
    on_disc.slider.value = 1.3
    drawn = count(monkeypatch, scales, "scale_figure")
    on_disc.slider.value = 1.3 * (1 + 1e-12)
    assert drawn == []


def test_scale_goes_from_one_shape_to_another_and_back(monkeypatch):
    explorer = explore.scale({"a": disc, "b": 10 * ball})
    first = explorer.picture.png
    range_of_a = (explorer.slider.min, explorer.slider.max)
    functions = count(monkeypatch, scales, "magnitude_function")
    sent = []
    monkeypatch.setattr(
        type(explorer.slider),
        "send_state",
        lambda slider, key=None: sent.append({key} if isinstance(key, str) else set(key)),
    )
    explorer.shape.value = "b"
    # The range first, in one message, then the value: in one message with the range, the browser
    # might take the value first and round what it shows to the steps it knows.
    assert sent == [{"min", "max", "step"}, {"value"}]
    assert explorer.picture.png != first
    assert len(functions) == 1 and explorer.weighting.shape == (60,)
    assert explorer.slider.max < range_of_a[1]
    assert 10**explorer.slider.min <= explorer.slider.value <= 10**explorer.slider.max
    explorer.shape.value = "a"
    assert explorer.picture.png == first and len(functions) == 1
    assert (explorer.slider.min, explorer.slider.max) == range_of_a


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_scale_opens_where_a_twentieth_of_the_points_are_effective(unit):
    points = unit * mag.datasets.disc(300, random_state=0)
    space = scales.Space("disc", points)
    explorer = scales.ScaleExplorer({"disc": points})
    assert explorer.slider.value == space.opening
    assert explorer.weighting.sum() == pytest.approx(1 + 0.05 * 299, rel=0.1)


def test_scale_offers_shapes(on_disc):
    explorer = explore.scale()
    assert explorer.shape.options == tuple(explore.SHAPES)
    assert explorer.space.points.shape == (1000, 2)
    assert on_disc.shape.options == ("your points", *explore.SHAPES)


@pytest.mark.parametrize(
    "points",
    [disc.tolist(), pd.DataFrame(disc), torch.tensor(disc, requires_grad=True)],
    ids=["list", "frame", "tensor"],
)
def test_scale_takes_any_container(points, on_disc):
    explorer = explore.scale(points)
    on_disc.slider.value = explorer.slider.value
    assert explorer.picture.png == on_disc.picture.png


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_scale_draws_any_dimension(width):
    points = np.random.default_rng(0).random((30, width))
    figure = explore.scale(points).figure()
    first = "3d" if width == 3 else "rectilinear"
    assert [ax.name for ax in figure.axes] == [first, "rectilinear", "rectilinear"]


@pytest.mark.parametrize(
    "points, error, words",
    [
        ([[0.0, np.nan], [1.0, 2.0]], ValueError, "points has 1 row"),
        ([[1.0, 1.0]] * 3, ValueError, "points has fewer than two different points"),
        ({"twins": [[1.0]] * 3}, ValueError, "'twins'"),
        ({"bad": "text"}, TypeError, r"points\['bad'\]"),
        ({}, ValueError, "points is empty"),
        ([1.0, 2.0], ValueError, "points must have two dimensions"),
    ],
)
def test_scale_names_what_is_wrong(points, error, words):
    with pytest.raises(error, match=words):
        explore.scale(points)


@pytest.mark.parametrize(
    "spread, kind, word",
    [
        (1.0, "good", "well conditioned"),
        (1e-9, "fair", "poorly conditioned"),
        (1e-15, "bad", "hardly more than rounding"),
    ],
)
def test_the_badge_knows_the_condition(spread, kind, word):
    "Two points at distance d have the condition number (1 + e^-d) / (1 - e^-d)."
    pair = np.array([[0.0], [spread]])
    condition = scales.condition(pair, 1.0)
    exact = (1 + np.exp(-spread)) / -np.expm1(-spread)
    assert condition == pytest.approx(exact, rel=0.2) or (condition == np.inf and exact > 1e14)
    text, found = scales.Weighed(mag.solve(pair, 1.0), condition).judgement()
    assert word in text and found == kind


def test_what_goes_wrong_is_shown_and_raised(on_disc, monkeypatch):
    before = on_disc.picture.png

    def fails(*_):
        raise mag.SingularSimilarityError("no <weighting> here")

    monkeypatch.setattr(scales, "solve", fails)
    with pytest.raises(mag.SingularSimilarityError):
        on_disc.slider.value = 0.123
    assert "no <weighting> here" in told(on_disc)
    assert "<weighting>" not in on_disc.badge.value
    assert on_disc.picture.png == before


# Weights that are all equal, but for rounding


def polygon(n):
    angles = 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angles), np.sin(angles)])


EQUAL = {
    "two points": np.array([[0.0], [1.0]]),
    "square": np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
    "cube": np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)]),
    "simplex": np.eye(5),
    "triangle": polygon(3),
    "heptagon": polygon(7),
}


@pytest.mark.parametrize("points", EQUAL.values(), ids=EQUAL)
def test_equal_weights_are_one_bar_and_one_colour(points):
    explorer = explore.scale(points)
    figure = explorer.figure()
    bars = [bar.get_height() for bar in figure.axes[1].patches]
    assert sorted(bars)[-2:] == [0, len(points)]
    shown = figure.axes[0].collections[0]
    colours = shown.to_rgba(explorer.weighting)
    np.testing.assert_allclose(colours, np.tile(colours[0], (len(points), 1)))
    for end in (explorer.space.low, explorer.space.high):
        explorer.slider.value = 10**end
        assert pixels(explorer.picture.png).size


@pytest.mark.parametrize("name", ["two points", "cube", "heptagon"])
def test_equal_weights_are_drawn_by_all(name):
    points = EQUAL[name]
    weights = mag.weighting(points)
    latent = points[:, :2]
    history = {"epoch": [0, 1], "total_loss": [2.0, 1.0]}
    losses = {"reconstruction loss": [0.1, 0.2], "weighting loss": [0.1, 0.3]}
    walk = pd.DataFrame({"t": [1.0, 2.0], **losses, "ρ": [np.nan] * 2, "trustworthiness": [1, 1]})
    figures = [
        explore.training_figure(points, latent, weights, weights, history),
        explore.sweep_figure(walk, "t", 2.0, points, latent, weights, weights),
        explore.linked_figure(points, latent, weights, weights, selected=[0]),
        explore.methods_figure(points, {"double": 2 * points}, 1.0, same_axes=True),
    ]
    for figure in figures:
        assert pixels(explore.png(figure)).size


def test_weights_that_differ_are_not_drawn_as_equal():
    weights = 1.0 + 1e-4 * np.arange(5.0)
    line = np.arange(5.0)[:, None]
    figure = explore.scale_figure(line, weights, 1.0, *mag.magnitude_function(line))
    assert sum(bar.get_height() > 0 for bar in figure.axes[1].patches) == 5


# Training


def test_training_from_start_to_end():
    model = estimator()
    explorer = explore.training(ball, model, seconds=1e-3)
    before = explorer.picture.png
    assert explorer.state == "ready" and not explorer.start.disabled
    assert explorer.pause.disabled and explorer.stop.disabled
    explorer.start.click()
    assert explorer.wait(30) and explorer.state == "finished"
    found = explorer.autoencoder
    expected = explore.training_figure(
        ball, found.embedding_, found.weighting_, found.embedding_weighting_, found.history_
    )
    assert explorer.picture.png == explore.png(expected) != before
    np.testing.assert_array_equal(found.embedding_, estimator().fit(ball).embedding_)
    assert not hasattr(model, "embedding_") and model.callbacks == () == found.callbacks
    rho = mag.boundary_correlation(ball, found.embedding_, 1.0)
    assert "epoch 3 of 3" in told(explorer) and f"ρ = {rho:.2f}" in told(explorer)


def test_pause_really_pauses_and_stop_keeps_what_was_reached():
    endless = estimator(100_000, strategy=None, max_epochs=100_000)
    explorer = explore.training(ball, endless, seconds=1e-3)
    explorer.start.click()
    wait_for(lambda: "epoch" in told(explorer))
    explorer.pause.click()
    assert explorer.state == "paused" and explorer.pause.disabled and not explorer.resume.disabled
    wait_for(lambda: "paused" in told(explorer))
    reached = told(explorer)
    picture = explorer.picture.png
    time.sleep(0.3)
    assert told(explorer) == reached and explorer.picture.png == picture and not explorer.wait(0)
    explorer.resume.click()
    held_at = reached.split("epoch ")[1]
    wait_for(
        lambda: (
            told(explorer).startswith("training: epoch")
            and told(explorer).split("epoch ")[1] != held_at
        )
    )
    wait_for(lambda: explorer.picture.png != picture)
    explorer.stop.click()
    assert explorer.wait(30) and explorer.state == "stopped" and not explorer.start.disabled
    model = explorer.autoencoder
    assert 0 < len(model.history_["epoch"]) < 100_000 and model.transform(ball).shape == (60, 2)
    assert explorer.picture.png == explore.png(explorer.figure())
    assert losses_of(explorer.figure()).lines


def test_stop_ends_a_paused_training_and_start_begins_anew():
    explorer = explore.training(ball, estimator(100_000), seconds=1e-3)
    explorer.start.click()
    explorer.pause.click()
    explorer.stop.click()
    assert explorer.wait(30) and explorer.state == "stopped"
    first = explorer.autoencoder
    explorer.start.click()
    wait_for(lambda: "training: epoch" in told(explorer))
    explorer.start.click()  # means nothing now
    explorer.stop.click()
    assert explorer.wait(30) and explorer.autoencoder is not first
    assert sum(thread.name == "magnitude-training" for thread in threading.enumerate()) == 0


def test_phases_are_marked(fitted):
    figure = explore.training_figure(
        ball, fitted.embedding_, fitted.weighting_, fitted.embedding_weighting_, fitted.history_
    )
    losses = losses_of(figure)
    words = [text.get_text() for text in losses.texts] + losses.get_legend_handles_labels()[1]
    assert {"burn-in", "joint"} <= set(words)


def test_the_legend_of_the_losses_covers_no_curve(fitted):
    history = {"epoch": [0, 1, 2], "total_loss": [1.0, 1.0, 1.0], "reconstruction_loss": [0.1] * 3}
    figure = explore.training_figure(
        ball, fitted.embedding_, fitted.weighting_, fitted.embedding_weighting_, history
    )
    explore.png(figure)
    ax = losses_of(figure)
    lowest = ax.get_legend().get_window_extent().y0
    highest = max(ax.transData.transform((0, line.get_ydata().max()))[1] for line in ax.lines)
    assert highest < lowest


def test_errors_of_the_thread_are_shown():
    def breaks(training):
        raise RuntimeError("the callback <broke>")

    explorer = explore.training(ball, estimator(callbacks=[breaks]))
    explorer.start.click()
    assert explorer.wait(30) and explorer.state == "failed" and not explorer.start.disabled
    assert "RuntimeError: the callback <broke>" in told(explorer)
    assert not hasattr(explorer.autoencoder, "embedding_")


def test_a_picture_that_cannot_be_drawn_ends_the_training_and_says_so(monkeypatch):
    explorer = explore.training(ball, estimator(100_000), seconds=1e-3)
    monkeypatch.setattr(trainings, "training_figure", lambda *_: 1 / 0)
    explorer.start.click()
    assert explorer.wait(30) and explorer.state == "failed"
    assert "ZeroDivisionError" in told(explorer)


def test_callbacks_of_the_user_are_called_and_kept():
    seen = []
    model = estimator(callbacks=[lambda training: seen.append(training.epoch)])
    explorer = explore.training(torch.tensor(ball), model)
    explorer.start.click()
    assert explorer.wait(30) and seen == [1, 2, 3] and len(explorer.autoencoder.callbacks) == 1
    assert isinstance(explorer.autoencoder.embedding_, torch.Tensor)


@pytest.mark.parametrize("size", [1, 3, 4])  # 2 is everywhere else
def test_latents_of_any_dimension_are_drawn(size):
    explorer = explore.training(ball, estimator(1, n_components=size))
    explorer.start.click()
    assert explorer.wait(30) and explorer.state == "finished", told(explorer)


@pytest.mark.parametrize(
    "wrong, error",
    [
        (dict(points=[[np.inf]]), ValueError),
        (dict(autoencoder="default"), TypeError),
        (dict(seconds=-1), ValueError),
    ],
)
def test_training_names_what_is_wrong(wrong, error):
    with pytest.raises(error, match=next(iter(wrong))):
        explore.training(**{"points": ball, **wrong})


# Epochs


def test_epochs_play(on_epochs, fitted):
    latents = fitted.notes_["snapshots"]
    assert on_epochs.slider.options == (2, 4, 6, 8)
    assert on_epochs.slider.value == 8 and on_epochs.play.max == 3
    pictures = {}
    for k, epoch in enumerate(latents):
        on_epochs.play.value = k
        assert on_epochs.slider.value == epoch and f"after {epoch} epochs" in told(on_epochs)
        np.testing.assert_array_equal(on_epochs.latent, latents[epoch].double().numpy())
        pictures[epoch] = on_epochs.picture.png
    assert len(set(pictures.values())) == 4
    on_epochs.slider.value = 4
    assert on_epochs.play.value == 1
    assert on_epochs.picture.png == pictures[4] == explore.png(on_epochs.figure())


def test_epochs_are_drawn_once_and_on_the_same_axes(monkeypatch):
    explorer = explore.epochs(disc, {30: 3 * disc, 10: disc, 20: 2 * disc}, scale=1.0)
    drawn = count(monkeypatch, snapshots, "training_figure")
    for epoch in (10, 20, 30, 20, 10):
        explorer.slider.value = epoch
    assert len(drawn) == 2 and list(explorer.snapshots) == [10, 20, 30]
    limits = {explorer.draw(epoch).axes[1].get_xlim() for epoch in explorer.snapshots}
    assert len(limits) == 1


@pytest.mark.parametrize(
    "latents, error, words",
    [
        ({}, TypeError, "snapshots"),
        ([disc], TypeError, "snapshots is list"),
        ({1: disc[:5]}, ValueError, r"snapshots\[1\] has 5 rows and points 60"),
    ],
)
def test_epochs_name_what_is_wrong(latents, error, words):
    with pytest.raises(error, match=words):
        explore.epochs(disc, latents)


def test_epochs_of_an_estimator_that_kept_none():
    with pytest.raises(ValueError, match="snapshots is an estimator that kept none"):
        explore.epochs(disc, estimator(1).fit(disc))


# Sweep


def test_sweep_walks(on_folder):
    found = {
        name: (walk.key, sorted(set(walk.runs[walk.key]))) for name, walk in on_folder.walks.items()
    }
    assert found == {
        "ball: λ, at t = 1, joint": ("λ", [0.0, 5.0, 20.0]),
        "ball: t, at λ = 20, joint": ("t", [1.0, 2.0]),
    }
    pictures = set()
    for walk, (key, values) in found.items():
        on_folder.walk.value = walk
        assert [value for _, value in on_folder.slider.options] == values
        assert on_folder.slider.description == key
        for value in values:
            for seed in (0, 1):
                with on_folder.together():
                    on_folder.slider.value = value
                    on_folder.seed.value = seed
                assert on_folder.run[key] == value and on_folder.run["seed"] == seed
                pictures.add(on_folder.picture.png)
    assert len(pictures) == 10


def test_sweep_shows_the_stored_run(on_folder, folder, monkeypatch):
    on_folder.walk.value = "ball: λ, at t = 1, joint"
    with on_folder.together():
        on_folder.slider.value = 5.0
        on_folder.seed.value = 1
    experiment = Experiment(
        "ball", "joint", seed=1, n_points=40, max_epochs=2, weighting_coefficient=5.0
    )
    result, arrays = run_or_load(experiment, folder)
    latent = arrays["Magnitude AE"]
    expected = explore.sweep_figure(
        on_folder.walks[on_folder.walk.value].runs,
        "λ",
        5.0,
        experiment.data()[0],
        latent,
        arrays["weighting"],
        mag.weighting(latent, 1.0),
    )
    assert on_folder.picture.png == explore.png(expected)
    assert f"ρ = {result['table']['Magnitude AE']['rho']:.2f}" in told(on_folder)
    on_folder.seed.value = 0
    drawn = count(monkeypatch, runs, "sweep_figure")
    on_folder.seed.value = 1
    on_folder.seed.value = 0
    assert drawn == []


def test_sweep_reads_the_results_of_the_repository():
    walks = runs.walks_in(runs.stored_runs(root / "results" / "experiments"))
    assert {"Swiss roll: λ, at t = 1, burn-in", "Swiss roll: t, at λ = 20, burn-in"} <= set(walks)


def test_sweep_names_what_is_wrong(tmp_path, folder):
    with pytest.raises(ValueError, match="folder .* holds no stored trainings"):
        explore.sweep(tmp_path)
    for path in folder.glob("ball-joint-seed0-n40-t2-*"):
        shutil.copy(path, tmp_path)
    with pytest.raises(ValueError, match="folder holds no two trainings"):
        explore.sweep(tmp_path)


# Linked


def around(explorer, panel, rows):
    "A rectangle around where some points were drawn in a panel."
    where = explorer.drawn.where[panel][rows]
    return [*np.clip(where.min(0) - 1e-6, 0, 1), *np.clip(where.max(0) + 1e-6, 0, 1)]


@pytest.mark.parametrize("panel", [0, 1, 2])
def test_brushing_any_panel_selects_its_points(panel, on_ball, fitted, fitted_weightings):
    before = on_ball.picture.png
    on_ball.picture.brush = around(on_ball, panel, [7, 30])
    left, bottom, right, top = on_ball.picture.brush
    x, y = on_ball.drawn.where[panel].T
    inside = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    np.testing.assert_array_equal(on_ball.selected, np.flatnonzero(inside))
    assert {7, 30} <= set(on_ball.selected) and len(on_ball.selected) < 60
    assert on_ball.picture.png != before
    assert f"{len(on_ball.selected)} of 60 points selected" in told(on_ball)
    expected = explore.linked_figure(ball, fitted.embedding_, *fitted_weightings, on_ball.selected)
    np.testing.assert_array_equal(pixels(on_ball.picture.png), pixels(explore.png(expected)))
    on_ball.picture.brush = []
    assert len(on_ball.selected) == 0 and on_ball.picture.png == before


def test_the_same_points_light_up_in_all_three_panels():
    figure = explore.linked_figure(
        ball, disc, np.linspace(0, 1, 60), np.linspace(0, 2, 60), selected=[3, 5]
    )
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    explore.png(figure)
    in_space, in_latent, in_weights = [ax.collections[-1] for ax in axes]
    shown = np.stack(in_space._offsets3d).T
    chosen = ball[[3, 5]]
    np.testing.assert_allclose(shown[np.argsort(shown[:, 0])], chosen[np.argsort(chosen[:, 0])])
    np.testing.assert_array_equal(in_latent.get_offsets(), disc[[3, 5]])
    np.testing.assert_allclose(in_weights.get_offsets(), [[3 / 59, 6 / 59], [5 / 59, 10 / 59]])


def test_points_are_found_where_they_are_drawn():
    "A single black point on white: the centre of its pixels is where the brush looks for it."
    figure, [[ax]] = panels.lay_out([panels.Row([2], [1], 3.0)])
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.scatter([0.3], [0.8], color="black", s=30)
    black = np.asarray(Image.open(io.BytesIO(explore.png(figure))).convert("L")) < 128
    rows, columns = np.nonzero(black)
    height, width = black.shape
    found = (columns.mean() + 0.5) / width, 1 - (rows.mean() + 0.5) / height
    # a marker may be moved by a pixel, to be sharp
    where = selections.where_drawn(ax, np.array([[0.3, 0.8]]))
    np.testing.assert_allclose(where[0], found, atol=0.006)


def test_a_brush_between_the_panels_changes_nothing(on_ball):
    on_ball.selected = [1, 2]
    on_ball.picture.brush = [0.0, 0.0, 0.01, 0.01]
    assert on_ball.selected.tolist() == [1, 2]


def test_selected_can_be_set_and_cleared(on_ball):
    before = on_ball.picture.png
    on_ball.selected = np.arange(60) < 4
    assert on_ball.selected.tolist() == [0, 1, 2, 3] and on_ball.picture.png != before
    on_ball.clear.click()
    assert len(on_ball.selected) == 0 and on_ball.picture.png == before
    rectangle = around(on_ball, 1, [7, 30])
    for _ in range(2):  # the same drag again after a clearing
        on_ball.picture.brush = rectangle
        on_ball.picture.click = on_ball.drawn.where[1][12].tolist()
        assert {7, 30} <= set(on_ball.selected) and on_ball.place is not None
        on_ball.clear.click()
        assert len(on_ball.selected) == 0 and on_ball.place is None
        assert on_ball.picture.png == before
    for wrong in ([60], [-1]):
        with pytest.raises(IndexError, match="selected must lie between 0 and 59"):
            on_ball.selected = wrong


def test_a_click_into_the_latent_is_decoded(on_ball, fitted):
    on_ball.picture.click = on_ball.drawn.where[1][12].tolist()
    np.testing.assert_allclose(on_ball.place, fitted.embedding_[12], atol=1e-6)
    expected = fitted.inverse_transform(fitted.embedding_[12:13])[0]
    np.testing.assert_allclose(on_ball.decoded, expected, rtol=1e-3, atol=1e-4)
    decoded = on_ball.decoded
    picture = on_ball.picture.png
    on_ball.picture.click = on_ball.drawn.where[0][12].tolist()  # in the input: means nothing
    assert on_ball.decoded is decoded
    assert on_ball.picture.png == picture and "decoded at" in told(on_ball)


def test_images_are_shown():
    rows = images.reshape(60, 16)
    explorer = explore.linked(rows, estimator(1).fit(rows), images=images)
    before = pixels(explorer.picture.png)
    explorer.selected = [4, 9]
    explorer.picture.click = explorer.drawn.where[1][3].tolist()
    after = pixels(explorer.picture.png)
    assert after.shape == before.shape and (after[-150:] != before[-150:]).any()
    wall, decoded = (ax.images[0].get_array() for ax in explorer.figure().axes if ax.images)
    np.testing.assert_array_equal(wall[1:5, 1:5], images[4])
    np.testing.assert_array_equal(wall[1:5, 7:11], images[9])
    assert (wall[6:] == images.min()).all()
    np.testing.assert_allclose(decoded, explorer.decoded.reshape(4, 4))


def test_linked_takes_an_embedding_and_any_container():
    frame, tensor = pd.DataFrame(ball), torch.tensor(disc)
    explorer = explore.linked(frame, tensor, scale=1.0, images=images)
    same = explore.linked(ball, disc, scale=1.0, images=images.reshape(60, 16))
    assert explorer.picture.png == same.picture.png
    explorer.picture.click = explorer.drawn.where[1][3].tolist()
    assert explorer.decoded is None


@pytest.mark.parametrize(
    "latent",
    [disc[:, :1], np.hstack([disc, disc[:, :1]]), np.hstack([disc, disc])],
    ids=["1", "3", "4"],
)
def test_linked_latents_of_other_dimensions(latent):
    explorer = explore.linked(ball, latent, scale=1.0)
    explorer.picture.click = explorer.drawn.where[1][3].tolist()
    assert (explorer.place is not None) == (latent.shape[1] == 1)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(latent=disc[:9]),
        dict(images=images[:9]),
        dict(images=images.reshape(-1)),
        dict(scale=-1.0),
    ],
)
def test_linked_names_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        explore.linked(**{"points": ball, "latent": disc, "scale": 1.0, **wrong})


# Methods


def test_methods_as_they_come_and_matched():
    embeddings = {"double": 2 * disc, "flat": disc[:, :1]}
    explorer = explore.methods(disc, embeddings, scale=1.0, labels=np.arange(60) % 3)
    assert explorer.picture.png == explore.png(explore.methods_figure(disc, embeddings, 1.0))
    assert explorer.table.loc["double", "rho at best scale"] == pytest.approx(1, abs=1e-4)
    assert explorer.table.loc["double", "factor"] == pytest.approx(0.5, rel=0.01)
    seen = {explorer.picture.png}
    explorer.lengths.value = "matched scale"
    factors = explorer.table["factor"]
    stretched = {name: latent * factors[name] for name, latent in embeddings.items()}
    expected = explore.methods_figure(disc, stretched, 1.0, same_axes=True)
    assert explorer.picture.png == explore.png(expected)
    assert "double ρ = 1.00" in told(explorer)
    for colours in ("own", "labels", "input"):
        explorer.colours.value = colours
        seen.add(explorer.picture.png)
    assert len(seen) == 4


def test_methods_of_an_estimator(fitted, monkeypatch):
    monkeypatch.setattr(
        comparisons, "baselines", lambda points, seed: mag.baselines(points, seed, "PCA")
    )
    explorer = explore.methods(torch.tensor(ball), fitted)
    assert list(explorer.embeddings) == ["Magnitude AE", "PCA"]
    assert explorer.scale == fitted.scale_
    np.testing.assert_array_equal(explorer.embeddings["Magnitude AE"], fitted.transform(ball))


@pytest.mark.parametrize(
    "wrong, error",
    [
        (dict(embeddings={}), TypeError),
        (dict(embeddings=[disc]), TypeError),
        (dict(embeddings={"few": disc[:9]}), ValueError),
        (dict(labels=[1, 2]), ValueError),
    ],
)
def test_methods_name_what_is_wrong(wrong, error):
    with pytest.raises(error, match=next(iter(wrong))):
        explore.methods(**{"points": disc, "embeddings": {"same": disc}, "scale": 1.0, **wrong})


# All of them


@pytest.fixture
def made(on_disc, on_epochs, on_folder, on_ball):
    "Makes an explorer by its name, or takes the one that is there."
    makers = {
        "scale": lambda: on_disc,
        "training": lambda: explore.training(ball, estimator()),
        "epochs": lambda: on_epochs,
        "sweep": lambda: on_folder,
        "linked": lambda: on_ball,
        "methods": lambda: explore.methods(disc, {"same": disc}, scale=1.0),
    }
    return lambda name: makers[name]()


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_has_picture_badge_and_still(name, made):
    explorer = made(name)
    explorer.refresh()
    assert {"magnitude-explorer", f"magnitude-{name}"} <= set(explorer._dom_classes)
    assert "magnitude-picture" in explorer.picture._dom_classes
    assert "magnitude-badge" in explorer.badge._dom_classes
    assert explorer.picture in explorer.children and explorer.badge in explorer.children
    assert explorer.picture.selectable == (name == "linked")
    assert len(explorer.picture.description) > 10
    bundle = explorer._repr_mimebundle_()
    assert bundle["image/png"] == explorer.picture.png
    assert bundle["text/plain"] == repr(explorer) and len(repr(explorer)) < 300
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert explorer.picture.png == explore.png(explorer.figure())


def test_controls_that_move_while_a_picture_is_drawn(disc_function, monkeypatch):
    "Jupyter may answer two controls in two threads: no picture is kept under the name of another."
    explorer = explore.scale(disc)
    draw = scales.scale_figure
    movers = []

    def disturbed(*arguments):
        if not movers:
            movers.append(threading.Thread(target=setattr, args=(explorer.slider, "value", 3.0)))
            movers[0].start()
            wait_for(lambda: explorer.slider.value == 3.0)
        return draw(*arguments)

    monkeypatch.setattr(scales, "scale_figure", disturbed)
    explorer.slider.value = 0.7
    movers[0].join(20)
    monkeypatch.undo()
    assert explorer.slider.value == 3.0 and "t = 3:" in explorer.picture.description
    expected = {
        t: explore.png(draw(disc, mag.weighting(disc, t), t, *disc_function)) for t in (0.7, 3.0)
    }
    assert explorer.picture.png == expected[3.0]
    explorer.slider.value = 0.7
    assert explorer.picture.png == expected[0.7]


def test_exploring_takes_no_pyplot():
    code = """if True:
        import sys
        import magnitude_ae as mag
        mag.explore.scale({"a": [[0.0], [1.0], [3.0]]})
        print(*sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split()
    assert "ipywidgets" in modules and "matplotlib.pyplot" not in modules


# The notebooks


def outputs_of(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


notebooks = sorted((root / "nbs").glob("*explore*.ipynb")) + [
    root / "nbs" / "19_looking_around.ipynb"
]


@pytest.mark.parametrize("path", notebooks, ids=lambda path: path.stem)
def test_notebooks_carry_no_orphaned_widgets(path):
    "A widget view needs its kernel: tools/strip_widgets.py takes them out."
    assert "widgets" not in json.loads(path.read_text(encoding="utf-8"))["metadata"]
    kinds = {kind for output in outputs_of(path) for kind in output.get("data", {})}
    assert "application/vnd.jupyter.widget-view+json" not in kinds


def test_the_lesson_shows_a_still_of_every_explorer():
    stills = [
        output["data"]
        for output in outputs_of(root / "nbs" / "19_looking_around.ipynb")
        if "image/png" in output.get("data", {})
    ]
    names = ["".join(still["text/plain"]) for still in stills]
    for name in EXPLORERS:
        assert any(text.startswith(f"<explorer {name}:") for text in names), name
    assert sum(len(still["image/png"]) for still in stills) < 4e6
