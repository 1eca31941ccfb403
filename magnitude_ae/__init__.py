"""Magnitude, weightings and dimensionality reduction that keeps the boundary of a point cloud.

    import magnitude_ae as mag

    mag.weighting(points, scale)         # each point's share of the magnitude: high on the boundary
    mag.magnitude(points, scale)         # the effective number of points
    mag.MagnitudeAutoencoder().fit_transform(points)

Everything is imported when it is first used, so that `import magnitude_ae` stays quick. Editors and
type checkers, which run nothing, read `__init__.pyi`.
"""

__version__ = "0.2.0"

import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

_MODULES = ("datasets", "explore", "plots")  # reached as mag.datasets, mag.explore, mag.plots

_NAMES = {  # name -> the module that defines it
    name: module
    for module, names in {
        "space": ("distance_matrix",),
        "similarity": ("Similarity", "similarity_matrix"),
        "solvers.base": ("NotPositiveDefiniteError", "SingularSimilarityError", "Solution"),
        "solvers.dense": ("LU", "Cholesky", "Inverse", "Schur"),
        "solvers.vecchia": ("Vecchia",),
        "solvers.conjugate_gradients": ("ConjugateGradient",),
        "solvers.hodlr": ("HODLR",),
        "weighting": ("magnitude", "solve", "spread", "weighting"),
        "functions": ("magnitude_dimension", "magnitude_function"),
        "scale": ("choose_scale",),
        "updates": ("WeightedSpace",),
        "subsets": ("boundary_function",),
        "strategies": ("BurnIn", "Cells", "Joint", "PredictorCorrector", "Subsets"),
        "training": (
            "BestState",
            "Checkpoint",
            "EarlyStopping",
            "LogFile",
            "Snapshots",
            "TensorBoard",
        ),
        "autoencoder": ("MagnitudeAutoencoder",),
        "boundary": ("BoundaryDetector",),
        "baselines": ("baselines",),
        "comparison": ("evaluate",),
        "loops": ("loops",),
        "evaluation": (
            "boundary_auc",
            "boundary_correlation",
            "compare_embeddings",
            "continuity",
            "density_divergence",
            "evaluate_held_out",
            "trustworthiness",
        ),
    }.items()
    for name in names
}

__all__ = sorted([*_NAMES, *_MODULES])


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return _import_module(f"{__name__}.{name}")
    if name in _NAMES:
        value = globals()[name] = getattr(_import_module(f"{__name__}.{_NAMES[name]}"), name)
        return value
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


class _Face(_ModuleType):
    """A package on which `mag.weighting` stays the function, although a module has that name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _NAMES and isinstance(value, _ModuleType)):
            super().__setattr__(name, value)

    def __reduce__(self) -> tuple:
        """By name, as other modules are sent to another process by cloudpickle and joblib."""
        return _import_module, (self.__name__,)


_sys.modules[__name__].__class__ = _Face
