"""Ways to solve ζv = b: solvers with parameters, factors with a space made ready, solutions."""

from magnitude_ae.solvers.base import (
    TOLERANCE,
    Answer,
    Factor,
    NotPositiveDefiniteError,
    SingularSimilarityError,
    Solution,
    Solver,
    residual,
)
from magnitude_ae.solvers.conjugate_gradients import ConjugateGradient
from magnitude_ae.solvers.dense import LU, Cholesky, Inverse, Schur
from magnitude_ae.solvers.hodlr import HODLR, log_determinant
from magnitude_ae.solvers.vecchia import Vecchia

__all__ = [
    "HODLR",
    "LU",
    "TOLERANCE",
    "Answer",
    "Cholesky",
    "ConjugateGradient",
    "Factor",
    "Inverse",
    "NotPositiveDefiniteError",
    "Schur",
    "SingularSimilarityError",
    "Solution",
    "Solver",
    "Vecchia",
    "log_determinant",
    "residual",
]
