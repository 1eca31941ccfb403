"""The report's experiments: what they are, what came out of them, and its figures made again.

    from magnitude_ae.reproduce import Experiment, run_or_load

    result, arrays = run_or_load(Experiment("ball", seed=1), "results/experiments")

Modules: `experiments`, `results`, `figures`.
"""

from magnitude_ae.reproduce.experiments import (
    RECIPES,
    SHAPES,
    TASKS,
    TRACE,
    Arrays,
    Baselines,
    Experiment,
    Outcome,
    Task,
    Trace,
)
from magnitude_ae.reproduce.figures import (
    COEFFICIENTS,
    EXPERIMENTS,
    FAST,
    FAST_MNIST,
    SCALES,
    STRATEGIES,
    figure_four,
    figure_one,
    figure_strategies,
    figure_three,
    figure_two,
    mnist_labels,
    outcome,
    parameter_experiments,
    parameter_table,
    reproduce_mnist,
    reproduce_parameters,
    reproduce_scales,
    reproduce_shapes,
    reproduce_strategies,
    rho_table,
    strategy_table,
)
from magnitude_ae.reproduce.results import completed, made_by, run, run_or_load, stored

__all__ = [
    "COEFFICIENTS",
    "EXPERIMENTS",
    "FAST",
    "FAST_MNIST",
    "RECIPES",
    "SCALES",
    "SHAPES",
    "STRATEGIES",
    "TASKS",
    "TRACE",
    "Arrays",
    "Baselines",
    "Experiment",
    "Outcome",
    "Task",
    "Trace",
    "completed",
    "figure_four",
    "figure_one",
    "figure_strategies",
    "figure_three",
    "figure_two",
    "made_by",
    "mnist_labels",
    "outcome",
    "parameter_experiments",
    "parameter_table",
    "reproduce_mnist",
    "reproduce_parameters",
    "reproduce_scales",
    "reproduce_shapes",
    "reproduce_strategies",
    "rho_table",
    "run",
    "run_or_load",
    "stored",
    "strategy_table",
]
