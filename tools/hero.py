"""The picture at the top of the site: three shapes in space, and the same points drawn flat.

It is drawn from the stored results of the first seed.
"""

from pathlib import Path

from matplotlib.figure import Figure

from magnitude_ae import plots
from magnitude_ae.reproduce import SHAPES, Experiment, stored

root = Path(__file__).resolve().parent.parent


def draw() -> Figure:
    """Inputs above, embeddings below, coloured by the weighting of the input."""
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    for k, shape in enumerate(SHAPES, 1):
        experiment = Experiment(shape)
        result, arrays = stored(experiment, root / "results" / "experiments")
        above = figure.add_subplot(2, 3, k, projection="3d")
        below = figure.add_subplot(2, 3, k + 3)
        plots.scatter(experiment.data()[0], arrays["weighting"], ax=above, colorbar=False)
        plots.scatter(arrays["Magnitude AE"], arrays["weighting"], ax=below, colorbar=False)
        above.set_title(shape)
        below.set_title(f"ρ = {result['table']['Magnitude AE']['rho']:.2f}", fontsize="medium")
        for ax in (above, below):
            ax.set_axis_off()
    return figure
