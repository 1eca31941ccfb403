"""Kills trainings at random moments and resumes them.

    python benchmarks/kill_and_resume.py --runs 20
    python benchmarks/kill_and_resume.py --strategy cells --runs 1 --kills 3 --points 60

Is the result, to the bit, that of a training never stopped? Each run trains in a process of its
own, which writes a checkpoint every few epochs and is killed (SIGKILL) at a random moment of a
random epoch. A new process goes on from the checkpoint. Prints one JSON object; exit status 1 if
any bit differs.
"""

import argparse
import json
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

STRATEGIES = ("default", "joint-report", "predictor-corrector", "cells")


def model_of(name, max_epochs, callbacks=()):
    import magnitude_ae as mag

    strategies = {
        "default": None,
        "joint-report": mag.Joint.report(),
        "predictor-corrector": mag.PredictorCorrector(batch_size=30),
        "cells": mag.Cells(n_burn_in_epochs=30, batch_size=30, cell_size=40, halo=20),
    }
    return mag.MagnitudeAutoencoder(
        scale=1.0,
        strategy=strategies[name],
        max_epochs=max_epochs,
        random_state=0,
        progress=False,
        callbacks=callbacks,
    )


def work(arguments, checkpoint, result):
    """Trains, from the checkpoint if there is one, and writes down every bit of the result.

    Each epoch is reported by its number.
    """
    import magnitude_ae as mag

    points = mag.datasets.swiss_roll(arguments.points, random_state=0)
    model = model_of(
        arguments.strategy,
        arguments.epochs,
        [
            mag.Checkpoint(checkpoint, every=arguments.every),
            lambda training: print(training.epoch, flush=True),
        ],
    )
    model.fit(points, resume_from=checkpoint if Path(checkpoint).exists() else None)
    history = {
        name: column for name, column in model.history_.items() if name not in ("phase", "seconds")
    }
    state = {name: value.numpy() for name, value in model.module_.state_dict().items()}
    np.savez(
        result,
        embedding=model.embedding_,
        weighting=model.weighting_,
        embedding_weighting=model.embedding_weighting_,
        **history,
        **state,
    )


def start(arguments, checkpoint, result):
    "A process that works."
    command = [
        sys.executable,
        __file__,
        "--worker",
        checkpoint,
        result,
        "--strategy",
        arguments.strategy,
        "--points",
        str(arguments.points),
        "--every",
        str(arguments.every),
    ]
    if arguments.epochs is not None:
        command += ["--epochs", str(arguments.epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(arguments, checkpoint, result):
    "The result of a training that is left alone, the epochs it took and the seconds of one."
    process = start(arguments, checkpoint, result)
    times = [time.perf_counter() for _ in process.stdout]
    if process.wait() != 0:
        raise SystemExit(f"the training ended with status {process.returncode}")
    return dict(np.load(result)), len(times), float(np.median(np.diff(times)))


def kill(arguments, checkpoint, result, epoch, delay):
    "Works until some seconds after an epoch, and then dies; the last epoch that it reported."
    process = start(arguments, checkpoint, result)
    reached = 0
    for line in process.stdout:
        reached = int(line)
        if reached >= epoch:
            break
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise SystemExit("the training ended before it was killed; ask for more epochs")
    return reached


def run(arguments, folder, rng, truth, n_epochs, seconds):
    "One training, killed and resumed: where it was killed, and whether each bit is right."
    checkpoint = str(Path(folder) / "checkpoint")
    result = str(Path(folder) / "result.npz")
    Path(checkpoint).unlink(missing_ok=True)
    moments = sorted(rng.choice(np.arange(1, n_epochs), arguments.kills, replace=False).tolist())
    killed = [
        kill(arguments, checkpoint, result, epoch, rng.uniform(0, seconds)) for epoch in moments
    ]
    found, n_left, _ = finish(arguments, checkpoint, result)
    same = truth.keys() == found.keys() and all(
        truth[name].tobytes() == found[name].tobytes() for name in truth
    )
    return {"killed_after_epoch": killed, "epochs_left": n_left, "identical": same}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategy", choices=STRATEGIES, default="default")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=1, help="of one run")
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument(
        "--epochs", type=int, help="of the main phase; without it, the strategy's own"
    )
    parser.add_argument(
        "--every", type=int, default=2, help="epochs from one checkpoint to the next"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--worker", nargs=2, metavar=("CHECKPOINT", "RESULT"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments, *arguments.worker)
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        truth, n_epochs, seconds = finish(
            arguments, str(Path(folder) / "unbroken"), str(Path(folder) / "truth.npz")
        )
        runs = [
            run(arguments, folder, rng, truth, n_epochs, seconds) for _ in range(arguments.runs)
        ]
    report = {
        **vars(arguments),
        "n_epochs": n_epochs,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "runs": runs,
        "n_identical": sum(r["identical"] for r in runs),
    }
    print(json.dumps({name: value for name, value in report.items() if name != "worker"}))
    return 0 if report["n_identical"] == len(runs) else 1


if __name__ == "__main__":
    sys.exit(main())
