"""Pictures read back from their axes: what was given is what is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.offsetbox import AnnotationBbox

from magnitude_ae import plots

rng = np.random.default_rng(0)
points, images, labels = rng.normal(size=(80, 2)), rng.random((80, 16)), np.arange(80) % 3


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


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


@pytest.mark.parametrize("given", [images, images.reshape(80, 4, 4), torch.tensor(images, requires_grad=True)], ids=["flat", "square", "tensor"])
def test_thumbnails_show_the_image_of_their_point(given):
    _, ax = plt.subplots()
    assert plots.thumbnails(torch.from_numpy(points), given, labels=torch.from_numpy(labels), ax=ax, size=20) is ax
    for picture in pictures(ax):
        row = int(np.flatnonzero((points == picture.xy).all(1))[0])
        np.testing.assert_array_equal(picture.offsetbox.get_data(), images[row].reshape(4, 4))
        assert picture.offsetbox.get_zoom() == 5
        assert picture.patch.get_edgecolor() == to_rgba(plots.PETROFF[labels[row]])


def test_thumbnails_may_be_oblong():
    ax = plots.thumbnails(points, rng.random((80, 4, 8)), size=16)
    assert pictures(ax)[0].offsetbox.get_zoom() == 2


@pytest.mark.parametrize("wrong", [dict(images=images[:, :15]), dict(images=images[:9]), dict(images=images[0]), dict(points=points[:, :1]), dict(spacing=0), dict(labels=labels[:5])])
def test_thumbnails_name_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        plots.thumbnails(**{"points": points, "images": images, **wrong})


def test_front_draws_lines_dots_and_notes():
    _, ax = plt.subplots()
    methods = {"AE": ([0.9, 0.8], [0.5, 0.7], ["λ = 1", "λ = 5"]), "PCA": (0.7, 0.4), "UMAP": (torch.tensor(0.8), torch.tensor(0.1), "default")}
    assert plots.front(methods, ax=ax, title="Front") is ax
    assert [line.get_label() for line in ax.lines] == list(methods)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0.9, 0.5], [0.8, 0.7]])
    assert ax.lines[0].get_linestyle() == "-" and ax.lines[1].get_linestyle() == "None"
    noted = {text.get_text(): text.xy for text in ax.texts if text.get_text()}
    assert noted == {"λ = 1": (0.9, 0.5), "λ = 5": (0.8, 0.7), "default": pytest.approx((0.8, 0.1))}


@pytest.mark.parametrize("wrong, told", [({}, "empty"), ({"AE": (1,)}, "AE"), ({"AE": ([1, 2], [1])}, "x of 'AE'"), ({"AE": ([1, 2], [1, 2], ["a"])}, "notes")])
def test_front_names_what_is_wrong(wrong, told):
    with pytest.raises(ValueError, match=told):
        plots.front(wrong)
