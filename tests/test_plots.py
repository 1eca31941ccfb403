"""Pictures read back from their axes: what was given is what is drawn, and it can be read.

In every theme, in a printed column, and with every kind of colour vision.
"""

import ast
import pickle
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from io import BytesIO
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.animation import writers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

import magnitude_ae as mag
from magnitude_ae import plots
from magnitude_ae.plots.inputs import as_coordinates, as_numbers
from magnitude_ae.plots.points import draw_points
from magnitude_ae.plots.style import METHOD_PLACES

rng = np.random.default_rng(0)
points = rng.normal(size=(80, 2))
images = rng.random((80, 16))
labels = np.arange(80) % 3
space = rng.normal(size=(80, 3))
values = rng.random(80)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


# Every picture, drawn once for each theme

history = {
    "epoch": np.arange(1, 41),
    "phase": ["burn-in"] * 10 + ["joint"] * 30,
    "reconstruction_loss": np.linspace(2, 1, 40),
    "weighting_loss": np.linspace(1, 0.1, 40),
    "total_loss": np.linspace(3, 1.1, 40),
}
growth = np.array([1, 4, 16])
band = (np.array([0.9, 3, 15]), np.array([1.1, 5, 17]))
times = {
    name: ([100, 200, 400], *(factor * part for part in (growth, *band)))
    for name, factor in {"inverse": 1e-3, "LU": 2e-4}.items()
}
tradeoffs = {"AE": ([0.9, 0.8], [0.5, 0.7], ["λ = 1", "λ = 5"]), "PCA": (0.7, 0.4)}
magnitudes = ([0.1, 1, 10], [1.1, 4, 9])


marked = {"n_points": 10, "marks": {"chosen": 1.0}, "label": "ten"}

PICTURES = {  # name -> function, what it draws, how
    "values": (plots.scatter, (points, values), {}),
    "classes": (plots.scatter, (points,), {"labels": labels}),
    "plain": (plots.scatter, (points,), {}),
    "thumbnails": (plots.thumbnails, (points, images), {"labels": labels}),
    "loss curves": (plots.loss_curves, (history,), {"best_epoch": 35}),
    "weighting against": (plots.weighting_against, (values, values**2), {}),
    "magnitude curve": (plots.magnitude_curve, magnitudes, marked),
    "front": (plots.front, (tradeoffs,), {}),
    "race": (plots.race, (times,), {}),
    "values in space": (plots.scatter, (space, values), {}),
    "classes in space": (plots.scatter, (space,), {"labels": labels}),
}
every = pytest.mark.parametrize("name", PICTURES)
THEMES = {
    "light": {},
    "dark": plt.style.library["dark_background"],
    "transparent": {"figure.facecolor": (1, 1, 1, 0)},
}


def axes(figure, dimension=2):
    return figure.add_subplot(projection="3d" if dimension == 3 else None)


def draw(name, figure):
    """The axes of a picture, new in a figure."""
    function, given, settings = PICTURES[name]
    ax = axes(figure, 3 if name.endswith("space") else 2)
    return function(*given, ax=ax, title=name.capitalize(), **settings)


@cache
def drawn(name, theme="light"):
    """The axes of a picture as wide as a journal's column; drawn once, so look and do not touch."""
    with plt.rc_context(THEMES[theme]):
        figure = Figure(figsize=(3.4, 2.7), layout="constrained")
        FigureCanvasAgg(figure)
        ax = draw(name, figure)
        figure.canvas.draw()
    return ax


def texts(figure):
    """All that is written in a figure that has been drawn."""
    found = figure.findobj(Text)
    return [text for text in found if text.get_text().strip() and text.get_visible()]


# Colours, by numbers

# Machado, Oliveira and Fernandes (2009), severity 1: linear RGB as seen without one kind of cones.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
each_vision = pytest.mark.parametrize("vision", VISION.values(), ids=VISION)
WHITE = "#ffffff"  # paper
DARK = "#111111"  # JupyterLab's dark ground
BLACK = "#000000"  # dark_background's


def seen(colors, vision=VISION["normal"]):
    "Linear RGB (k, 3) of colours as somebody sees them."
    colors = np.array([to_rgb(color) for color in colors])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return np.clip(linear @ vision.T, 0, 1)


def luminance(linear):
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(first, second, vision=VISION["normal"]):
    "WCAG's ratio of two colours, from 1 to 21."
    dark, light = np.sort(luminance(seen([first, second], vision)))
    return (light + 0.05) / (dark + 0.05)


TO_XYZ = np.array(  # linear sRGB to CIE XYZ
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
DAYLIGHT = [0.95047, 1, 1.08883]  # D65


def lab(linear):
    """CIE L*a*b*: lightness from 0 to 100, and distances of which 2.3 is just noticeable."""
    xyz = linear @ TO_XYZ.T / DAYLIGHT
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def distances(colors, vision):
    """How far each two colours lie apart."""
    return [np.linalg.norm(a - b) for a, b in combinations(lab(seen(colors, vision)), 2)]


def test_the_eyes_of_this_test_see():
    np.testing.assert_allclose(lab(seen([WHITE, BLACK])), [[100, 0, 0], [0, 0, 0]], atol=0.02)
    assert contrast(WHITE, BLACK) == pytest.approx(21)
    red_and_green = ["#c00000", "#5f7200"]  # alike without the cones for either
    apart = {name: distances(red_and_green, vision)[0] for name, vision in VISION.items()}
    assert apart["normal"] > 80
    assert apart["deuteranopia"] < apart["normal"] / 2
    assert apart["protanopia"] < apart["normal"] / 2


@each_vision
def test_weightings_darken_evenly(vision):
    """Lightness alone gives the order, and both ends show on all the grounds that points lie on."""
    colors = plots.weighting_colormap()(np.linspace(0, 1, 128))
    lightness = lab(seen(colors, vision))[:, 0]
    assert (np.diff(lightness) < 0).all()
    assert lightness[0] - lightness[-1] > 70
    for ground in (WHITE, plots.PAPER):
        assert contrast(colors[-1], ground, vision) > 15
        assert contrast(colors[0], ground, vision) > 1.5


@each_vision
def test_classes_can_be_told_apart(vision):
    assert min(distances(plots.PETROFF, vision)) > 7 * 2.3
    assert min(distances(plots.PETROFF[:3], vision)) > 17 * 2.3


@each_vision
def test_losses_can_be_told_apart(vision):
    two = [line.get_color() for line in drawn("loss curves").lines[:2]]
    assert two == [plots.LOSS_STYLES[name]["color"] for name in list(plots.LOSS_STYLES)[:2]]
    assert distances(two, vision)[0] > 80
    assert all(contrast(color, ground, vision) > 3 for color in two for ground in (WHITE, DARK))


@each_vision
@pytest.mark.parametrize("ground", [WHITE, DARK, BLACK])
def test_curves_show_on_every_ground(ground, vision):
    assert all(contrast(color, ground, vision) > 1.45 for color in plots.PETROFF)
    assert all(contrast(color, ground, vision) > 1.75 for color in plots.PETROFF[:9])


# Methods

KINDS = {
    "embeddings": ["Magnitude AE", "PCA", "t-SNE", "UMAP", "autoencoder"],
    "solvers": ["Cholesky", "CG", "HODLR", "inverse", "Vecchia(10)", "LU", "Schur"],
    "strategies": ["default", "report", "predictor-corrector", "joint", "cells", "falling λ"],
    "libraries": ["ours", "SciPy", "george", "gpytorch", "pykeops"],
}


@pytest.mark.parametrize("names", KINDS.values(), ids=KINDS)
def test_a_method_keeps_its_colour_in_any_company(names):
    together = plots.method_styles(names)
    assert len({style["color"] for style in together.values()}) == len(names)
    assert plots.method_styles(reversed(names)) == together
    for name in names:
        assert plots.method_styles(["new", name, "other"])[name] == together[name]


def test_every_fixed_colour_is_tested():
    families = {re.split(r"\(", name)[0].lower() for names in KINDS.values() for name in names}
    assert families == set(METHOD_PLACES)


@pytest.mark.parametrize("names", [["CG", "CG, tiles", "CG, plain"], ["new(1)", "new(2)"]])
def test_variants_share_a_colour_and_differ_in_grey(names):
    styles = plots.method_styles(names).values()
    assert len({style["color"] for style in styles}) == 1
    assert len({style["marker"] for style in styles}) == len(names)
    assert len({style["linestyle"] for style in styles}) == len(names)


def test_unknown_methods_take_what_is_left():
    known = KINDS["solvers"]
    styles = plots.method_styles([*known, "new", "newer", "newest"])
    assert len({style["color"] for style in styles.values()}) == 10
    many = plots.method_styles([f"method {k}" for k in range(25)])
    assert len({tuple(style.items()) for style in many.values()}) >= 10


def test_pictures_of_methods_use_these_colours():
    for name, methods in (("race", times), ("front", tradeoffs)):
        lines = drawn(name).lines[: len(methods)]
        wanted = [style["color"] for style in plots.method_styles(methods).values()]
        assert [line.get_color() for line in lines] == wanted


# Themes


def grounds(figure):
    """All that is written in a figure that has been drawn, with the colour under it."""
    shown = [ax for ax in figure.axes if ax.axison]
    for text in texts(figure):
        middle = text.get_window_extent().get_points().mean(axis=0)
        under = [ax.get_facecolor() for ax in shown if ax.bbox.contains(*middle)]
        opaque = [color for color in under if to_rgba(color)[3] == 1]
        yield text, opaque[0] if opaque else figure.get_facecolor()


@every
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_both_themes(theme, name):
    written = list(grounds(drawn(name, theme).figure))
    assert len(written) > 3
    for text, ground in written:
        assert contrast(text.get_color(), ground) > 3.9, text.get_text()


@every
def test_text_is_readable_on_a_transparent_figure(name):
    for text, ground in grounds(drawn(name, "transparent").figure):
        for page in (WHITE, DARK, BLACK):
            under = page if to_rgba(ground)[3] == 0 else ground
            assert contrast(text.get_color(), under) > 3.9, text.get_text()


@pytest.mark.parametrize("face", ["black", (1, 1, 1, 0), "#222233"])
@pytest.mark.parametrize("name", ["values", "classes", "plain", "thumbnails", "weighting against"])
def test_points_lie_on_light_ground(name, face):
    with plt.rc_context({"axes.facecolor": face}):
        ax = draw(name, Figure())
    assert contrast(ax.get_facecolor(), WHITE) < 1.1
    assert ax.get_facecolor()[3] == 1
    for color in ax.collections[0].get_facecolor():
        assert contrast(color, ax.get_facecolor()) > 1.4


def test_a_light_ground_is_left_as_it_is():
    with plt.rc_context({"axes.facecolor": "#eaeaf2"}):
        assert to_rgba(plots.scatter(points, values).get_facecolor()) == to_rgba("#eaeaf2")


def test_walls_are_light_in_the_dark():
    ax = drawn("values in space", "dark")
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        wall = axis.pane.get_facecolor()
        assert contrast(wall, WHITE) < 1.25
        assert wall[3] == 1
    assert contrast(ax.xaxis.label.get_color(), BLACK) == pytest.approx(21)


@every
def test_dark_curves_show(name):
    ax = drawn(name, "dark")
    for line in (line for line in ax.lines if len(line.get_xdata())):
        assert contrast(line.get_color(), ax.get_facecolor()) > 1.7


@every
def test_settings_are_left_as_they_were(name):
    before = dict(matplotlib.rcParams)
    draw(name, Figure())
    assert dict(matplotlib.rcParams) == before


# Layout and files


@every
def test_every_direction_has_a_name(name):
    ax = drawn(name)
    directions = [ax.xaxis, ax.yaxis, *([ax.zaxis] if ax.name == "3d" else [])]
    assert all(axis.label.get_text().strip() for axis in directions)


@every
def test_a_column_of_a_journal_is_wide_enough(name):
    ax = drawn(name)
    figure = ax.figure
    needed = figure.get_tightbbox()
    assert min(needed.x0, needed.y0) > -0.02
    assert needed.x1 < 3.42 and needed.y1 < 2.72
    assert all(text.get_fontsize() >= 6.5 for text in texts(figure))
    if ax.name != "3d":
        assert ax.get_window_extent().width / figure.dpi > 1.6


def collisions(figure):
    """Pairs of words of which one lies on the other by two pixels or more."""
    figure.canvas.draw()
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    pairs = {
        (first.get_text(), second.get_text()): Bbox.intersection(boxes[first], boxes[second])
        for first, second in combinations(boxes, 2)
    }
    return [words for words, overlap in pairs.items() if overlap and min(overlap.size) >= 2]


@every
def test_no_words_lie_on_others(name):
    """In the figure that a call without axes makes."""
    function, given, settings = PICTURES[name]
    assert collisions(function(*given, **settings).figure) == []


def test_no_words_lie_on_others_in_a_grid():
    column = {"input": space, "weighting": values, "rows": {"PCA": (points, 0.5)}}
    assert collisions(plots.shapes_grid({"one": column, "two": column})) == []


def test_words_on_others_are_seen():
    figure = plt.figure()
    for place in (0.5, 0.505, 0.9):
        figure.text(place, 0.5, f"at {place}")
    assert collisions(figure) == [("at 0.5", "at 0.505")]


@every
def test_it_can_be_saved(name):
    figure = drawn(name).figure
    for kind in ("pdf", "svg", "png"):
        file = BytesIO()
        figure.savefig(file, format=kind)
        assert 2_000 < file.tell() < 400_000


@pytest.mark.parametrize("dimension", [2, 3])
def test_large_clouds_are_stored_as_images(dimension):
    def stored(n_points):
        cloud = rng.normal(size=(n_points, dimension))
        ax = plots.scatter(cloud, rng.random(n_points), colorbar=False)
        file = BytesIO()
        ax.figure.savefig(file, format="svg", dpi=150)
        return file.getvalue()

    small = stored(500)
    large = stored(6000)
    assert b"<image" not in small
    assert len(small) < (2e5 if dimension == 2 else 5e5)
    assert large.count(b"<image") == 1
    assert len(large) < 5e5
    assert b"DejaVuSans" in large  # letters are no part of the image


def test_true_proportions():
    ax = plots.scatter(points * [10, 1], values)
    ax.figure.canvas.draw()
    assert ax.get_aspect() == 1
    stretched = space * [1, 2, 40]
    in_space = plots.scatter(stretched, values)
    extent = np.ptp(stretched, axis=0)
    box = in_space._box_aspect / in_space._box_aspect.max()
    np.testing.assert_allclose(box, np.maximum(extent / extent.max(), 0.1))


def test_markers_shrink_with_their_room():
    areas = []
    for side in (6, 2):
        ax = plots.scatter(points, values, ax=axes(plt.figure(figsize=(side, side))))
        areas.append(ax.collections[0].get_sizes()[0])
    assert areas[0] == 30
    assert 9 < areas[1] < 15
    assert plots.scatter(points, values, size=7).collections[0].get_sizes() == [7]


# Depth


def depths(ax):
    """Depth towards the viewer of each point, by the direction of the view."""
    elevation, turn = np.radians([ax.elev, ax.azim])
    flat = np.cos(elevation)
    return space @ [flat * np.cos(turn), flat * np.sin(turn), np.sin(elevation)]


@pytest.mark.parametrize(
    "colors", [{"values": values}, {"labels": labels}, {}], ids=["values", "classes", "plain"]
)
def test_near_points_are_larger(colors):
    ax = plots.scatter(space, **colors)
    dots = ax.collections[0]
    for view in ((24, -60), (10, 130)):
        ax.view_init(*view)
        ax.figure.canvas.draw()
        sizes = np.asarray(dots._sizes3d)
        assert len(sizes) == len(space)
        assert sizes.max() > 2 * sizes.min()
        assert np.corrcoef(sizes, depths(ax))[0, 1] > 0.9
        assert (dots.get_facecolor()[:, 3] == 1).all()  # depth fades no colour


def test_the_view_is_the_users_once_it_is_chosen():
    ax = axes(plt.figure(), 3)
    ax.view_init(5, 5)
    plots.scatter(space, ax=ax)
    assert (ax.elev, ax.azim) == (5, 5)
    assert plots.scatter(space).elev == 24


def test_figures_can_be_pickled():
    again = pickle.loads(pickle.dumps(plots.scatter(space, values).figure))
    again.canvas.draw()
    assert np.ptp(again.axes[0].collections[0]._sizes3d) > 1


# Classes


def test_classes_keep_their_colours():
    ax = plots.scatter(points, labels=labels)
    dots = ax.collections[0]
    wanted = [to_rgba(plots.PETROFF[k]) for k in labels]
    np.testing.assert_array_equal(dots.get_facecolor(), wanted)
    np.testing.assert_array_equal(dots.get_offsets(), points)
    handles, names = ax.get_legend_handles_labels()
    assert names == ["0", "1", "2"]
    assert [handle.get_color() for handle in handles] == list(plots.PETROFF[:3])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
    assert plots.scatter(points, labels=labels, colorbar=False).get_legend() is None


def test_twenty_classes_in_steps_of_lightness():
    ax = plots.scatter(points, labels=np.arange(80) % 20)
    colors = [handle.get_color() for handle in ax.get_legend_handles_labels()[0]]
    assert len(set(colors)) == 20
    assert (np.diff(luminance(seen(colors))) > 0).all()
    assert contrast(colors[-1], WHITE) > 1.2


class ByRow:
    """A way to colour points that the package does not have: by row, the last at the bottom."""

    def order(self, n_points, spatial):
        return np.arange(n_points)[::-1]

    def style(self, rows):
        return {"c": rows, "cmap": "viridis"}

    def explain(self, ax, dots):
        ax.figure.colorbar(dots, label="row")


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_way_to_colour_can_be_added(dimension):
    ax = axes(plt.figure(), dimension)
    made = draw_points(ax, space[:, :dimension], ByRow())
    np.testing.assert_array_equal(made.dots.get_array(), np.arange(80)[::-1])
    np.testing.assert_array_equal(made.rows, np.arange(80)[::-1])
    assert ax.figure.axes[1].get_ylabel() == "row"


# Weights that are equal but for rounding

ANGLES = 2 * np.pi * np.arange(7) / 7 + 0.3
EQUAL = {
    "square": np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ [[0.8, -0.6], [0.6, 0.8]],
    "two points": np.array([[0.1, 0.2], [0.7, 0.9]]),
    "heptagon": np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]),
}
equal = pytest.mark.parametrize("cloud", EQUAL.values(), ids=EQUAL)
KEPT_AS = {
    "float64": np.asarray,
    "float32": np.float32,
    "tensor": torch.as_tensor,
    "float32 tensor": lambda cloud: torch.as_tensor(cloud, dtype=torch.float32),
}
kept_as = pytest.mark.parametrize("container", KEPT_AS.values(), ids=KEPT_AS)


@equal
@kept_as
def test_equal_weights_get_one_colour(cloud, container):
    weights = mag.weighting(container(cloud))
    ax = plots.scatter(cloud, weights)
    ax.figure.canvas.draw()
    colors = ax.collections[0].get_facecolor()
    assert np.ptp(colors, axis=0).max() < 0.02
    np.testing.assert_allclose(colors[0], plots.weighting_colormap()(0.5), atol=0.02)


@equal
@kept_as
def test_equal_weights_have_no_correlation(cloud, container):
    weights = mag.weighting(container(cloud))
    noise = 1 + 1e-13 * rng.normal(size=len(cloud))
    for pair in ((weights, cloud[:, 0]), (cloud[:, 1], weights), (weights, noise)):
        ax = plots.weighting_against(*pair)
        ax.figure.canvas.draw()
        assert "undefined" in ax.get_title()


@equal
def test_equal_weights_can_be_drawn_everywhere(cloud):
    weights = mag.weighting(cloud)
    column = {"input": cloud, "weighting": weights, "rows": {"itself": (cloud, np.nan)}}
    plots.shapes_grid({"equal": column}).canvas.draw()
    assert len(plots.animate({0: cloud, 1: 2 * cloud}, weights, between=1).epochs) == 3
    ones = np.ones(3)
    history = {"epoch": [0, 1, 2], "total_loss": ones, "weighting_loss": ones * (1 + 1e-16)}
    for ax in (
        plots.loss_curves(history),
        plots.magnitude_curve([0.1, 1, 10], ones, n_points=1, marks={"here": 1}),
        plots.front({"PCA": (ones, ones)}),
        plots.race({"LU": (ones, ones)}),
    ):
        ax.figure.canvas.draw()


def test_differences_that_count_are_shown():
    """They may be small beside the weights themselves."""
    weights = 1 + 1e-6 * values
    ax = plots.scatter(points, weights)
    ax.figure.canvas.draw()
    assert np.ptp(ax.collections[0].get_facecolor(), axis=0).max() > 0.8
    assert plots.weighting_against(weights, values).get_title() == "ρ = 1.00"


# Images


def pictures(ax):
    return [artist for artist in ax.artists if isinstance(artist, AnnotationBbox)]


@pytest.mark.parametrize("spacing", [0.02, 0.1, 0.5])
def test_thumbnails_keep_apart_and_leave_no_room(spacing):
    ax = plots.thumbnails(points, images, spacing=spacing)
    places = np.array([picture.xy for picture in pictures(ax)])
    least = spacing * np.ptp(points, axis=0).max()
    between = np.linalg.norm(places[:, None] - places, axis=2)
    assert between[~np.eye(len(places), dtype=bool)].min() >= least
    to_nearest = np.linalg.norm(points[:, None] - places, axis=2).min(1)
    assert (to_nearest < least).all()
    np.testing.assert_array_equal(places[0], points[0])


@pytest.mark.parametrize(
    "given",
    [images, images.reshape(80, 4, 4), torch.tensor(images, requires_grad=True)],
    ids=["flat", "square", "tensor"],
)
def test_thumbnails_show_the_image_of_their_point(given):
    _, ax = plt.subplots()
    classes = torch.from_numpy(labels)
    assert plots.thumbnails(torch.from_numpy(points), given, labels=classes, ax=ax, size=20) is ax
    for picture in pictures(ax):
        row = int(np.flatnonzero((points == picture.xy).all(1))[0])
        np.testing.assert_array_equal(picture.offsetbox.get_data(), images[row].reshape(4, 4))
        assert picture.offsetbox.get_zoom() == 5
        assert picture.patch.get_edgecolor() == to_rgba(plots.PETROFF[labels[row]])


def test_thumbnails_may_be_oblong():
    ax = plots.thumbnails(points[:9], rng.random((9, 4, 8)), size=16)
    assert pictures(ax)[0].offsetbox.get_zoom() == 2


def test_of_coincident_points_one_image_is_drawn():
    assert len(pictures(plots.thumbnails(np.ones((80, 2)), images))) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": images[:, :15]},
        {"images": images[:9]},
        {"images": images[0]},
        {"points": points[:, :1]},
        {"spacing": 0},
        {"labels": labels[:5]},
    ],
)
def test_thumbnails_name_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        plots.thumbnails(**{"points": points, "images": images, **wrong})


# Curves


def test_front_draws_lines_dots_and_notes():
    _, ax = plt.subplots()
    single = (torch.tensor(0.8), torch.tensor(0.1), "default")
    methods = {**tradeoffs, "UMAP": single}
    assert plots.front(methods, ax=ax, title="Front") is ax
    assert [line.get_label() for line in ax.lines] == list(methods)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0.9, 0.5], [0.8, 0.7]])
    assert [line.get_linestyle() for line in ax.lines] == ["-", "None", "None"]
    noted = {text.get_text(): text.xy for text in ax.texts if text.get_text()}
    wanted = {"λ = 1": (0.9, 0.5), "λ = 5": (0.8, 0.7), "default": (0.8, 0.1)}
    assert noted == {note: pytest.approx(place) for note, place in wanted.items()}


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({}, "empty"),
        ({"AE": (1,)}, "AE"),
        ({"AE": ([1, 2], [1])}, "x of 'AE'"),
        ({"AE": ([1, 2], [1, 2], ["a"])}, "notes"),
    ],
)
def test_front_names_what_is_wrong(wrong, words):
    with pytest.raises(ValueError, match=words):
        plots.front(wrong)


def test_a_magnitude_function_without_positive_values_is_refused():
    with pytest.raises(ValueError, match="magnitudes holds no positive"):
        plots.magnitude_curve([1, 2], [-1, 0], marks={"here": 1})


# Films

snapshots = {epoch: points * (1 + epoch / 10) for epoch in (20, 0, 10)}


def frames(path):
    """The pictures of a GIF, and how long each is shown, in milliseconds."""
    gif = Image.open(path)
    shown = []
    for k in range(gif.n_frames):
        gif.seek(k)
        shown.append((np.asarray(gif.convert("RGB")).astype(int), gif.info["duration"]))
    return shown


def places(film, k):
    """Where the points are in picture k, in the order in which matplotlib holds them."""
    film.show(k)
    dots = film.figure.axes[0].collections[0]
    return np.transpose(dots._offsets3d) if hasattr(dots, "_offsets3d") else dots.get_offsets()


def test_a_film_shows_its_snapshots_in_order():
    film = plots.animate(snapshots, align=False, title="Growing")
    ax = film.figure.axes[0]
    assert film.epochs == (0, 10, 20)
    for k, epoch in enumerate(film.epochs):
        np.testing.assert_array_equal(places(film, k), snapshots[epoch])
        assert ax.get_title().replace("\u2007", " ") == f"Growing, {epoch:>2} epochs"


def test_colours_stay_with_their_points():
    film = plots.animate(snapshots, values, align=False, size=9)
    order = np.argsort(values)
    dots = film.figure.axes[0].collections[0]
    for k in (2, 0):
        np.testing.assert_array_equal(places(film, k), snapshots[film.epochs[k]][order])
        np.testing.assert_array_equal(dots.get_array(), values[order])
    by_class = plots.animate(snapshots, labels=labels).figure.axes[0].collections[0]
    wanted = [to_rgba(plots.PETROFF[k]) for k in labels]
    np.testing.assert_array_equal(by_class.get_facecolor(), wanted)


@pytest.mark.parametrize("dimension", [2, 3])
def test_nothing_but_the_points_moves(dimension):
    cloud = space[:, :dimension]
    film = plots.animate({0: cloud, 5: 9 * cloud, 900: 3 * cloud}, values, fps=5)
    ax = film.figure.axes[0]

    def stage():
        film.figure.canvas.draw()
        limits = [getattr(ax, f"get_{direction}lim")() for direction in "xyz"[:dimension]]
        return limits, ax.get_position().bounds

    film.show(0)
    first = stage()
    film.show(1)
    assert stage() == first
    for (low, high), column in zip(first[0], 9 * cloud.T, strict=True):
        assert low < column.min()
        assert column.max() < high


def test_alignment_takes_out_the_turning_and_nothing_else():
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    wide = points * [1, 2]
    moved = {0: points @ turn + 5, 1: wide, 2: wide @ turn.T - 3}
    raw = plots.animate(moved, align=False)
    aligned = plots.animate(moved)
    np.testing.assert_array_equal(places(aligned, 2), moved[2])
    np.testing.assert_allclose(places(aligned, 1), moved[2], atol=1e-12)
    ways = []
    for film in (raw, aligned):
        stops = [np.array(places(film, k)) for k in range(3)]
        gaps = [np.linalg.norm(stop[:, None] - stop, axis=2) for stop in stops]
        for given, gap in zip(moved.values(), gaps, strict=True):  # distances are what they were
            wanted = np.linalg.norm(given[:, None] - given, axis=2)
            np.testing.assert_allclose(gap, wanted, atol=1e-12)
        ways.append(sum(np.linalg.norm(stops[k + 1] - stops[k]) for k in range(2)))
    assert ways[1] < ways[0] / 2


def test_pictures_between():
    film = plots.animate({0: points, 10: 3 * points}, between=3, align=False)
    assert film.epochs == (0, 2, 5, 8, 10)
    np.testing.assert_allclose(places(film, 1), 1.5 * points)
    assert plots.animate({7: points}, between=3).epochs == (7,)


@pytest.mark.parametrize("dimension", [2, 3])
def test_gif(dimension, tmp_path):
    moving = {k: space[:9, :dimension] + k for k in range(3)}
    film = plots.animate(moving, values[:9], align=False, fps=5)
    path = film.save(tmp_path / "film.gif")
    assert path == tmp_path / "film.gif"
    shown = frames(path)
    assert [duration for _, duration in shown] == [200, 200, 1200]
    assert all(np.abs(shown[k][0] - shown[k + 1][0]).max() > 100 for k in range(2))
    if dimension == 2:
        assert path.read_bytes() == film.to_gif()


def test_the_player_fetches_nothing(tmp_path):
    film = plots.animate(snapshots, values)
    page = film.save(str(tmp_path / "film.html")).read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    for html in (page, film._repr_html_()):
        assert html.count("data:image/png;base64,") == 3
        assert not re.search(r"https?:|<link|src=[\"'](?!data)|fa-", html)
    buttons = re.findall(r"<button.*?</button>", page, re.DOTALL)
    assert len(buttons) == 9 == page.count("aria-label") - 1
    assert all(re.sub("<[^>]*>", "", button).strip() for button in buttons)


def test_mp4_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "is_available", lambda name: False)
    with pytest.raises(RuntimeError, match="film.mp4.*ffmpeg.*install"):
        plots.animate(snapshots).save(tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not writers.is_available("ffmpeg"), reason="ffmpeg is not installed")
def test_mp4(tmp_path):
    assert b"ftyp" in plots.animate(snapshots).save(tmp_path / "film.mp4").read_bytes()[:12]


def test_a_film_is_not_shown_twice():
    plots.animate(snapshots)
    assert not plt.get_fignums()


def test_a_film_on_axes_of_ones_own(caplog):
    figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2), layout="constrained")
    plots.loss_curves(history, ax=left)
    film = plots.animate(snapshots, values, ax=right, colorbar=False)
    assert film.figure is figure
    assert len(frames(BytesIO(film.to_gif()))) == 3
    one = plt.figure(layout="constrained")
    assert plots.animate(snapshots, ax=one.subfigures(1, 2)[1].subplots()).figure is one
    assert not caplog.records  # matplotlib logs what it cannot do


def test_films_are_opaque():
    with plt.rc_context({"figure.facecolor": (1, 1, 1, 0)}):
        film = plots.animate(snapshots)
    assert to_rgba(film.figure.get_facecolor()) == to_rgba("white")


@pytest.mark.parametrize(
    "held",
    [
        {"snapshots": snapshots},
        SimpleNamespace(notes_={"snapshots": snapshots}),
        SimpleNamespace(notes={"snapshots": snapshots}),
        {k: torch.tensor(v, requires_grad=True) for k, v in snapshots.items()},
    ],
    ids=["notes", "estimator", "training", "tensors"],
)
def test_what_holds_snapshots_will_do(held):
    assert plots.animate(held).epochs == (0, 10, 20)


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        ({"snapshots": {}}, ValueError, "^snapshots is empty.*Snapshots"),
        ({"snapshots": SimpleNamespace(notes_={"best": 1})}, ValueError, "^snapshots is empty"),
        ({"snapshots": points}, TypeError, "^snapshots must map .* ndarray"),
        ({"snapshots": {"first": points}}, TypeError, "key of snapshots"),
        ({"snapshots": {0: points, 5: space}}, ValueError, r"^snapshots\[5\] has shape"),
        ({"snapshots": {3: points[:, :1]}}, ValueError, r"^snapshots\[3\]"),
        ({"between": -1}, ValueError, "^between"),
        ({"between": 0.5}, TypeError, "^between"),
        ({"fps": 0}, ValueError, "^fps"),
        ({"values": values[:3]}, ValueError, "values has 3"),
    ],
)
def test_films_name_what_is_wrong(wrong, error, words):
    with pytest.raises(error, match=words):
        plots.animate(**{"snapshots": snapshots, **wrong})


@pytest.mark.parametrize(
    "path, error",
    [("film.avi", ValueError), ("film", ValueError), ("nowhere/film.gif", FileNotFoundError)],
)
def test_films_name_the_path_that_is_wrong(tmp_path, path, error):
    with pytest.raises(error, match="film"):
        plots.animate(snapshots).save(tmp_path / path)


# The package


def test_nothing_is_imported_before_it_is_used():
    code = """if True:
        import sys
        from magnitude_ae import plots
        assert "matplotlib" not in sys.modules and "torch" not in sys.modules
        assert set(plots.__all__) <= set(dir(plots))
        plots.scatter([[0, 0], [1, 1]])
        assert "matplotlib" in sys.modules
        print("fine")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr


def test_type_checkers_see_every_name():
    """They read the imports of the package's file, Python its table."""
    tree = ast.parse(Path(plots.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    seen = {
        alias.asname: node.module
        for node in imports
        for alias in node.names
        if node.module.startswith("magnitude_ae.plots.")
    }
    assert sorted(seen) == plots.__all__
    for name, module in seen.items():
        assert getattr(import_module(module), name) is getattr(plots, name)


def test_unknown_pictures():
    with pytest.raises(AttributeError, match="no attribute 'scater'.*scatter"):
        _ = plots.scater


WRONG = {
    "points": lambda: plots.scatter(points * np.nan),
    "values": lambda: plots.scatter(points, values[:3]),
    "limits": lambda: plots.scatter(points, values, limits=(2, 1)),
    "size": lambda: plots.scatter(points, size=-1),
    "images": lambda: plots.thumbnails(points, images[:3]),
    "spacing": lambda: plots.thumbnails(points, images, spacing=-1),
    "history": lambda: plots.loss_curves({}),
    "best_epoch": lambda: plots.loss_curves(history, best_epoch=np.nan),
    "marks": lambda: plots.magnitude_curve(*magnitudes, marks={"far": 100}),
    "n_points": lambda: plots.magnitude_curve(*magnitudes, n_points=0),
    "input_weighting": lambda: plots.weighting_against(values[:3], values),
    "methods": lambda: plots.front({}),
    "fit_from": lambda: plots.race(times, fit_from=np.nan),
    "columns": lambda: plots.shapes_grid({"one": {}}),
    "between": lambda: plots.animate(snapshots, between=-1),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_names_its_argument_and_leaves_no_figure(name):
    with pytest.raises(ValueError, match=name):
        WRONG[name]()
    assert not plt.get_fignums()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_tensors_of_any_precision_are_read(dtype):
    tensor = torch.tensor([[1, 2], [3, 4]], dtype=dtype)
    numbers = as_numbers(tensor, "points", 2)
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "given",
    [
        torch.zeros(2, 2, dtype=torch.complex64),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, 2, device="meta"),
        np.zeros((2, 2), dtype=complex),
        [["a", "b"]],
        None,
        np.zeros((2, 5)),
        np.zeros((0, 2)),
    ],
    ids=["complex", "sparse", "meta", "complex array", "text", "nothing", "wide", "empty"],
)
def test_what_cannot_be_drawn_is_named(given):
    with pytest.raises((TypeError, ValueError), match="^cloud"):
        as_coordinates(given, "cloud")
