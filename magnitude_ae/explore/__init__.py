"""Six windows onto point clouds and trainings: sliders, buttons and a brush over pictures."""

from .comparisons import methods
from .figures import linked_figure, methods_figure, scale_figure, sweep_figure, training_figure
from .picture import Picture, png
from .runs import sweep
from .scales import SHAPES, scale
from .selections import linked
from .snapshots import epochs
from .trainings import training

__all__ = [
    "SHAPES",
    "Picture",
    "epochs",
    "linked",
    "linked_figure",
    "methods",
    "methods_figure",
    "png",
    "scale",
    "scale_figure",
    "sweep",
    "sweep_figure",
    "training",
    "training_figure",
]
