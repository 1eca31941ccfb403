"""The pictures at the top: three shapes in space, and the same points drawn flat.

That of the site is drawn whenever it is built. `python tools/hero.py` draws that of the README,
results/figure2.png. Both show stored results of the default: of each shape the run whose ρ of new
points is the median of its five seeds.
"""

from pathlib import Path

from matplotlib.figure import Figure

from magnitude_ae import plots
from magnitude_ae.reproduce import SHAPES, Experiment, figure_two, outcome
from magnitude_ae.reproduce.figures import Found

root = Path(__file__).resolve().parent.parent
methods = ("PCA", "t-SNE", "UMAP")  # that are stored beside the trainings
n_seeds = 5


def typical(shape: str) -> Found:
    """The run of the default that is the median of its seeds."""

    def rho_of_new(found: Found) -> float:
        return found[1]["held_out"]["new, within the whole"]["rho"]

    folder = root / "results" / "experiments"
    runs = [outcome(Experiment(shape, seed=k), folder, methods=methods) for k in range(n_seeds)]
    return sorted(runs, key=rho_of_new)[n_seeds // 2]


def draw() -> Figure:
    """Inputs above, embeddings below, coloured by the weighting of the input."""
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    for k, shape in enumerate(SHAPES, 1):
        experiment, result, arrays = typical(shape)
        above = figure.add_subplot(2, 3, k, projection="3d")
        below = figure.add_subplot(2, 3, k + 3)
        plots.scatter(experiment.data()[0], arrays["weighting"], ax=above, colorbar=False)
        plots.scatter(arrays["Magnitude AE"], arrays["weighting"], ax=below, colorbar=False)
        above.set_title(shape)
        below.set_title(f"ρ = {result['table']['Magnitude AE']['rho']:.2f}", fontsize="medium")
        for ax in (above, below):
            ax.set_axis_off()
    return figure


def draw_beside_others() -> Figure:
    """The report's Figure 2: PCA and t-SNE below."""
    shown = {}
    for shape in SHAPES:
        experiment, result, arrays = typical(shape)
        table = {name: row for name, row in result["table"].items() if name != "UMAP"}
        shown[shape] = experiment, {**result, "table": table}, arrays
    return figure_two(shown)


if __name__ == "__main__":
    draw_beside_others().savefig(root / "results" / "figure2.png", dpi=110)
