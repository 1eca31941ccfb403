"""The face as editors and type checkers see it: the names of `_NAMES` in `__init__.py`.

Functions that answer in the container of their points are told apart here: tensors for tensors,
NumPy otherwise.
"""

from typing import Any, overload

import numpy as np
import torch

from . import datasets as datasets
from . import explore as explore
from . import plots as plots
from .autoencoder import MagnitudeAutoencoder as MagnitudeAutoencoder
from .baselines import baselines as baselines
from .boundary import BoundaryDetector as BoundaryDetector
from .comparison import evaluate as evaluate
from .evaluation import boundary_auc as boundary_auc
from .evaluation import boundary_correlation as boundary_correlation
from .evaluation import compare_embeddings as compare_embeddings
from .evaluation import continuity as continuity
from .evaluation import density_divergence as density_divergence
from .evaluation import evaluate_held_out as evaluate_held_out
from .evaluation import trustworthiness as trustworthiness
from .functions import magnitude_function as magnitude_function
from .loops import loops as loops
from .scale import choose_scale as choose_scale
from .similarity import Similarity as Similarity
from .solvers import HODLR as HODLR
from .solvers import LU as LU
from .solvers import Cholesky as Cholesky
from .solvers import ConjugateGradient as ConjugateGradient
from .solvers import Inverse as Inverse
from .solvers import NotPositiveDefiniteError as NotPositiveDefiniteError
from .solvers import Schur as Schur
from .solvers import SingularSimilarityError as SingularSimilarityError
from .solvers import Solution as Solution
from .solvers import Solver as _Solver
from .solvers import Vecchia as Vecchia
from .strategies import BurnIn as BurnIn
from .strategies import Cells as Cells
from .strategies import Joint as Joint
from .strategies import PredictorCorrector as PredictorCorrector
from .strategies import Subsets as Subsets
from .subsets import boundary_function as boundary_function
from .training import BestState as BestState
from .training import Checkpoint as Checkpoint
from .training import EarlyStopping as EarlyStopping
from .training import LogFile as LogFile
from .training import Snapshots as Snapshots
from .training import TensorBoard as TensorBoard
from .updates import WeightedSpace as WeightedSpace
from .weighting import solve as solve

__version__: str

@overload
def distance_matrix(points: torch.Tensor, *, metric: str = "euclidean") -> torch.Tensor: ...
@overload
def distance_matrix(points: Any, *, metric: str = "euclidean") -> np.ndarray: ...
@overload
def similarity_matrix(
    points: torch.Tensor, scale: Any = 1.0, *, metric: str = "euclidean"
) -> torch.Tensor: ...
@overload
def similarity_matrix(
    points: Any, scale: Any = 1.0, *, metric: str = "euclidean"
) -> np.ndarray: ...
@overload
def weighting(
    points: torch.Tensor,
    scale: Any = 1.0,
    *,
    metric: str = "euclidean",
    solver: _Solver | None = None,
) -> torch.Tensor: ...
@overload
def weighting(
    points: Any, scale: Any = 1.0, *, metric: str = "euclidean", solver: _Solver | None = None
) -> np.ndarray: ...
@overload
def magnitude(
    points: torch.Tensor,
    scale: Any = 1.0,
    *,
    metric: str = "euclidean",
    solver: _Solver | None = None,
) -> torch.Tensor: ...
@overload
def magnitude(
    points: Any, scale: Any = 1.0, *, metric: str = "euclidean", solver: _Solver | None = None
) -> Any: ...
@overload
def magnitude_dimension(
    points: torch.Tensor,
    scale: Any = 1.0,
    *,
    metric: str = "euclidean",
    solver: _Solver | None = None,
) -> torch.Tensor: ...
@overload
def magnitude_dimension(
    points: Any, scale: Any = 1.0, *, metric: str = "euclidean", solver: _Solver | None = None
) -> Any: ...
@overload
def spread(
    points: torch.Tensor, scale: Any = 1.0, *, metric: str = "euclidean"
) -> torch.Tensor: ...
@overload
def spread(points: Any, scale: Any = 1.0, *, metric: str = "euclidean") -> Any: ...
