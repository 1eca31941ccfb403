"""Holes of a picture: shapes whose number of holes is known."""

import numpy as np
import pytest

import magnitude_ae as mag

pytest.importorskip("ripser")


def ring(n, rng, centre=(0.0, 0.0), noise=0.0):
    angles = rng.uniform(0, 2 * np.pi, n)
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    return points + centre + noise * rng.normal(size=(n, 2))


def square(n, rng):
    return rng.random((n, 2))


SHAPES = {
    "ring": (lambda n, rng: ring(n, rng), 1),
    "noisy ring": (lambda n, rng: ring(n, rng, noise=0.1), 1),
    "eight": (lambda n, rng: np.concatenate([ring(n // 2, rng), ring(n // 2, rng, (2, 0))]), 2),
    "square": (square, 0),
    "cloud": (lambda n, rng: rng.normal(size=(n, 2)), 0),
    "line": (lambda n, rng: np.stack([rng.random(n)] * 2, 1), 0),
    "ball": (lambda n, rng: mag.datasets.ball(n, random_state=rng), 0),
    "pierced": (lambda n, rng: (p := square(2 * n, rng) - 0.5)[np.abs(p).max(1) > 0.2][:n], 1),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_the_number_of_holes_is_known(name, n, seed):
    make, holes = SHAPES[name]
    assert mag.loops(make(n, np.random.default_rng(seed))) == holes


def test_a_sphere_has_no_way_around_unless_its_points_are_sparse():
    for seed in range(3):
        assert mag.loops(mag.datasets.sphere(1000, random_state=seed)) == 0
        assert mag.loops(mag.datasets.sphere(200, random_state=seed)) > 0  # a known limit


def test_size_place_turn_and_order_make_no_difference():
    rng = np.random.default_rng(0)
    points = np.concatenate([ring(300, rng), ring(300, rng, (2, 0))])
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    for same in (1e9 * points, 1e-9 * points, points + 1e4, points @ turn, points[::-1]):
        assert mag.loops(same) == 2


def test_the_share_is_of_the_largest_distance():
    """A square of four points: born at 1, filled at √2, and √2 is its largest distance."""
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    persistence = (np.sqrt(2) - 1) / np.sqrt(2)
    assert mag.loops(corners, persistence - 1e-3) == 1
    assert mag.loops(corners, persistence + 1e-3) == 0


@pytest.mark.parametrize("points", [np.zeros((50, 2)), np.eye(3), [[1.0, 2.0]]])
def test_too_few_places_have_no_holes(points):
    assert mag.loops(points) == 0


@pytest.mark.parametrize(
    "settings, error",
    [
        ({"share": 0}, ValueError),
        ({"share": 1.5}, ValueError),
        ({"share": "much"}, TypeError),
        ({"max_points": 0}, ValueError),
        ({"max_points": 1.5}, TypeError),
    ],
)
def test_settings_are_refused_by_name(settings, error):
    with pytest.raises(error, match=next(iter(settings))):
        mag.loops(np.eye(5), **settings)
