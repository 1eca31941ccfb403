"""Trainings as in the report, on as many points: its Figure 3, and squared differences.

python benchmarks/report_recipe.py coefficients   # λ from 0 to 20, at t = 1
python benchmarks/report_recipe.py scales         # the data times t from 2⁻⁵ to 32, at λ = 10
python benchmarks/report_recipe.py squares        # "l1" beside "l2", for the three shapes
python benchmarks/report_recipe.py default        # "l2" by today's default

Every result is added to results/benchmarks/report_recipe.json as soon as it is there, and what is
there is not done again. On one thread a training takes a quarter of a minute, by today's default
half a minute. The default with "l1" is in results/experiments.
"""

import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import magnitude_ae as mag
from magnitude_ae.reproduce import SCALES, TASKS

PATH = Path(__file__).parent.parent / "results" / "benchmarks" / "report_recipe.json"
SHAPES = {
    "Swiss roll": mag.datasets.swiss_roll,
    "sphere": mag.datasets.sphere,
    "ball": mag.datasets.ball,
}
N_POINTS, N_NEW, NEW_SEED = 1000, 500, 1_000_000


def model_for(
    recipe: str, shape: str, settings: dict[str, Any], seed: int
) -> mag.MagnitudeAutoencoder:
    "The model to train, by the report's recipe or by today's default."
    common = {"random_state": seed, "progress": False, **settings}
    if recipe == "report":
        strategy = TASKS[shape].report
        return mag.MagnitudeAutoencoder.report("shapes", strategy=strategy, **common)
    return mag.MagnitudeAutoencoder(scale=1.0, **common)


def trained(
    recipe: str, shape: str, factor: float, settings: dict[str, Any], seed: int
) -> dict[str, float]:
    "Both losses, in the units of what was trained on, and ρ: of these points and of new ones."
    points = factor * SHAPES[shape](N_POINTS, random_state=seed)
    new = factor * SHAPES[shape](N_NEW, random_state=NEW_SEED + seed)
    model = model_for(recipe, shape, settings, seed)
    start = time.process_time()
    model.fit(points)
    seconds = time.process_time() - start
    table = mag.evaluate_held_out(model, points, new)
    back = model.inverse_transform(model.embedding_)
    return {
        "reconstruction loss": float(np.square(back - points).mean()),
        "weighting loss": float(np.abs(model.weighting_ - model.embedding_weighting_).mean()),
        "rho": float(table["rho"].iloc[0]),
        "held-out rho": float(table["rho"].iloc[-1]),
        "trustworthiness": float(table["trustworthiness"].iloc[0]),
        "held-out trustworthiness": float(table["trustworthiness"].iloc[-1]),
        "CPU seconds": round(seconds, 1),
    }


def of_part(part: str) -> Iterator[dict[str, Any]]:
    "Shape, factor on the data and settings of every training of a part."
    roll = {"recipe": "report", "shape": "Swiss roll"}
    if part == "coefficients":
        for coefficient in (0.0, 1.0, 2.0, 5.0, 10.0, 20.0):
            yield roll | {"t": 1.0, "settings": {"weighting_coefficient": coefficient}}
    if part == "scales":
        for factor in SCALES:
            yield roll | {"t": factor, "settings": {"weighting_coefficient": 10.0}}
    recipes = {"squares": ("report", 10.0), "default": ("default", 8.0)}
    if part in recipes:
        recipe, coefficient = recipes[part]
        for shape in SHAPES:
            for kind, times in (("l1", 1), ("l2", 1), ("l2", 10)):
                if (recipe, kind) == ("default", "l1"):
                    continue
                settings = {"weighting_coefficient": times * coefficient, "weighting_loss": kind}
                yield {"recipe": recipe, "shape": shape, "t": 1.0, "settings": settings}


def main(part: str) -> None:
    about = {
        "version": mag.__version__,
        "torch": str(torch.__version__),
        "machine": platform.machine(),
    }
    kept = json.loads(PATH.read_text()) if PATH.exists() else {**about, "runs": []}
    wanted = [what | {"seed": seed} for seed in range(3) for what in of_part(part)]
    for what in wanted:
        if any(all(run[key] == value for key, value in what.items()) for run in kept["runs"]):
            continue
        found = trained(what["recipe"], what["shape"], what["t"], what["settings"], what["seed"])
        kept["runs"].append(what | found)
        PATH.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        print(what, found, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
