"""Every picture of the package, as functions that take arrays and axes and return axes.

Each is imported, and matplotlib with it, when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magnitude_ae.plots.curves import front as front
    from magnitude_ae.plots.curves import magnitude_curve as magnitude_curve
    from magnitude_ae.plots.curves import race as race
    from magnitude_ae.plots.embeddings import shapes_grid as shapes_grid
    from magnitude_ae.plots.embeddings import weighting_against as weighting_against
    from magnitude_ae.plots.films import Film as Film
    from magnitude_ae.plots.films import animate as animate
    from magnitude_ae.plots.points import scatter as scatter
    from magnitude_ae.plots.points import thumbnails as thumbnails
    from magnitude_ae.plots.style import PAPER as PAPER
    from magnitude_ae.plots.style import PETROFF as PETROFF
    from magnitude_ae.plots.style import method_styles as method_styles
    from magnitude_ae.plots.style import weighting_colormap as weighting_colormap
    from magnitude_ae.plots.training import LOSS_STYLES as LOSS_STYLES
    from magnitude_ae.plots.training import loss_curves as loss_curves

_NAMES = {  # name -> the module that makes it; type checkers read the imports above
    name: module
    for module, names in {
        "curves": ("front", "magnitude_curve", "race"),
        "embeddings": ("shapes_grid", "weighting_against"),
        "films": ("Film", "animate"),
        "points": ("scatter", "thumbnails"),
        "style": ("PAPER", "PETROFF", "method_styles", "weighting_colormap"),
        "training": ("LOSS_STYLES", "loss_curves"),
    }.items()
    for name in names
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        known = ", ".join(__all__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {known}")
    value = getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
