"""Spaces whose magnitude and weighting have closed forms, with those answers.

The closed forms are evaluated in 60-digit decimal arithmetic, since they subtract nearly equal
numbers at small scales. Coordinates and distances are small multiples of 1/64 wherever they can be,
so that they, their differences and the squares of these are exact in float32 too, and every error
found is the library's.

`KNOWN` is a list for `pytest.mark.parametrize`, `known_spaces()` a Hypothesis strategy.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

DIGITS = 60


def _exact(function):
    "`function`, with every decimal operation inside it carried out to `DIGITS` digits."

    def carried_out(*args):
        with localcontext() as context:
            context.prec = DIGITS
            return function(*args)

    return carried_out


def _tanh_half(x):  # Decimal
    q = (-x).exp()
    return (1 - q) / (1 + q)


@dataclass(frozen=True)
class KnownSpace:
    "A space, and its weighting and magnitude at any scale, each by its own formula."

    name: str
    points: np.ndarray  # (n, d) coordinates, or (n, n) distances when metric is "precomputed"
    metric: str
    weighting_at: Callable = field(repr=False)  # Decimal t -> list of n Decimals
    magnitude_at: Callable = field(repr=False)  # Decimal t -> Decimal
    positive_definite: bool = True
    # One rounding error in the distances becomes an error of about t^-growth in the weighting.
    # 0: the distances are invertible on the vectors that sum to zero ("strict negative type":
    # distinct Euclidean points, trees, ultrametrics), and any scale will do. Even cycles and l1
    # grids: 1. The six points, whose limit is not 1: 2.
    growth: int = 0

    @property
    def n(self):
        return len(self.points)

    def weighting(self, scale) -> np.ndarray:
        return np.array([float(w) for w in _exact(self.weighting_at)(Decimal(float(scale)))])

    def magnitude(self, scale) -> float:
        return float(_exact(self.magnitude_at)(Decimal(float(scale))))

    def tolerance(self, scale, dtype="float64") -> float:
        """The relative error to ask for: 1e-10 (1e-4 in float32).

        It is more only where rounding the distances alone costs more.
        """
        eps = float(np.finfo(dtype).eps)
        amplified = 2000 * eps * min(1.0, scale) ** -self.growth if self.growth else 0.0
        if (
            self.metric == "cityblock"
        ):  # the smallest eigenvalue of a rectangle is the product of its sides: both may be small
            axes = [np.unique(axis) for axis in self.points.T]
            sides = np.prod([min(1.0, scale * np.diff(axis).min(initial=np.inf)) for axis in axes])
            amplified = max(
                amplified, eps * min(1.0, scale * sum(np.ptp(axis) for axis in axes)) / sides
            )
        return max(1e-10 if dtype == "float64" else 1e-4, amplified)

    def __str__(self):
        return self.name


def _line(positions):  # integers, in 64ths
    "Weights of points on a line, in the order of the points. Source: facts, tanh of half the gaps."
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    gaps = [Decimal(positions[b] - positions[a]) / 64 for a, b in pairwise(order)]

    def weighting(t):
        halves = [
            Decimal(1),
            *[_tanh_half(t * gap) for gap in gaps],
            Decimal(1),
        ]  # beyond the ends: a gap without end
        weights = [Decimal(0)] * len(positions)
        for place, index in enumerate(order):
            weights[index] = (halves[place] + halves[place + 1]) / 2
        return weights

    def magnitude(t):
        return 1 + sum((_tanh_half(t * gap) for gap in gaps), Decimal(0))

    return weighting, magnitude


def two_points(distance=96):  # in 64ths
    def weighting(t):
        return [1 / (1 + (-t * Decimal(distance) / 64).exp())] * 2

    def magnitude(t):
        return 1 + _tanh_half(t * Decimal(distance) / 64)

    return KnownSpace(
        f"two points {distance}/64 apart",
        np.array([[0.0], [distance / 64]]),
        "euclidean",
        weighting,
        magnitude,
    )


def line(positions):  # distinct integers, in 64ths, in any order
    points = np.array(positions, dtype=float)[:, None] / 64
    return KnownSpace(
        f"line of {len(positions)} points", points, "euclidean", *_line(list(positions))
    )


def equidistant(n=5, edge=64):  # edge in 64ths
    "Corners of a simplex whose edges are all equally long, as points of an l1 space."

    def magnitude(t):
        return n / (1 + (n - 1) * (-t * Decimal(edge) / 64).exp())

    return KnownSpace(
        f"{n} equidistant points",
        np.eye(n) * edge / 128,
        "cityblock",
        lambda t: [magnitude(t) / n] * n,
        magnitude,
    )


def cycle(n):
    "The cycle graph with unit edges and distances along it."
    steps = np.abs(np.arange(n)[:, None] - np.arange(n))
    distances = np.minimum(steps, n - steps).astype(float)

    def magnitude(t):
        q = (-t).exp()
        if n % 2:
            return n * (1 - q) / (1 + q - 2 * q ** ((n + 1) // 2))
        return n * (1 - q) / ((1 + q) * (1 - q ** (n // 2)))

    return KnownSpace(
        f"cycle of {n}",
        distances,
        "precomputed",
        lambda t: [magnitude(t) / n] * n,
        magnitude,
        growth=1 - n % 2,
    )


K32_POLE = float(np.log(2) / 2)


def k32():
    """The complete bipartite graph K_{3,2}, which has a pole at log √2.

    Neighbours are 1 apart, points of one side 2.
    """
    side = np.array([0, 0, 0, 1, 1])
    distances = np.where(side[:, None] == side, 2.0, 1.0) * (1 - np.eye(5))

    def weighting(t):
        q = (-t).exp()
        below = (1 + q) * (1 - 2 * q * q)
        # (1 + 2q²) a + 2q b = 1 and 3q a + (1 + q²) b = 1, whose determinant is (1 − q²)(1 − 2q²)
        return [(1 - q) / below] * 3 + [(1 - 2 * q) / below] * 2

    def magnitude(t):
        q = (-t).exp()
        return (5 - 7 * q) / ((1 + q) * (1 - 2 * q * q))

    return KnownSpace(
        "K_{3,2}", distances, "precomputed", weighting, magnitude, positive_definite=False, growth=1
    )


def grid(first, second):  # positions on two axes, in 64ths
    "The l1 product of two lines: weights and magnitudes multiply."
    points = np.array([[x, y] for x in first for y in second], dtype=float) / 64
    (weigh_first, size_first), (weigh_second, size_second) = _line(list(first)), _line(list(second))

    def weighting(t):
        return [a * b for a in weigh_first(t) for b in weigh_second(t)]

    def magnitude(t):
        return size_first(t) * size_second(t)

    return KnownSpace(
        f"grid of {len(first)}x{len(second)}", points, "cityblock", weighting, magnitude, growth=1
    )


def join(
    first, second, apart=512
):  # positions on two lines, and the distance between them, in 64ths
    """Two lines, each point of one equally far from each point of the other.

    The lines are at least half as far apart as either is long.
    """
    lines = [np.array(positions, dtype=float) / 64 for positions in (first, second)]
    blocks = [np.abs(x[:, None] - x) for x in lines]
    across = np.full((len(first), len(second)), apart / 64)
    distances = np.block([[blocks[0], across], [across.T, blocks[1]]])
    (weigh_first, size_first), (weigh_second, size_second) = _line(list(first)), _line(list(second))

    def weighting(t):
        q, a, b = (-t * Decimal(apart) / 64).exp(), size_first(t), size_second(t)
        below = 1 - q * q * a * b
        return [w * (1 - q * b) / below for w in weigh_first(t)] + [
            w * (1 - q * a) / below for w in weigh_second(t)
        ]

    def magnitude(t):
        q, a, b = (-t * Decimal(apart) / 64).exp(), size_first(t), size_second(t)
        return (a + b - 2 * q * a * b) / (1 - q * q * a * b)

    return KnownSpace(
        f"join of {len(first)} and {len(second)} points",
        distances,
        "precomputed",
        weighting,
        magnitude,
    )


def polygon(n, radius=2.0):
    "The corners of a regular polygon in the plane: a homogeneous space, n / Σ_j e^{-d(1, j)}."
    angles = 2 * np.pi * np.arange(n) / n
    points = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    chords = [Decimal(2 * radius * float(np.sin(np.pi * k / n))) for k in range(n)]

    def magnitude(t):
        return n / sum((-t * chord).exp() for chord in chords)

    return KnownSpace(
        f"regular polygon of {n}", points, "euclidean", lambda t: [magnitude(t) / n] * n, magnitude
    )


def six_points():
    """Two triples, sides 1 and 2, cross distances 1.

    Its magnitude tends to 6/5, not 1, as t goes to 0.
    """
    side = np.array([0, 0, 0, 1, 1, 1])
    distances = np.where(side[:, None] != side, 1.0, np.where(side == 1, 2.0, 1.0)) * (
        1 - np.eye(6)
    )

    def weighting(t):
        q = (-t).exp()
        # (1 + 2q) a + 3q b = 1 and 3q a + (1 + 2q²) b = 1, both sides divided by 1 − q
        below = (1 + 2 * q) * (1 + 2 * q * q) - 9 * q * q
        return [(1 + 2 * q * q - 3 * q) / below] * 3 + [(1 - q) / below] * 3

    def magnitude(t):
        return sum(weighting(t))

    return KnownSpace(
        "six points",
        distances,
        "precomputed",
        weighting,
        magnitude,
        positive_definite=False,
        growth=2,
    )


def _positions(n, seed):
    "Positions of n points with random gaps of 1/64 to 1, shuffled."
    rng = np.random.default_rng(seed)
    return [int(x) for x in rng.permutation(np.cumsum(rng.integers(1, 65, n)))]


KNOWN = [
    two_points(),
    two_points(1),
    line(_positions(12, 0)),
    line(_positions(40, 1)),
    equidistant(5),
    equidistant(9, 16),
    cycle(5),
    cycle(17),
    cycle(4),
    cycle(18),
    k32(),
    grid(_positions(4, 2), _positions(5, 3)),
    join(_positions(6, 4), _positions(4, 5)),
    polygon(3),
    polygon(24),
    six_points(),
]


def _some_positions(most):
    return st.lists(st.integers(0, 1000), min_size=1, max_size=most, unique=True)


def known_spaces():
    "A Hypothesis strategy for spaces of every kind, of random size and shape."
    return st.one_of(
        st.builds(two_points, st.integers(1, 1000)),
        st.builds(line, _some_positions(20)),
        st.builds(equidistant, st.integers(1, 12), st.integers(1, 500)),
        st.builds(cycle, st.integers(3, 20)),
        st.just(k32()),
        st.builds(grid, _some_positions(5), _some_positions(5)),
        st.builds(join, _some_positions(8), _some_positions(8)),
        st.builds(polygon, st.integers(2, 30), st.floats(0.1, 10)),
    )
