"""The choice of a scale: what each rule promises, in which units, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
from known_spaces import k32

import magnitude_ae as mag

POINTS = np.random.default_rng(0).integers(-40, 40, (30, 3)) / 16.0


def test_choose_scale_is_covariant():
    t = mag.choose_scale(POINTS)
    assert isinstance(t, float) and t > 0
    for factor in (1e-6, 3.0, 1e5):
        assert mag.choose_scale(POINTS * factor) == pytest.approx(
            t / factor, rel=1e-3
        )  # brentq stops at 1e-4 in log t
        assert mag.choose_scale(POINTS * factor + 7 * factor) == pytest.approx(t / factor, rel=1e-3)


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.5, 0.95])
def test_choose_scale_does_what_it_says(fraction):
    t = mag.choose_scale(POINTS, fraction=fraction)
    distinct = len(np.unique(POINTS, axis=0))
    assert (mag.magnitude(POINTS, t) - 1) / (distinct - 1) == pytest.approx(fraction, rel=1e-3)


def test_choose_scale_by_convergence_and_default():
    t = mag.choose_scale(POINTS, "convergence")
    assert mag.magnitude(POINTS, t) == pytest.approx(0.95 * len(POINTS), rel=1e-3)
    assert mag.choose_scale(POINTS) == mag.choose_scale(POINTS, "fraction", fraction=0.05)


def test_choose_scale_ignores_copies():
    assert mag.choose_scale(np.repeat(POINTS, 3, 0)) == pytest.approx(
        mag.choose_scale(POINTS), rel=1e-3
    )


@pytest.mark.parametrize(
    "points",
    [
        POINTS.tolist(),
        torch.from_numpy(POINTS).float(),
        pd.DataFrame(POINTS),
        torch.nn.Parameter(torch.from_numpy(POINTS)),
    ],
    ids=lambda p: type(p).__name__,
)
def test_choose_scale_takes_any_container(points):
    t = mag.choose_scale(points)
    assert type(t) is float and t == pytest.approx(mag.choose_scale(POINTS), rel=1e-3)


def test_choose_scale_by_another_metric():
    t = mag.choose_scale(POINTS, metric="cityblock")
    n = len(np.unique(POINTS, axis=0))
    assert (mag.magnitude(POINTS, t, metric="cityblock") - 1) / (n - 1) == pytest.approx(
        0.05, rel=1e-3
    )


@pytest.mark.parametrize(
    "given",
    [(k32().points, "precomputed"), (POINTS[:25] + 3, "chebyshev")],
    ids=["K_{3,2}", "chebyshev"],
)
@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.6])
def test_choose_scale_does_not_mistake_a_pole_for_an_answer(given, fraction):
    "Where the magnitude jumps from −∞ to ∞ it changes sign without taking the value asked for."
    points, metric = given
    try:
        t = mag.choose_scale(points, metric=metric, fraction=fraction)
    except (ValueError, mag.SingularSimilarityError) as error:
        assert "scale" in str(error)
        return
    n = len(np.unique(points, axis=0))
    assert (mag.magnitude(points, t, metric=metric) - 1) / (n - 1) == pytest.approx(
        fraction, rel=1e-2
    )


def test_choose_scale_of_two_points():
    "1 + tanh(t d / 2) = 1 + fraction has a closed solution."
    assert mag.choose_scale([[0.0], [3.0]], fraction=0.4) == pytest.approx(
        2 * np.arctanh(0.4) / 3, rel=1e-3
    )


def test_the_growth_of_two_points_has_its_peak_where_the_formula_has():
    x = np.linspace(0.01, 10, 100_001)  # t d / 2 in 1 + tanh(t d / 2)
    slope = x / np.cosh(x) ** 2 / (1 + np.tanh(x))
    expected = 2 * x[slope.argmax()] / 3
    assert mag.choose_scale([[0.0], [3.0]], "growth") == pytest.approx(
        expected, rel=0.15
    )  # the grid's step in log t is 0.05 to 0.1


def test_the_growth_is_largest_at_the_scale_it_chooses():
    t = mag.choose_scale(POINTS, "growth")

    def slope(t):
        return np.log(mag.magnitude(POINTS, 1.1 * t) / mag.magnitude(POINTS, t / 1.1)) / (
            2 * np.log(1.1)
        )

    assert type(t) is float and all(
        slope(t) > slope(factor * t) - 1e-3 for factor in (0.1, 0.5, 0.8, 1.25, 2, 10)
    )


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e5])
def test_the_growth_is_covariant_and_ignores_copies(factor):
    t = mag.choose_scale(POINTS, "growth")
    assert mag.choose_scale(POINTS * factor, "growth") == pytest.approx(t / factor, rel=1e-6)
    assert mag.choose_scale(np.repeat(POINTS, 2, 0) * factor, "growth") == pytest.approx(
        t / factor, rel=0.1
    )  # another grid


def test_a_function_of_the_scale_is_minimised_around_the_default():
    tried = []

    def loss(t):
        tried.append(t)
        return abs(np.log(t / mag.choose_scale(POINTS)) - np.log(8))

    assert mag.choose_scale(POINTS, loss) == pytest.approx(8 * mag.choose_scale(POINTS))
    np.testing.assert_allclose(tried, mag.choose_scale(POINTS) * 2.0 ** np.arange(-5, 6))
    assert all(type(t) is float for t in tried)


@pytest.mark.parametrize(
    "scales", [[1, 2, 4], np.array([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0]), range(1, 5)]
)
def test_a_function_of_the_scale_is_tried_at_the_scales_given(scales):
    t = mag.choose_scale(POINTS, lambda t: torch.tensor((t - 1.9) ** 2), scales=scales)
    assert type(t) is float and t == 2.0


def test_a_scale_where_the_function_fails_does_not_count():
    assert (
        mag.choose_scale(POINTS, lambda t: float("nan") if t < 3 else t, scales=[1, 2, 3, 4]) == 3
    )
    with pytest.raises(ValueError, match="NaN at every scale"):
        mag.choose_scale(POINTS, lambda t: np.nan, scales=[1, 2])


def test_arguments_that_do_not_go_together():
    with pytest.raises(ValueError, match="scales goes with a function"):
        mag.choose_scale(POINTS, scales=[1, 2])
    for method in ("growth", lambda t: t):
        with pytest.raises(ValueError, match="fraction goes with method='fraction'"):
            mag.choose_scale(POINTS, method, fraction=0.5)
    with pytest.raises(ValueError, match="empty"):
        mag.choose_scale(POINTS, lambda t: t, scales=[])
    with pytest.raises(ValueError, match="coincide"):
        mag.choose_scale(np.ones((3, 2)), "growth")


def test_a_scale_is_not_tried_twice():
    tried = []

    class Counted(mag.Cholesky):
        def factor(self, similarity):
            tried.append(similarity.t)
            return super().factor(similarity)

    mag.choose_scale(POINTS, solver=Counted())
    assert len(tried) == len(set(tried))
    assert len(tried) < 20
