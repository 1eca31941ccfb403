"""The data sets as type checkers see them: an array, or a pair where a flag asks for it."""

import os
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from magnitude_ae.random import Seed

__all__ = ["ball", "digits", "disc", "fashion_mnist", "mnist", "sphere", "swiss_roll", "unroll"]

_Floats = NDArray[np.float64]
_Labels = NDArray[np.int64]
_Folder = str | os.PathLike[str] | None

@overload
def ball(
    n_points: int = 1000,
    *,
    radius: float = 2.0,
    dimension: int = 3,
    random_state: Seed = None,
    return_boundary_distance: Literal[False] = False,
) -> _Floats: ...
@overload
def ball(
    n_points: int = 1000,
    *,
    radius: float = 2.0,
    dimension: int = 3,
    random_state: Seed = None,
    return_boundary_distance: Literal[True],
) -> tuple[_Floats, _Floats]: ...
@overload
def disc(
    n_points: int = 1000,
    *,
    radius: float = 5.0,
    random_state: Seed = None,
    return_boundary_distance: Literal[False] = False,
) -> _Floats: ...
@overload
def disc(
    n_points: int = 1000,
    *,
    radius: float = 5.0,
    random_state: Seed = None,
    return_boundary_distance: Literal[True],
) -> tuple[_Floats, _Floats]: ...
def sphere(
    n_points: int = 1000,
    *,
    radius: float = 20.0,
    uniform: bool = False,
    noise: float = 0.0,
    random_state: Seed = None,
) -> _Floats: ...
@overload
def swiss_roll(
    n_points: int = 1000,
    *,
    radius: float = 3.0,
    noise: float = 0.03,
    random_state: Seed = None,
    return_boundary_distance: Literal[False] = False,
) -> _Floats: ...
@overload
def swiss_roll(
    n_points: int = 1000,
    *,
    radius: float = 3.0,
    noise: float = 0.03,
    random_state: Seed = None,
    return_boundary_distance: Literal[True],
) -> tuple[_Floats, _Floats]: ...
def unroll(points: Any) -> _Floats: ...
@overload
def digits(*, return_labels: Literal[False] = False) -> _Floats: ...
@overload
def digits(*, return_labels: Literal[True]) -> tuple[_Floats, _Labels]: ...
@overload
def mnist(
    n_points: int = 3000,
    *,
    random_state: Seed = None,
    root: _Folder = None,
    source: str = "auto",
    return_labels: Literal[False] = False,
) -> _Floats: ...
@overload
def mnist(
    n_points: int = 3000,
    *,
    random_state: Seed = None,
    root: _Folder = None,
    source: str = "auto",
    return_labels: Literal[True],
) -> tuple[_Floats, _Labels]: ...
@overload
def fashion_mnist(
    n_points: int = 3000,
    *,
    random_state: Seed = None,
    root: _Folder = None,
    return_labels: Literal[False] = False,
) -> _Floats: ...
@overload
def fashion_mnist(
    n_points: int = 3000,
    *,
    random_state: Seed = None,
    root: _Folder = None,
    return_labels: Literal[True],
) -> tuple[_Floats, _Labels]: ...
