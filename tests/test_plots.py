"""Pictures read back from their axes: what was given is what is drawn, and it can be read in every theme and with every kind of colour vision."""

import pickle
import re
from io import BytesIO
from itertools import combinations
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.animation import writers
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image

from magnitude_ae import plots

rng = np.random.default_rng(0)
points, images, labels = rng.normal(size=(80, 2)), rng.random((80, 16)), np.arange(80) % 3
space, values = rng.normal(size=(80, 3)), rng.random(80)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def axes(figure, dimension=2):
    return figure.add_subplot(projection="3d" if dimension == 3 else None)


history = {
    "epoch": np.arange(1, 41),
    "phase": ["burn-in"] * 10 + ["joint"] * 30,
    "reconstruction_loss": np.linspace(2, 1, 40),
    "weighting_loss": np.linspace(1, 0.1, 40),
    "total_loss": np.linspace(3, 1.1, 40),
}
times = {
    name: (
        [100, 200, 400],
        np.array([1, 4, 16]) * factor,
        np.array([0.9, 3, 15]) * factor,
        np.array([1.1, 5, 17]) * factor,
    )
    for name, factor in (("inverse", 1e-3), ("solve", 2e-4))
}
# Every picture that goes on axes, as a function of the figure.
PICTURES = {
    "values": lambda figure: plots.scatter(points, values, ax=axes(figure), title="Values"),
    "classes": lambda figure: plots.scatter(
        points, labels=labels, ax=axes(figure), title="Classes"
    ),
    "plain": lambda figure: plots.scatter(points, ax=axes(figure), title="Plain"),
    "values in space": lambda figure: plots.scatter(
        space, values, ax=axes(figure, 3), title="Values in space"
    ),
    "classes in space": lambda figure: plots.scatter(
        space, labels=labels, ax=axes(figure, 3), title="Classes in space"
    ),
    "thumbnails": lambda figure: plots.thumbnails(
        points, images, labels=labels, ax=axes(figure), title="Images"
    ),
    "loss curves": lambda figure: plots.loss_curves(
        history, ax=axes(figure), best_epoch=35, title="Losses"
    ),
    "weighting against": lambda figure: plots.weighting_against(
        values, values**2, ax=axes(figure), title="square:"
    ),
    "magnitude curve": lambda figure: plots.magnitude_curve(
        [0.1, 1, 10],
        [1.1, 4, 9],
        ax=axes(figure),
        n_points=10,
        marks={"chosen": 1.0},
        label="ten",
        title="Magnitude",
    ),
    "front": lambda figure: plots.front(
        {"AE": ([0.9, 0.8], [0.5, 0.7], ["λ = 1", "λ = 5"]), "PCA": (0.7, 0.4)},
        ax=axes(figure),
        title="Front",
    ),
    "race": lambda figure: plots.race(times, ax=axes(figure), title="Race"),
}
every = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


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
WHITE, DARK, BLACK = (
    "#ffffff",
    "#111111",
    "#000000",
)  # paper, JupyterLab's dark ground, dark_background's


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


def lab(linear):
    "CIE L*a*b* for daylight D65: lightness from 0 to 100, and distances of which 2.3 is just noticeable."
    xyz = (
        linear
        @ np.array(
            [
                [0.4124564, 0.3575761, 0.1804375],
                [0.2126729, 0.7151522, 0.0721750],
                [0.0193339, 0.1191920, 0.9503041],
            ]
        ).T
        / [0.95047, 1, 1.08883]
    )
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def test_the_eyes_of_this_test_see():
    np.testing.assert_allclose(lab(seen([WHITE, BLACK])), [[100, 0, 0], [0, 0, 0]], atol=0.02)
    assert contrast(WHITE, BLACK) == pytest.approx(21)
    red_and_green = [
        "#c00000",
        "#5f7200",
    ]  # far apart, but alike without the cones for red or without those for green
    apart = {
        name: np.linalg.norm(np.subtract(*lab(seen(red_and_green, vision))))
        for name, vision in VISION.items()
    }
    assert (
        apart["normal"] > 80
        and apart["deuteranopia"] < apart["normal"] / 2
        and apart["protanopia"] < apart["normal"] / 2
    )


@each_vision
def test_weightings_darken_evenly(vision):
    "Lightness alone tells the order, and both ends show on all the grounds that points lie on."
    colors = plots.weighting_colormap()(np.linspace(0, 1, 128))
    lightness = lab(seen(colors, vision))[:, 0]
    assert (np.diff(lightness) < 0).all() and lightness[0] - lightness[-1] > 70
    for ground in (WHITE, plots.PAPER):
        assert (
            contrast(colors[-1], ground, vision) > 15 and contrast(colors[0], ground, vision) > 1.5
        )


@each_vision
def test_classes_can_be_told_apart(vision):
    distances = [
        np.linalg.norm(a - b) for a, b in combinations(lab(seen(plots.PETROFF, vision)), 2)
    ]
    assert min(distances) > 7 * 2.3
    first = [
        np.linalg.norm(a - b) for a, b in combinations(lab(seen(plots.PETROFF[:3], vision)), 2)
    ]
    assert min(first) > 17 * 2.3


@each_vision
def test_losses_can_be_told_apart(vision):
    ax = plots.loss_curves(history)
    two = [line.get_color() for line in ax.lines[:2]]
    assert np.linalg.norm(np.subtract(*lab(seen(two, vision)))) > 80
    assert all(contrast(color, ground, vision) > 3 for color in two for ground in (WHITE, DARK))


@each_vision
@pytest.mark.parametrize("ground", [WHITE, DARK, BLACK])
def test_curves_show_on_every_ground(ground, vision):
    assert all(contrast(color, ground, vision) > 1.45 for color in plots.PETROFF)
    assert all(contrast(color, ground, vision) > 1.75 for color in plots.PETROFF[:9])


# Themes


def written(figure):
    "All text of a drawn figure, with the colour under it."
    figure.canvas.draw()
    page, found = figure.get_facecolor(), []
    for text in figure.findobj(matplotlib.text.Text):
        if not (text.get_text().strip() and text.get_visible()):
            continue
        middle = text.get_window_extent().get_points().mean(axis=0)
        under = [
            ax.get_facecolor() for ax in figure.axes if ax.axison and ax.bbox.contains(*middle)
        ]
        found.append((text, next((color for color in under if to_rgba(color)[3] == 1), page)))
    return found


@every
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_text_is_readable_in_both_themes(style, picture):
    with plt.style.context(style):
        text_and_ground = written(picture(plt.figure(layout="constrained")).figure)
    assert len(text_and_ground) > 3
    for text, ground in text_and_ground:
        assert contrast(text.get_color(), ground) > 3.9, text.get_text()


@every
@pytest.mark.parametrize("page", [WHITE, DARK, BLACK])
def test_text_is_readable_on_a_transparent_figure(page, picture):
    figure = plt.figure(layout="constrained", facecolor=(1, 1, 1, 0))
    for text, ground in written(picture(figure).figure):
        assert contrast(text.get_color(), page if to_rgba(ground)[3] == 0 else ground) > 3.9, (
            text.get_text()
        )


@pytest.mark.parametrize("face", ["black", (1, 1, 1, 0), "#222233"])
@pytest.mark.parametrize("name", ["values", "classes", "plain", "thumbnails", "weighting against"])
def test_points_lie_on_light_ground(name, face):
    with plt.rc_context({"axes.facecolor": face}):
        ax = PICTURES[name](plt.figure())
    assert contrast(ax.get_facecolor(), WHITE) < 1.1 and ax.get_facecolor()[3] == 1
    for color in ax.collections[0].get_facecolor():
        assert contrast(color, ax.get_facecolor()) > 1.4


def test_a_light_ground_is_left_as_it_is():
    with plt.rc_context({"axes.facecolor": "#eaeaf2"}):
        assert to_rgba(plots.scatter(points, values).get_facecolor()) == to_rgba("#eaeaf2")


def test_walls_are_light_in_the_dark():
    with plt.style.context("dark_background"):
        ax = plots.scatter(space, values)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        assert (
            contrast(axis.pane.get_facecolor(), WHITE) < 1.25 and axis.pane.get_facecolor()[3] == 1
        )
    assert contrast(ax.xaxis.label.get_color(), BLACK) == pytest.approx(21)


@every
def test_dark_curves_show(picture):
    with plt.style.context("dark_background"):
        ax = picture(plt.figure())
    for line in (line for line in ax.lines if len(line.get_xdata())):
        assert contrast(line.get_color(), ax.get_facecolor()) > 1.7


@every
def test_settings_are_left_as_they_were(picture):
    before = dict(matplotlib.rcParams)
    picture(plt.figure())
    assert dict(matplotlib.rcParams) == before


# Layout and files


@every
def test_a_column_of_a_journal_is_wide_enough(picture):
    figure = plt.figure(figsize=(3.4, 2.7), layout="constrained")
    ax = picture(figure)
    figure.canvas.draw()
    needed = figure.get_tightbbox()
    assert needed.x0 > -0.02 and needed.y0 > -0.02 and needed.x1 < 3.42 and needed.y1 < 2.72
    assert all(
        text.get_fontsize() >= 6.5
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_text().strip()
    )
    if ax.name != "3d":
        assert ax.get_window_extent().width / figure.dpi > 1.6


@every
@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_it_can_be_saved(kind, picture):
    file = BytesIO()
    picture(plt.figure(layout="constrained")).figure.savefig(file, format=kind)
    assert 2_000 < file.tell() < 400_000


@pytest.mark.parametrize("dimension", [2, 3])
def test_large_clouds_are_stored_as_images(dimension):
    def stored(n):
        file, cloud = BytesIO(), rng.normal(size=(n, dimension))
        plots.scatter(cloud, rng.random(n), colorbar=False).figure.savefig(
            file, format="svg", dpi=300
        )
        return file.getvalue()

    small, large = stored(1000), stored(20_000)
    assert b"<image" not in small and len(small) < (2e5 if dimension == 2 else 8e5)
    assert (
        large.count(b"<image") == 1 and len(large) < 1.5e6 and b"DejaVuSans" in large
    )  # letters are no part of the image


def test_true_proportions():
    ax = plots.scatter(points * [10, 1], values)
    ax.figure.canvas.draw()
    assert ax.get_aspect() == 1
    flat = plots.scatter(space * [1, 2, 4], values)
    extent = np.ptp(space * [1, 2, 4], axis=0)
    np.testing.assert_allclose(
        flat._box_aspect / flat._box_aspect.max(), np.maximum(extent / extent.max(), 0.1)
    )


def test_markers_shrink_with_their_room():
    large, small = plt.figure(figsize=(6, 6)), plt.figure(figsize=(2, 2))
    sizes = [
        plots.scatter(points, values, ax=axes(figure)).collections[0].get_sizes()[0]
        for figure in (large, small)
    ]
    assert sizes[0] == 30 and 9 < sizes[1] < 15
    assert plots.scatter(points, values, size=7).collections[0].get_sizes() == [7]


# Depth


def depths(ax):
    "Depth towards the viewer of each point, by the direction of the view."
    elevation, turn = np.radians([ax.elev, ax.azim])
    return space @ [
        np.cos(elevation) * np.cos(turn),
        np.cos(elevation) * np.sin(turn),
        np.sin(elevation),
    ]


@pytest.mark.parametrize("view", [(24, -60), (10, 130)])
@pytest.mark.parametrize(
    "colors", [dict(values=values), dict(labels=labels), {}], ids=["values", "classes", "plain"]
)
def test_near_points_are_larger(view, colors):
    ax = plots.scatter(space, **colors)
    ax.view_init(*view)
    ax.figure.canvas.draw()
    dots = ax.collections[0]
    sizes = np.asarray(dots._sizes3d)
    assert len(sizes) == len(space) and sizes.max() > 2 * sizes.min()
    assert np.corrcoef(sizes, depths(ax))[0, 1] > 0.9
    assert (dots.get_facecolor()[:, 3] == 1).all()  # depth fades no colour


def test_the_view_is_the_users_once_it_is_chosen():
    _, ax = plt.subplots(subplot_kw={"projection": "3d"})
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
    np.testing.assert_array_equal(
        ax.collections[0].get_facecolor(), [to_rgba(plots.PETROFF[k]) for k in labels]
    )
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), points)
    handles, names = ax.get_legend_handles_labels()
    assert names == ["0", "1", "2"] and [handle.get_color() for handle in handles] == list(
        plots.PETROFF[:3]
    )
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
    assert plots.scatter(points, labels=labels, colorbar=False).get_legend() is None


def test_twenty_classes_in_steps_of_lightness():
    ax = plots.scatter(points, labels=np.arange(80) % 20)
    colors = [handle.get_color() for handle in ax.get_legend_handles_labels()[0]]
    assert len(set(colors)) == 20 and (np.diff(luminance(seen(colors))) > 0).all()
    assert contrast(colors[-1], WHITE) > 1.2


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
    assert (np.linalg.norm(points[:, None] - places, axis=2).min(1) < least).all()
    np.testing.assert_array_equal(places[0], points[0])


@pytest.mark.parametrize(
    "given",
    [images, images.reshape(80, 4, 4), torch.tensor(images, requires_grad=True)],
    ids=["flat", "square", "tensor"],
)
def test_thumbnails_show_the_image_of_their_point(given):
    _, ax = plt.subplots()
    assert (
        plots.thumbnails(
            torch.from_numpy(points), given, labels=torch.from_numpy(labels), ax=ax, size=20
        )
        is ax
    )
    for picture in pictures(ax):
        row = int(np.flatnonzero((points == picture.xy).all(1))[0])
        np.testing.assert_array_equal(picture.offsetbox.get_data(), images[row].reshape(4, 4))
        assert picture.offsetbox.get_zoom() == 5
        assert picture.patch.get_edgecolor() == to_rgba(plots.PETROFF[labels[row]])


def test_thumbnails_may_be_oblong():
    ax = plots.thumbnails(points, rng.random((80, 4, 8)), size=16)
    assert pictures(ax)[0].offsetbox.get_zoom() == 2


@pytest.mark.parametrize(
    "wrong",
    [
        dict(images=images[:, :15]),
        dict(images=images[:9]),
        dict(images=images[0]),
        dict(points=points[:, :1]),
        dict(spacing=0),
        dict(labels=labels[:5]),
    ],
)
def test_thumbnails_name_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        plots.thumbnails(**{"points": points, "images": images, **wrong})


def test_front_draws_lines_dots_and_notes():
    _, ax = plt.subplots()
    methods = {
        "AE": ([0.9, 0.8], [0.5, 0.7], ["λ = 1", "λ = 5"]),
        "PCA": (0.7, 0.4),
        "UMAP": (torch.tensor(0.8), torch.tensor(0.1), "default"),
    }
    assert plots.front(methods, ax=ax, title="Front") is ax
    assert [line.get_label() for line in ax.lines] == list(methods)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0.9, 0.5], [0.8, 0.7]])
    assert ax.lines[0].get_linestyle() == "-" and ax.lines[1].get_linestyle() == "None"
    noted = {text.get_text(): text.xy for text in ax.texts if text.get_text()}
    assert noted == {"λ = 1": (0.9, 0.5), "λ = 5": (0.8, 0.7), "default": pytest.approx((0.8, 0.1))}


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({}, "empty"),
        ({"AE": (1,)}, "AE"),
        ({"AE": ([1, 2], [1])}, "x of 'AE'"),
        ({"AE": ([1, 2], [1, 2], ["a"])}, "notes"),
    ],
)
def test_front_names_what_is_wrong(wrong, told):
    with pytest.raises(ValueError, match=told):
        plots.front(wrong)


# Films

snapshots = {epoch: points * (1 + epoch / 10) for epoch in (20, 0, 10)}


def frames(film):
    "The pictures of the film's GIF, and how long each is shown, in milliseconds."
    gif = Image.open(BytesIO(film.to_gif()))
    shown = []
    for k in range(gif.n_frames):
        gif.seek(k)
        shown.append((np.asarray(gif.convert("RGB")).astype(int), gif.info["duration"]))
    return shown


def places(film, k):
    "Where the points are in picture k, in the order in which matplotlib holds them."
    film.show(k)
    dots = film.figure.axes[0].collections[0]
    return np.transpose(dots._offsets3d) if hasattr(dots, "_offsets3d") else dots.get_offsets()


def test_a_film_shows_its_snapshots_in_order():
    film = plots.animate(snapshots, align=False, title="Growing")
    assert film.epochs == (0, 10, 20)
    for k, epoch in enumerate(film.epochs):
        np.testing.assert_array_equal(places(film, k), snapshots[epoch])
        assert (
            film.figure.axes[0].get_title().replace("\u2007", " ") == f"Growing, {epoch:>2} epochs"
        )


def test_colours_stay_with_their_points():
    film = plots.animate(snapshots, values, align=False, size=9)
    order, dots = np.argsort(values), film.figure.axes[0].collections[0]
    for k in (2, 0):
        np.testing.assert_array_equal(places(film, k), snapshots[film.epochs[k]][order])
        np.testing.assert_array_equal(dots.get_array(), values[order])
    film = plots.animate(snapshots, labels=labels)
    np.testing.assert_array_equal(
        film.figure.axes[0].collections[0].get_facecolor(),
        [to_rgba(plots.PETROFF[k]) for k in labels],
    )


@pytest.mark.parametrize("dimension", [2, 3])
def test_nothing_but_the_points_moves(dimension):
    cloud = space[:, :dimension]
    film = plots.animate({0: cloud, 5: 9 * cloud, 900: 3 * cloud}, values, fps=5)
    ax = film.figure.axes[0]

    def still():
        film.figure.canvas.draw()
        return [getattr(ax, f"get_{d}lim")() for d in "xyz"[:dimension]], ax.get_position().bounds

    film.show(0)
    first = still()
    film.show(1)
    assert still() == first
    assert all(
        low < 9 * cloud[:, d].min() and 9 * cloud[:, d].max() < high
        for d, (low, high) in enumerate(first[0])
    )


def test_alignment_takes_out_the_turning_and_nothing_else():
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    moved = {0: points @ turn + 5, 1: points * [1, 2], 2: (points * [1, 2]) @ turn.T - 3}
    raw, aligned = plots.animate(moved, align=False), plots.animate(moved)
    np.testing.assert_array_equal(places(aligned, 2), moved[2])
    np.testing.assert_allclose(places(aligned, 1), moved[2], atol=1e-12)
    for k in range(3):  # distances are what they were
        between = [
            np.linalg.norm(p[:, None] - p, axis=2) for p in (places(raw, k), places(aligned, k))
        ]
        np.testing.assert_allclose(*between, atol=1e-12)
    way = [
        sum(np.linalg.norm(places(film, k + 1) - places(film, k)) for k in range(2))
        for film in (raw, aligned)
    ]
    assert way[1] < way[0] / 2


def test_pictures_between():
    film = plots.animate({0: points, 10: 3 * points}, between=3, align=False)
    assert film.epochs == (0, 2, 5, 8, 10)
    np.testing.assert_allclose(places(film, 1), 1.5 * points)
    assert plots.animate({7: points}, between=3).epochs == (7,)


@pytest.mark.parametrize("dimension", [2, 3])
def test_gif(dimension, tmp_path):
    film = plots.animate(
        {k: space[:, :dimension] + k for k in range(4)}, values, align=False, fps=5
    )
    shown = frames(film)
    assert len(shown) == 4 and [duration for _, duration in shown] == [200, 200, 200, 1200]
    assert all(np.abs(shown[k][0] - shown[k + 1][0]).max() > 100 for k in range(3))
    path = film.save(tmp_path / "film.gif")
    assert path == tmp_path / "film.gif" and path.read_bytes() == film.to_gif()


def test_the_player_fetches_nothing(tmp_path):
    film = plots.animate(snapshots, values)
    page = film.save(str(tmp_path / "film.html")).read_text(encoding="utf-8")
    for html in (film.to_jshtml(), film._repr_html_(), page):
        assert html.count("data:image/png;base64,") == 3 and not re.search(
            r"https?:|<link|src=[\"'](?!data)|fa-", html
        )
    assert (
        page.startswith("<!DOCTYPE html>")
        and page.count("<button") == page.count("aria-label") - 1 == 9
    )
    assert all(
        re.sub("<[^>]*>", "", button).strip()
        for button in re.findall(r"<button.*?</button>", page, re.S)
    )


def test_mp4_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "is_available", lambda name: False)
    with pytest.raises(RuntimeError, match="film.mp4.*ffmpeg.*Install"):
        plots.animate(snapshots).save(tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not writers.is_available("ffmpeg"), reason="ffmpeg is not installed")
def test_mp4(tmp_path):
    assert b"ftyp" in plots.animate(snapshots).save(tmp_path / "film.mp4").read_bytes()[:12]


def test_a_film_is_not_shown_twice():
    plots.animate(snapshots)
    assert not plt.get_fignums()


def test_a_film_on_axes_of_ones_own(caplog):
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    plots.loss_curves(history, ax=left)
    film = plots.animate(snapshots, values, ax=right, colorbar=False)
    assert film.figure is figure and len(frames(film)) == 3
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
    "wrong, error, told",
    [
        (dict(snapshots={}), ValueError, "^snapshots is empty.*Snapshots"),
        (dict(snapshots=SimpleNamespace(notes_={"best": 1})), ValueError, "^snapshots is empty"),
        (dict(snapshots=points), TypeError, "^snapshots is ndarray"),
        (dict(snapshots={"first": points}), TypeError, "key of snapshots"),
        (dict(snapshots={0: points, 5: space}), ValueError, r"^snapshots\[5\] has shape"),
        (dict(snapshots={3: points[:, :1]}), ValueError, r"^snapshots\[3\]"),
        (dict(between=-1), ValueError, "^between"),
        (dict(between=0.5), ValueError, "^between"),
        (dict(fps=0), ValueError, "^fps"),
        (dict(values=values[:3]), ValueError, "values has 3"),
    ],
)
def test_films_name_what_is_wrong(wrong, error, told):
    with pytest.raises(error, match=told):
        plots.animate(**{"snapshots": snapshots, **wrong})


@pytest.mark.parametrize(
    "path, error",
    [("film.avi", ValueError), ("film", ValueError), ("nowhere/film.gif", FileNotFoundError)],
)
def test_films_name_the_path_that_is_wrong(tmp_path, path, error):
    with pytest.raises(error, match="film"):
        plots.animate(snapshots).save(tmp_path / path)
