"""What each part of the default training does: one is changed at a time, at equal time.

python benchmarks/ablation.py speeds    # seconds an epoch takes with each change, on the ball
python benchmarks/ablation.py           # the trainings, as many as there is time for

The number of epochs of each is chosen so that it takes as long as the default's 700. Every result
is added to results/benchmarks/ablation.json as soon as it is there, and what is there is not done
again; on one thread more than half a minute each, and an hour for all. Seeds are those for tuning,
200 to 202.
"""

import json
import platform
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree

import magnitude_ae as mag
from magnitude_ae.architectures import mlp, seeded
from magnitude_ae.batches import (
    ALL,
    BATCHES,
    Batch,
    BatchSettings,
    Cloud,
    Latents,
    RandomSubsets,
    Rows,
)
from magnitude_ae.strategies import Phase, Strategy

PATH = Path(__file__).parent.parent / "results" / "benchmarks" / "ablation.json"
N_POINTS, N_NEW, NEW_SEED = 1000, 1000, 1_000_000
RUNS = [  # in this order, so that each shape comes early
    ("ball", 200),
    ("Swiss roll", 200),
    ("sphere", 200),
    ("ball", 201),
    ("Swiss roll", 201),
    ("sphere", 201),
    ("ball", 202),
]
DEFAULT = mag.Subsets()
COEFFICIENT = 8.0  # λ
JITTER = 0.3  # times the median distance to the nearest neighbour


class Jittered(RandomSubsets):
    "Random subsets whose points are moved a little in every step, and weighed where they are then."

    def __init__(self, width: float, seed: int) -> None:
        self.width = width  # standard deviation in each direction, in the units of the points
        self.generator = torch.Generator("cpu").manual_seed(seed)

    def batch(self, cloud: Cloud, rows: Rows, settings: BatchSettings, latents: Latents) -> Batch:
        points = cloud.rows(rows)
        noise = torch.randn(points.shape, generator=self.generator, dtype=points.dtype)
        moved = Cloud(points + self.width * noise, cloud.scale, solver=cloud.solver)
        return moved.by_itself(ALL, settings.n_subsets)


@dataclass(frozen=True)
class OnBatches:
    "The default's plan, on batches of another kind."

    batches: str
    n_epochs: int = DEFAULT.n_epochs

    def phases(self, weighting_coefficient: float, **settings: Any) -> list[Phase]:
        "The single phase."
        (phase,) = replace(DEFAULT, n_epochs=self.n_epochs).phases(
            weighting_coefficient, **settings
        )
        return [replace(phase, batches=self.batches)]


@dataclass(frozen=True)
class Change:
    "A training that differs from the default in one thing."

    strategy: Strategy
    coefficient: float = COEFFICIENT
    batch_norm: bool = True

    def lasting(self, n_epochs: int) -> "Change":
        "The same, with so many epochs of the main phase."
        if isinstance(self.strategy, mag.BurnIn):
            joint = replace(self.strategy.joint, n_epochs=n_epochs)
            return replace(self, strategy=replace(self.strategy, joint=joint))
        return replace(self, strategy=replace(self.strategy, n_epochs=n_epochs))

    def model(self, seed: int) -> mag.MagnitudeAutoencoder:
        "The model to fit."
        architecture: Any = "linear"
        if not self.batch_norm:
            sizes = (3, *[64] * 6, 2)
            both = (sizes, sizes[::-1])
            parts = [seeded(partial(mlp, each, batch_norm=False), seed) for each in both]
            architecture = tuple(parts)
        return mag.MagnitudeAutoencoder(
            scale=1.0,
            architecture=architecture,
            weighting_coefficient=self.coefficient,
            strategy=self.strategy,
            random_state=seed,
            progress=False,
        )


CHANGES = {
    "default": Change(DEFAULT),
    "Adam, rate .01": Change(replace(DEFAULT, optimizer="adam", learning_rate=1e-2)),
    "constant rate, half the peak": Change(
        replace(DEFAULT, schedule="constant", learning_rate=DEFAULT.learning_rate / 2)
    ),
    "no clipping": Change(replace(DEFAULT, clip_norm=None)),
    "no smoothing": Change(replace(DEFAULT, smoothing=0.0)),
    "λ / 2": Change(DEFAULT, coefficient=COEFFICIENT / 2),
    "λ · 2": Change(DEFAULT, coefficient=COEFFICIENT * 2),
    "100 epochs of burn-in": Change(mag.BurnIn(joint=DEFAULT)),
    "no BatchNorm": Change(DEFAULT, batch_norm=False),
    "subsets of 250": Change(replace(DEFAULT, batch_size=250)),
    "all points in every step": Change(mag.Joint()),
    "own weights only": Change(replace(DEFAULT, n_subsets=1)),
    "4 parts extended": Change(replace(DEFAULT, n_subsets=4)),
    "points jittered": Change(OnBatches("jittered")),
}

SAME_WORK = ("constant rate, half the peak", "no clipping", "no smoothing", "λ / 2", "λ · 2")


def data(shape: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    "Points to train on, new ones, and for the ball which of those are the outermost seventh."
    if shape != "ball":
        make = {"Swiss roll": mag.datasets.swiss_roll, "sphere": mag.datasets.sphere}[shape]
        return make(N_POINTS, random_state=seed), make(N_NEW, random_state=NEW_SEED + seed), None
    new, to_edge = mag.datasets.ball(
        N_NEW, random_state=NEW_SEED + seed, return_boundary_distance=True
    )
    return (
        mag.datasets.ball(N_POINTS, random_state=seed),
        new,
        to_edge <= np.quantile(to_edge, 1 / 7),
    )


def fitted(change: Change, points: np.ndarray, seed: int) -> tuple[mag.MagnitudeAutoencoder, float]:
    "A trained model and its CPU seconds."
    gap = np.median(KDTree(points).query(points, 2)[0][:, 1])
    BATCHES["jittered"] = Jittered(JITTER * gap, seed)
    model = change.model(seed)
    start = time.process_time()
    model.fit(points)
    return model, time.process_time() - start


def speeds(short: int = 5, long: int = 30, repeats: int = 3) -> dict[str, dict[str, float]]:
    "CPU seconds before the first epoch of the main phase, and of each epoch, at the quickest."
    points, *_ = data("ball", 200)
    fitted(CHANGES["default"].lasting(short), points, 200)  # the first is slower
    least: dict[tuple[str, int], float] = {}
    for _ in range(repeats):
        for name, change in CHANGES.items():
            if name in SAME_WORK:
                continue
            for n in (short, long):
                seconds = fitted(change.lasting(n), points, 200)[1]
                least[name, n] = min(seconds, least.get((name, n), seconds))
    found = {}
    for name in CHANGES:
        timed = "default" if name in SAME_WORK else name
        epoch = (least[timed, long] - least[timed, short]) / (long - short)
        before = least[timed, short] - short * epoch
        found[name] = {"epoch": round(epoch, 5), "before": round(before, 3)}
    return found


def epochs(name: str, speed: dict[str, dict[str, float]]) -> int:
    "Epochs of the main phase with which a training takes as long as the default's."
    default, own = speed["default"], speed[name]
    before = own["before"] - default["before"] if name == "100 epochs of burn-in" else 0.0
    return round((DEFAULT.n_epochs * default["epoch"] - before) / own["epoch"])


def trained(name: str, n_epochs: int, shape: str, seed: int) -> dict[str, Any]:
    "How a training does on its points and on new ones."
    points, new, is_boundary = data(shape, seed)
    model, seconds = fitted(CHANGES[name].lasting(n_epochs), points, seed)
    table = mag.evaluate(model, points, new, is_boundary=is_boundary, rivals=(), random_state=seed)
    row = table.loc["model"]
    columns = ["rho in-sample", "rho new", "trustworthiness (12)", "reconstruction error"]
    if is_boundary is not None:
        columns.append("boundary AUC")
    measured = {column: float(row[column]) for column in columns}
    return {"epochs": n_epochs, **measured, "CPU seconds": round(seconds, 1)}


def main() -> None:
    about = {
        "version": mag.__version__,
        "torch": str(torch.__version__),
        "machine": platform.machine(),
    }
    kept = json.loads(PATH.read_text()) if PATH.exists() else {**about, "speeds": {}, "runs": []}

    def keep() -> None:
        PATH.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")

    if sys.argv[1:] == ["speeds"]:
        kept["speeds"] = speeds()
        keep()
        return
    done = {(run["change"], run["shape"], run["seed"]) for run in kept["runs"]}
    wanted = [("default", *run) for run in RUNS]
    wanted += [(name, *run) for run in RUNS for name in CHANGES if name != "default"]
    for name, shape, seed in wanted:
        if (name, shape, seed) in done:
            continue
        found = trained(name, epochs(name, kept["speeds"]), shape, seed)
        kept["runs"].append({"change": name, "shape": shape, "seed": seed, **found})
        keep()
        print(name, shape, seed, found, flush=True)


if __name__ == "__main__":
    main()
