"""Every explorer driven from Python: the picture follows its controls, shows what the plain function draws, and is drawn once."""

import html
import io
import json
import re
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
from magnitude_ae.reproduce import Experiment, run_or_load

root = Path(__file__).parent.parent
disc = mag.datasets.disc(60, random_state=0)
ball = mag.datasets.ball(60, random_state=0)
images = np.random.default_rng(0).random((60, 4, 4))


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


def shown(explorer):
    "What the picture shows, as an array; it must be a whole PNG."
    with Image.open(io.BytesIO(explorer.picture.png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def told(explorer):
    "The words of the badge."
    return html.unescape(re.sub("<[^>]*>", "", explorer.badge.value))


def count(monkeypatch, name):
    "A list that grows with every call of a function of the module."
    calls, function = [], getattr(explore, name)
    monkeypatch.setattr(
        explore, name, lambda *arguments, **more: calls.append(1) or function(*arguments, **more)
    )
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
    assert (
        "export default" in script
        and "import " not in script
        and "//" not in re.sub(r"// .*", "", script)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        dict(brush=[0.1, 0.2]),
        dict(brush=[0, 0, 1, 2]),
        dict(click=[0.5]),
        dict(click=[-0.1, 0.5]),
        dict(click=[0.1, 0.2, 0.3]),
    ],
)
def test_places_outside_of_the_picture_are_refused(wrong):
    picture = explore.Picture()
    with pytest.raises(traitlets.TraitError, match=next(iter(wrong))):
        picture.set_trait(*next(iter(wrong.items())))
    assert picture.brush == picture.click == []


def test_png_takes_figures_only():
    with pytest.raises(TypeError, match="figure is str"):
        explore.png("no figure")


def test_figures_show_themselves():
    figure = explore.scale(disc).figure()
    assert figure._repr_png_() == explore.png(figure)


# Scale


def test_scale_shows_what_the_function_draws():
    explorer = explore.scale(disc)
    for t in (0.7, 3.0):
        explorer.slider.value = t
        expected = explore.scale_figure(
            disc, mag.weighting(disc, t), t, *mag.magnitude_function(disc)
        )
        assert explorer.picture.png == explore.png(expected)
        np.testing.assert_array_equal(explorer.weighting, mag.solve(disc, t).value)
        assert f"t = {t:.3g}" in explorer.picture.description and "condition number" in told(
            explorer
        )


def test_scale_solves_and_draws_each_stop_once(monkeypatch):
    explorer = explore.scale(disc)
    solved, drawn, looked = (
        count(monkeypatch, name) for name in ("solve", "scale_figure", "_condition")
    )
    pictures = []
    for t in (0.5, 1.0, 2.0, 0.5, 1.0, 2.0):
        explorer.slider.value = t
        pictures.append(explorer.picture.png)
    assert len(solved) == len(drawn) == len(looked) == 3
    assert pictures[:3] == pictures[3:] and len(set(pictures)) == 3


def test_scale_goes_from_one_shape_to_another_and_back(monkeypatch):
    explorer = explore.scale({"a": disc, "b": 10 * ball})
    first, range_of_a = explorer.picture.png, (explorer.slider.min, explorer.slider.max)
    functions, sent = count(monkeypatch, "magnitude_function"), []
    monkeypatch.setattr(
        type(explorer.slider), "send_state", lambda slider, key=None: sent.append(set(key))
    )
    explorer.shape.value = "b"
    assert len(sent) == 1 and {"min", "max", "step", "value"} <= set(
        sent[0]
    )  # in one message: a browser rounds the value to the steps it knows
    assert (
        explorer.picture.png != first and len(functions) == 1 and explorer.weighting.shape == (60,)
    )
    assert (
        explorer.slider.max < range_of_a[1]
        and 10**explorer.slider.min <= explorer.slider.value <= 10**explorer.slider.max
    )
    explorer.shape.value = "a"
    assert (
        explorer.picture.png == first
        and len(functions) == 1
        and (explorer.slider.min, explorer.slider.max) == range_of_a
    )


def test_scale_opens_where_a_twentieth_of_the_points_are_effective():
    explorer = explore.scale(mag.datasets.disc(300, random_state=0))
    assert explorer.weighting.sum() == pytest.approx(1 + 0.05 * 299, rel=0.1)


def test_scale_offers_shapes():
    explorer = explore.scale()
    assert explorer.shape.options == tuple(explore.SHAPES) and explorer.space.points.shape == (
        1000,
        2,
    )
    assert explore.scale(disc).shape.options == ("your points", *explore.SHAPES)


@pytest.mark.parametrize(
    "points",
    [disc.tolist(), pd.DataFrame(disc), torch.tensor(disc, requires_grad=True)],
    ids=["list", "frame", "tensor"],
)
def test_scale_takes_any_container(points):
    assert explore.scale(points).picture.png == explore.scale(disc).picture.png


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_scale_draws_any_dimension(width):
    points = np.random.default_rng(0).random((30, width))
    figure = explore.scale(points).figure()
    assert [ax.name for ax in figure.axes] == [
        "3d" if width == 3 else "rectilinear",
        "rectilinear",
        "rectilinear",
    ]


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
    "spread, word",
    [(1.0, "well conditioned"), (1e-9, "poorly conditioned"), (1e-15, "hardly more than rounding")],
)
def test_the_badge_knows_the_condition(spread, word):
    "Two points at distance d have the condition number (1 + e^-d) / (1 - e^-d)."
    pair = np.array([[0.0], [spread]])
    condition = explore._condition(pair, 1.0)
    exact = (1 + np.exp(-spread)) / -np.expm1(-spread)
    assert condition == pytest.approx(exact, rel=0.2) or condition == np.inf and exact > 1e14
    assert word in explore._trust(mag.solve(pair, 1.0), condition)


def test_what_goes_wrong_is_shown_and_raised(monkeypatch):
    explorer = explore.scale(disc)
    before = explorer.picture.png

    def fails(*_):
        raise mag.SingularSimilarityError("no <weighting> here")

    monkeypatch.setattr(explore, "solve", fails)
    with pytest.raises(mag.SingularSimilarityError):
        explorer.slider.value = 0.123
    assert (
        "no <weighting> here" in told(explorer)
        and "<weighting>" not in explorer.badge.value
        and explorer.picture.png == before
    )


# Training


def test_training_from_start_to_end():
    model = estimator()
    explorer = explore.training(ball, model, seconds=1e-3)
    before = explorer.picture.png
    assert (
        explorer.state == "ready"
        and not explorer.start.disabled
        and explorer.pause.disabled
        and explorer.stop.disabled
    )
    explorer.start.click()
    assert explorer.wait(30) and explorer.state == "finished"
    found = explorer.autoencoder
    expected = explore.training_figure(
        ball, found.embedding_, found.weighting_, found.embedding_weighting_, found.history_
    )
    assert explorer.picture.png == explore.png(expected) != before
    np.testing.assert_array_equal(found.embedding_, estimator().fit(ball).embedding_)
    assert not hasattr(model, "embedding_") and model.callbacks == () == found.callbacks
    assert "epoch 3 of 3" in told(
        explorer
    ) and f"ρ = {mag.boundary_correlation(ball, found.embedding_, 1.0):.2f}" in told(explorer)


def test_pause_really_pauses_and_stop_keeps_what_was_reached():
    explorer = explore.training(
        ball, estimator(100_000, strategy=None, max_epochs=100_000), seconds=1e-3
    )
    explorer.start.click()
    wait_for(lambda: "epoch" in told(explorer))
    explorer.pause.click()
    assert explorer.state == "paused" and explorer.pause.disabled and not explorer.resume.disabled
    wait_for(lambda: "paused" in told(explorer))
    reached, picture = told(explorer), explorer.picture.png
    time.sleep(0.3)
    assert told(explorer) == reached and explorer.picture.png == picture and not explorer.wait(0)
    explorer.resume.click()
    wait_for(
        lambda: "epoch" in told(explorer)
        and "training" in told(explorer)
        and told(explorer).split("epoch ")[1] != reached.split("epoch ")[1]
    )
    assert explorer.picture.png != picture
    explorer.stop.click()
    assert explorer.wait(30) and explorer.state == "stopped" and not explorer.start.disabled
    model = explorer.autoencoder
    assert 0 < len(model.history_["epoch"]) < 100_000 and model.transform(ball).shape == (60, 2)
    assert (
        explorer.picture.png == explore.png(explorer.figure())
        and losses_of(explorer.figure()).lines
    )


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
    losses = losses_of(
        explore.training_figure(
            ball, fitted.embedding_, fitted.weighting_, fitted.embedding_weighting_, fitted.history_
        )
    )
    words = [text.get_text() for text in losses.texts] + losses.get_legend_handles_labels()[1]
    assert {"burn-in", "joint"} <= set(words)


def test_errors_of_the_thread_are_shown():
    def breaks(training):
        raise RuntimeError("the callback <broke>")

    explorer = explore.training(ball, estimator(callbacks=[breaks]))
    explorer.start.click()
    assert explorer.wait(30) and explorer.state == "failed" and not explorer.start.disabled
    assert "RuntimeError: the callback <broke>" in told(explorer) and not hasattr(
        explorer.autoencoder, "embedding_"
    )


def test_a_picture_that_cannot_be_drawn_ends_the_training_and_says_so(monkeypatch):
    explorer = explore.training(ball, estimator(100_000), seconds=1e-3)
    monkeypatch.setattr(explore, "training_figure", lambda *_: 1 / 0)
    explorer.start.click()
    assert (
        explorer.wait(30) and explorer.state == "failed" and "ZeroDivisionError" in told(explorer)
    )


def test_callbacks_of_the_user_are_called_and_kept():
    seen = []
    explorer = explore.training(
        torch.tensor(ball), estimator(callbacks=[lambda training: seen.append(training.epoch)])
    )
    explorer.start.click()
    assert explorer.wait(30) and seen == [1, 2, 3] and len(explorer.autoencoder.callbacks) == 1
    assert isinstance(explorer.autoencoder.embedding_, torch.Tensor)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_latents_of_any_dimension_are_drawn(size):
    explorer = explore.training(ball, estimator(n_components=size))
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


def test_epochs_play(fitted):
    explorer = explore.epochs(ball, fitted)
    snapshots = fitted.notes_["snapshots"]
    assert (
        explorer.slider.options == (2, 4, 6, 8)
        and explorer.slider.value == 8
        and explorer.play.max == 3
    )
    pictures = {}
    for k, epoch in enumerate(snapshots):
        explorer.play.value = k
        assert explorer.slider.value == epoch and f"after {epoch} epochs" in told(explorer)
        np.testing.assert_array_equal(explorer.latent, snapshots[epoch].double().numpy())
        pictures[epoch] = explorer.picture.png
    assert len(set(pictures.values())) == 4
    explorer.slider.value = 4
    assert explorer.play.value == 1 and explorer.picture.png == pictures[4] == explore.png(
        explorer.figure()
    )


def test_epochs_are_drawn_once_and_on_the_same_axes(monkeypatch):
    explorer = explore.epochs(disc, {30: 3 * disc, 10: disc, 20: 2 * disc}, scale=1.0)
    drawn = count(monkeypatch, "training_figure")
    limits = set()
    for epoch in (10, 20, 30, 20, 10):
        explorer.slider.value = epoch
        limits.add(explorer.figure().axes[1].get_xlim())
    assert len(drawn) == 2 + 5 and len(limits) == 1 and list(explorer.snapshots) == [10, 20, 30]


@pytest.mark.parametrize(
    "snapshots, error, words",
    [
        ({}, TypeError, "snapshots"),
        ([disc], TypeError, "snapshots is list"),
        ({1: disc[:5]}, ValueError, r"snapshots\[1\] has 5 rows and points 60"),
        (estimator(1).fit(disc), ValueError, "snapshots is an estimator that kept none"),
    ],
)
def test_epochs_name_what_is_wrong(snapshots, error, words):
    with pytest.raises(error, match=words):
        explore.epochs(disc, snapshots)


# Sweep


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # some latents of trainings this short are no better than their points
        for seed in (0, 1):
            for change in (
                {"weighting_coefficient": 0.0},
                {"weighting_coefficient": 5.0},
                {"scale": 2.0},
                {"scale": 1.0},
            ):
                run_or_load(
                    Experiment("ball", "joint", seed=seed, n_points=40, max_epochs=2, **change),
                    folder,
                )
    return folder


def test_sweep_walks(folder):
    explorer = explore.sweep(folder)
    walks = {name: (key, sorted(set(rows[key]))) for name, (key, rows) in explorer._walks.items()}
    assert walks == {
        "ball: λ, at t = 1, joint": ("λ", [0.0, 5.0, 20.0]),
        "ball: t, at λ = 20, joint": ("t", [1.0, 2.0]),
    }
    pictures = set()
    for walk, (key, values) in walks.items():
        explorer.walk.value = walk
        assert [
            value for _, value in explorer.slider.options
        ] == values and explorer.slider.description == key
        for value in values:
            for seed in (0, 1):
                explorer.slider.value, explorer.seed.value = value, seed
                assert explorer.run[key] == value and explorer.run["seed"] == seed
                pictures.add(explorer.picture.png)
    assert len(pictures) == 10


def test_sweep_shows_the_stored_run(folder, monkeypatch):
    explorer = explore.sweep(folder)
    explorer.walk.value, explorer.slider.value, explorer.seed.value = (
        "ball: λ, at t = 1, joint",
        5.0,
        1,
    )
    experiment = Experiment(
        "ball", "joint", seed=1, n_points=40, max_epochs=2, weighting_coefficient=5.0
    )
    result, arrays = run_or_load(experiment, folder)
    latent = arrays["Magnitude AE"]
    expected = explore.sweep_figure(
        explorer.runs,
        "λ",
        5.0,
        experiment.data()[0],
        latent,
        arrays["weighting"],
        mag.weighting(latent, 1.0),
    )
    assert explorer.picture.png == explore.png(expected)
    assert f"ρ = {result['table']['Magnitude AE']['rho']:.2f}" in told(explorer)
    drawn = count(monkeypatch, "sweep_figure")
    explorer.seed.value = 0
    explorer.seed.value = 1
    explorer.seed.value = 0
    assert len(drawn) <= 1


def test_sweep_reads_the_results_of_the_repository():
    explorer = explore.sweep(root / "results" / "experiments")
    assert {"Swiss roll: λ, at t = 1", "Swiss roll: t, at λ = 20"} <= set(explorer.walk.options)


def test_sweep_names_what_is_wrong(tmp_path, folder):
    with pytest.raises(ValueError, match="folder .* holds no stored trainings"):
        explore.sweep(tmp_path)
    for path in folder.glob("ball-joint-seed0-n40-t2-*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="folder holds no two trainings"):
        explore.sweep(tmp_path)


# Linked


def middle_of(explorer, panel, rows):
    "A rectangle around where some points were drawn in a panel."
    where = explorer._places[panel][rows]
    return [*np.clip(where.min(0) - 1e-6, 0, 1), *np.clip(where.max(0) + 1e-6, 0, 1)]


@pytest.mark.parametrize("panel", [0, 1, 2])
def test_brushing_any_panel_selects_its_points(panel, fitted):
    explorer = explore.linked(ball, fitted)
    before = explorer.picture.png
    explorer.picture.brush = middle_of(explorer, panel, [7, 30])
    within = explore._within(explorer._places[panel], explorer.picture.brush)
    np.testing.assert_array_equal(explorer.selected, np.flatnonzero(within))
    assert (
        {7, 30} <= set(explorer.selected)
        and len(explorer.selected) < 60
        and explorer.picture.png != before
    )
    assert f"{len(explorer.selected)} of 60 points selected" in told(explorer)
    expected = explore.linked_figure(
        ball,
        fitted.embedding_,
        mag.weighting(ball),
        mag.weighting(fitted.embedding_),
        explorer.selected,
    )
    assert np.array_equal(
        shown(explorer), np.asarray(Image.open(io.BytesIO(explore.png(expected))))
    )
    explorer.picture.brush = []
    assert len(explorer.selected) == 0 and explorer.picture.png == before


def test_the_same_points_light_up_in_all_three_panels():
    figure = explore.linked_figure(
        ball, disc, np.linspace(0, 1, 60), np.linspace(0, 2, 60), selected=[3, 5]
    )
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    explore.png(figure)
    marks = [ax.collections[-1] for ax in panels]
    np.testing.assert_allclose(
        np.stack(marks[0]._offsets3d).T[np.lexsort(np.stack(marks[0]._offsets3d)[:1])],
        ball[[3, 5]][np.lexsort(ball[[3, 5]].T[:1])],
    )
    np.testing.assert_array_equal(marks[1].get_offsets(), disc[[3, 5]])
    np.testing.assert_allclose(marks[2].get_offsets(), [[3 / 59, 6 / 59], [5 / 59, 10 / 59]])


def test_points_are_found_where_they_are_drawn():
    "A single black point on white: the centre of its pixels is where the brush looks for it."
    figure, [[ax]] = explore._figure([[2]], [3.0], [[1]])
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.scatter([0.3], [0.8], color="black", s=30)
    pixels = np.asarray(Image.open(io.BytesIO(explore.png(figure))).convert("L")) < 128
    rows, columns = np.nonzero(pixels)
    found = (columns.mean() + 0.5) / pixels.shape[1], 1 - (rows.mean() + 0.5) / pixels.shape[0]
    np.testing.assert_allclose(
        explore._where(ax, np.array([[0.3, 0.8]]))[0], found, atol=0.006
    )  # a marker may be moved by a pixel, to be sharp


def test_a_brush_between_the_panels_changes_nothing(fitted):
    explorer = explore.linked(ball, fitted)
    explorer.selected = [1, 2]
    explorer.picture.brush = [0.0, 0.0, 0.01, 0.01]
    assert explorer.selected.tolist() == [1, 2]


def test_selected_can_be_set_and_cleared(fitted):
    explorer = explore.linked(ball, fitted)
    before = explorer.picture.png
    explorer.selected = np.arange(60) < 4
    assert explorer.selected.tolist() == [0, 1, 2, 3] and explorer.picture.png != before
    explorer.clear.click()
    assert len(explorer.selected) == 0 and explorer.picture.png == before
    rectangle = middle_of(explorer, 1, [7, 30])
    for _ in range(2):  # the same drag again after a clearing
        explorer.picture.brush, explorer.picture.click = rectangle, explorer._places[1][12].tolist()
        assert {7, 30} <= set(explorer.selected) and explorer.place is not None
        explorer.clear.click()
        assert (
            len(explorer.selected) == 0
            and explorer.place is None
            and explorer.picture.png == before
        )
    for wrong in ([60], [-1]):
        with pytest.raises(IndexError, match="selected must lie between 0 and 59"):
            explorer.selected = wrong


def test_a_click_into_the_latent_is_decoded(fitted):
    explorer = explore.linked(ball, fitted)
    explorer.picture.click = explorer._places[1][12].tolist()
    np.testing.assert_allclose(explorer.place, fitted.embedding_[12], atol=1e-6)
    np.testing.assert_allclose(
        explorer.decoded,
        fitted.inverse_transform(fitted.embedding_[12:13])[0],
        rtol=1e-3,
        atol=1e-4,
    )
    decoded, picture = explorer.decoded, explorer.picture.png
    explorer.picture.click = explorer._places[0][12].tolist()  # in the input: means nothing
    assert (
        explorer.decoded is decoded
        and explorer.picture.png == picture
        and "decoded at" in told(explorer)
    )


def test_images_are_shown():
    rows = images.reshape(60, 16)
    model = estimator().fit(rows)
    explorer = explore.linked(rows, model, images=images)
    before = shown(explorer)
    explorer.selected = [4, 9]
    explorer.picture.click = explorer._places[1][3].tolist()
    after = shown(explorer)
    assert after.shape == before.shape and (after[-150:] != before[-150:]).any()
    wall, decoded = (ax.images[0].get_array() for ax in explorer.figure().axes if ax.images)
    np.testing.assert_array_equal(wall[1:5, 1:5], images[4])
    np.testing.assert_array_equal(wall[1:5, 7:11], images[9])
    assert (wall[6:] == images.min()).all()
    np.testing.assert_allclose(decoded, explorer.decoded.reshape(4, 4))


def test_linked_takes_an_embedding_and_any_container():
    frame, tensor = pd.DataFrame(ball), torch.tensor(disc)
    explorer = explore.linked(frame, tensor, scale=1.0, images=images)
    assert (
        explorer.picture.png
        == explore.linked(ball, disc, scale=1.0, images=images.reshape(60, 16)).picture.png
    )
    explorer.picture.click = explorer._places[1][3].tolist()
    assert explorer.decoded is None


@pytest.mark.parametrize(
    "latent",
    [disc[:, :1], np.hstack([disc, disc[:, :1]]), np.hstack([disc, disc])],
    ids=["1", "3", "4"],
)
def test_linked_latents_of_other_dimensions(latent):
    explorer = explore.linked(ball, latent, scale=1.0)
    explorer.picture.click = explorer._places[1][3].tolist()
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
    stretched = {
        name: latent * explorer.table.loc[name, "factor"] for name, latent in embeddings.items()
    }
    assert explorer.picture.png == explore.png(
        explore.methods_figure(disc, stretched, 1.0, same_axes=True)
    )
    assert "double ρ = 1.00" in told(explorer)
    for colours in ("own", "labels", "input"):
        explorer.colours.value = colours
        seen.add(explorer.picture.png)
    assert len(seen) == 4


def test_methods_of_an_estimator(fitted, monkeypatch):
    monkeypatch.setattr(
        explore,
        "baselines",
        lambda points, random_state: mag.baselines(points, random_state, "PCA"),
    )
    explorer = explore.methods(torch.tensor(ball), fitted)
    assert list(explorer.embeddings) == ["Magnitude AE", "PCA"] and explorer.scale == fitted.scale_
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


def every(fitted, folder):
    return {
        "scale": explore.scale(disc),
        "training": explore.training(ball, estimator()),
        "epochs": explore.epochs(ball, fitted),
        "sweep": explore.sweep(folder),
        "linked": explore.linked(ball, fitted),
        "methods": explore.methods(disc, {"same": disc}, scale=1.0),
    }


def test_every_explorer_has_picture_badge_and_still(fitted, folder):
    for name, explorer in every(fitted, folder).items():
        assert {"magnitude-explorer", f"magnitude-{name}"} <= set(explorer._dom_classes)
        assert (
            "magnitude-picture" in explorer.picture._dom_classes
            and "magnitude-badge" in explorer.badge._dom_classes
        )
        assert explorer.picture in explorer.children and explorer.badge in explorer.children
        assert (
            explorer.picture.selectable == (name == "linked")
            and len(explorer.picture.description) > 10
        )
        bundle = explorer._repr_mimebundle_()
        assert (
            bundle["image/png"] == explorer.picture.png
            and bundle["text/plain"] == repr(explorer)
            and len(repr(explorer)) < 300
        )
        assert "application/vnd.jupyter.widget-view+json" in bundle
        assert explorer.picture.png == explore.png(explorer.figure())


def test_controls_that_move_while_a_picture_is_drawn(monkeypatch):
    "Jupyter may answer two controls in two threads at a time: no picture is kept under the name of another."
    explorer, draw, movers = explore.scale(disc), explore.scale_figure, []

    def disturbed(*arguments):
        if not movers:
            movers.append(threading.Thread(target=setattr, args=(explorer.slider, "value", 3.0)))
            movers[0].start()
            wait_for(lambda: explorer.slider.value == 3.0)
        return draw(*arguments)

    monkeypatch.setattr(explore, "scale_figure", disturbed)
    explorer.slider.value = 0.7
    movers[0].join(20)
    monkeypatch.undo()
    assert explorer.slider.value == 3.0 and "t = 3:" in explorer.picture.description
    expected = {
        t: explore.png(draw(disc, mag.weighting(disc, t), t, *mag.magnitude_function(disc)))
        for t in (0.7, 3.0)
    }
    assert explorer.picture.png == expected[3.0]
    explorer.slider.value = 0.7
    assert explorer.picture.png == expected[0.7]


def test_pictures_are_not_kept_for_ever():
    explorer = explore.scale(disc)
    explorer._kept.update({k: (b"", ("", "")) for k in range(600)})
    explorer.slider.value = 0.77
    assert len(explorer._kept) == 500 and explorer._state() in explorer._kept


def test_exploring_takes_no_pyplot():
    code = "import sys, magnitude_ae as mag; mag.explore.scale({'a': [[0.0], [1.0], [3.0]]}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ipywidgets" in done.stdout.split() and "matplotlib.pyplot" not in done.stdout.split()


def test_the_notebook_carries_stills_and_no_orphaned_widgets():
    """A widget view without its state is shown as an error where there is no kernel: after running the notebook, take them out."""
    notebook = json.loads((root / "nbs" / "90_explore.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    kinds = [set(output.get("data", {})) for output in outputs]
    assert "widgets" not in notebook["metadata"] and not any(
        "application/vnd.jupyter.widget-view+json" in kind for kind in kinds
    )
    stills = [
        "".join(output["data"]["text/plain"])
        for output, kind in zip(outputs, kinds)
        if "image/png" in kind
    ]
    for name in ("scale", "training", "epochs", "sweep", "linked", "methods"):
        assert any(still.startswith(f"<explorer {name}:") for still in stills), name
    assert (
        sum(
            len(output["data"]["image/png"])
            for output, kind in zip(outputs, kinds)
            if "image/png" in kind
        )
        < 4e6
    )
