"""Seconds of training until ρ = .8 on 3,000 digits, by the defaults and by the report's recipe, one after the other.

python benchmarks/time_to_rho.py        # writes results/benchmarks/time_to_rho.json; about five minutes on two cores
"""

import json
import platform
from pathlib import Path

import torch

from magnitude_ae.reproduce import Experiment, _tracer

SEED, GOAL = 10, 0.8


def seconds_to(recipe: str, max_epochs: int | None) -> dict:
    """Seconds and epochs of training until all points have ρ ≥ GOAL."""
    rows = []
    experiment = Experiment("MNIST", recipe, SEED, max_epochs=max_epochs)
    experiment.model(
        False, [_tracer(rows, 2), lambda training: bool(rows) and rows[-1][4] >= GOAL]
    ).fit(experiment.data()[0])
    epoch, seconds, _, _, rho = rows[-1]
    return {"seconds": round(seconds, 1), "epochs": epoch, "rho": round(rho, 3)}


if __name__ == "__main__":
    found = {"default": seconds_to("default", None), "report": seconds_to("report", 240)}
    about = {
        "seed": SEED,
        "goal": GOAL,
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    path = Path(__file__).parent.parent / "results" / "benchmarks" / "time_to_rho.json"
    path.write_text(json.dumps(found | about, indent=1) + "\n")
    print(found)
