"""Time, memory and error of every solver against the number of points, in 2 to 784 dimensions.

    python benchmarks/scaling.py [--only 2-D] [--most 20000] [--repeats 3] [--out FILE]

Each item (cloud, n, solver) runs in an interpreter of its own, so that its peak memory is its own,
and is written to the file as soon as it is measured; items already there are skipped, so an
interrupted run goes on where it stopped.

2-D: uniform in a disc, 3-D: uniform in a ball, both of constant density; 10-D: Gaussian; 784-D:
Fashion-MNIST, or clusters made to look like it where its files are absent. Scale 1, in 784-D 0.6;
float32. "forward" is points to weighting, "backward" its gradient with a random cotangent. Peak
memory is what the interpreter grew by. The residual is summed in float64 over 2,000 rows; the error
of weighting and gradient is against conjugate gradients in float64 (residual 1e-10), up to 20,000
points.
"""

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

import magnitude_ae as mag
from magnitude_ae import datasets
from magnitude_ae.products.dense import exact_product
from magnitude_ae.solvers import conjugate_gradients, residual

EXACT_UP_TO = 20_000
FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
SOLVERS = {
    "inverse": mag.Inverse(),
    "LU": mag.LU(),
    "Cholesky": mag.Cholesky(),
    "Schur": mag.Schur(),
    "CG": mag.ConjugateGradient(),
    "CG, evaluated": mag.ConjugateGradient(memory=0),
    "CG, tiles": mag.ConjugateGradient(),  # without the fast product
    "CG, plain": mag.ConjugateGradient(preconditioner=None),
    "HODLR": mag.HODLR(),
    "Vecchia(10)": mag.Vecchia(10),
    "Vecchia(30)": mag.Vecchia(30),
}
SMALL = [500, 1000, 2000, 4000]
MIDDLE = [7000, 10_000, 20_000]
LARGE = [40_000, 60_000]
LINEAR = [100_000, 300_000]
SIZES = {  # cloud -> solver -> numbers of points
    "2-D": {
        "inverse": SMALL,
        "LU": SMALL,
        "Cholesky": SMALL + MIDDLE,
        "Schur": SMALL,
        "CG": SMALL + MIDDLE + LARGE + LINEAR,
        "CG, evaluated": [4000, 20_000, 60_000],
        "CG, tiles": [20_000, 60_000],
        "CG, plain": SMALL,
        "HODLR": SMALL + MIDDLE,
        "Vecchia(10)": SMALL + MIDDLE + LARGE + LINEAR,
        "Vecchia(30)": SMALL + MIDDLE + [60_000],
    },
    "3-D": {
        "Cholesky": SMALL + MIDDLE[:2],
        "CG": SMALL + MIDDLE + [60_000],
        "CG, tiles": [60_000],
        "HODLR": SMALL,
        "Vecchia(10)": SMALL + MIDDLE + [60_000, 300_000],
        "Vecchia(30)": SMALL + MIDDLE,
    },
    "10-D": {"Cholesky": [1000, 2000, 4000, 7000, 10_000], "CG": [1000, 2000, 4000, 7000, 10_000]},
    "784-D": {
        "LU": SMALL[1:],
        "Cholesky": [*SMALL[1:], 10_000, 30_000],
        "CG": [*SMALL[1:], 10_000, 30_000],
        "Vecchia(10)": [*SMALL[1:], 10_000],
    },
}
SCALES = {"2-D": 1.0, "3-D": 1.0, "10-D": 1.0, "784-D": 0.6}


def fashion(n):
    """The first n images, and where they are from.

    Without Debian's package dataset-fashion-mnist they are points with similar distances.
    """
    if FASHION.exists():
        with gzip.open(FASHION) as file:
            pixels = np.frombuffer(file.read(16 + 784 * n), np.uint8, offset=16)
        return pixels.reshape(n, 784) / 255, "Fashion-MNIST"
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 30))
    latent = centres[rng.integers(0, 10, n)] + rng.normal(size=(n, 30))
    pixels = latent @ rng.normal(size=(30, 784)) * 0.06 + 0.3
    return np.clip(pixels, 0, 1), "synthetic"


def points_of(cloud, n):
    if cloud == "2-D":
        return datasets.disc(n, radius=0.2 * n**0.5, random_state=0), "disc"
    if cloud == "3-D":
        return datasets.ball(n, radius=0.4 * n ** (1 / 3), random_state=0), "ball"
    if cloud == "10-D":
        return np.random.default_rng(0).normal(size=(n, 10)), "Gaussian"
    return fashion(n)


def both(x, cotangent, scale, solver):
    "Weighting, its gradient, and the seconds of each."
    x = x.detach().requires_grad_()
    start = time.perf_counter()
    w = mag.weighting(x, scale, solver=solver)
    middle = time.perf_counter()
    (gradient,) = torch.autograd.grad(w @ cotangent, x)
    return w.detach(), gradient, middle - start, time.perf_counter() - middle


def peak():
    "Bytes this process held at most. Linux counts in kilobytes, macOS in bytes."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def difference(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def by_tiles(space, t, shift, goal):
    "The product that is right to rounding, whatever the goal."
    return exact_product(space, t, shift)


def measure(cloud, n, name, repeats, reference):
    if name == "CG, tiles":
        conjugate_gradients.fast_product = by_tiles
    array, source = points_of(cloud, n)
    x = torch.from_numpy(np.ascontiguousarray(array)).float()
    scale = SCALES[cloud]
    solver = SOLVERS[name]
    cotangent = torch.randn(n, generator=torch.Generator().manual_seed(0))
    both(x[:300], cotangent[:300], scale, solver)
    before = peak()
    runs = [both(x, cotangent, scale, solver)]
    memory = peak() - before
    while len(runs) < repeats and sum(run[2] + run[3] for run in runs) < 30:
        runs.append(both(x, cotangent, scale, solver))
    w, gradient = runs[-1][:2]
    similarity = mag.Similarity(x, scale)
    rows = torch.randperm(n, generator=torch.Generator().manual_seed(1))[:2000]
    item = {
        "cloud": cloud,
        "source": source,
        "n": n,
        "solver": name,
        "forward": median(run[2] for run in runs),
        "backward": median(run[3] for run in runs),
        "peak_bytes": memory,
        "repeats": len(runs),
        "residual": residual(similarity, w, torch.ones(n), rows),
    }
    if solver is not None and isinstance(solver, (mag.ConjugateGradient, mag.HODLR)):
        item["iterations"] = solver.factor(similarity).solve(torch.ones(n)).n_steps
    if n <= EXACT_UP_TO:
        if not reference.exists():
            exact = both(x.double(), cotangent.double(), scale, mag.ConjugateGradient(rtol=1e-10))
            reference.parent.mkdir(parents=True, exist_ok=True)
            np.savez(reference, weighting=exact[0].numpy(), gradient=exact[1].numpy())
        exact = np.load(reference)
        item["weighting_error"] = difference(w, torch.from_numpy(exact["weighting"]))
        item["gradient_error"] = difference(gradient, torch.from_numpy(exact["gradient"]))
        item["correlation"] = float(np.corrcoef(w.numpy(), exact["weighting"])[0, 1])
    return item


def about(repeats):
    return {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "magnitude_ae": mag.__version__,
        },
        "configuration": {"repeats": repeats, "dtype": "float32", "scales": SCALES, "seed": 0},
        "items": [],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS), choices=list(SOLVERS))
    parser.add_argument(
        "--most", type=int, default=10**6, help="leave out larger numbers of points"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/scaling.json"))
    parser.add_argument(
        "--references",
        type=Path,
        default=Path("results/benchmarks/.scaling"),
        help="where exact answers wait between items",
    )
    parser.add_argument("--item", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.item:
        cloud, n, name = args.item[0], int(args.item[1]), args.item[2]
        print(
            json.dumps(measure(cloud, n, name, args.repeats, args.references / f"{cloud}-{n}.npz"))
        )
        return
    result = json.loads(args.out.read_text()) if args.out.exists() else about(args.repeats)
    done = {(item["cloud"], item["n"], item["solver"]) for item in result["items"]}
    wanted = sorted(
        (n, cloud, name)
        for cloud in args.only
        for name, sizes in SIZES[cloud].items()
        if name in args.solvers
        for n in sizes
        if n <= args.most
    )
    for n, cloud, name in wanted:
        if (cloud, n, name) in done:
            continue
        command = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            "--item",
            cloud,
            str(n),
            name,
            "--repeats",
            str(args.repeats),
            "--references",
            str(args.references),
        ]
        run = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        if run.returncode:
            item = {
                "cloud": cloud,
                "n": n,
                "solver": name,
                "failed": (run.stderr.strip().splitlines() or [f"ended with {run.returncode}"])[-1],
            }
        else:
            item = json.loads(run.stdout.splitlines()[-1])
        result["items"].append(item)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".part").write_text(json.dumps(result, indent=1) + "\n")
        args.out.with_suffix(".part").replace(args.out)
        print(item, flush=True)


if __name__ == "__main__":
    main()
