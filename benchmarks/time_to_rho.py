"""Seconds of training until ρ = .8 on 3,000 digits, by the burn-in and by the report's recipe.

python benchmarks/time_to_rho.py        # writes results/benchmarks/time_to_rho.json

One after the other; about five minutes on two cores.
"""

import json
import platform
from pathlib import Path

import torch

from magnitude_ae.reproduce import Experiment
from magnitude_ae.reproduce.experiments import TRACE, Trace

SEED, GOAL = 10, 0.8


def seconds_to(recipe: str, max_epochs: int | None) -> dict:
    """Seconds and epochs of training until all points have ρ ≥ GOAL."""
    trace = Trace(every=2)

    def latest():
        return dict(zip(TRACE, trace.rows[-1], strict=True))

    def is_there(training):
        return bool(trace.rows) and latest()["rho"] >= GOAL

    experiment = Experiment("MNIST", recipe, SEED, max_epochs=max_epochs)
    points, *_ = experiment.data()
    experiment.model(False, [trace, is_there]).fit(points)
    found = latest()
    return {
        "seconds": round(found["seconds"], 1),
        "epochs": found["epoch"],
        "rho": round(found["rho"], 3),
    }


if __name__ == "__main__":
    found = {"burn-in": seconds_to("burn-in", None), "report": seconds_to("report", 240)}
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
