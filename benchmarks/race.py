"""The race of report section 3.3: inverse, LU and Cholesky, without and with the gradient.

    python benchmarks/race.py [--sizes 250 500 ...] [--repeats 7] [--out results/race.json]

Points uniform in a disc of constant density, 2-D, float32. Methods take turns, so that a drift of
the machine's speed meets all of them; medians are stored. `inverse` and `LU` are differentiated by
autograd, `Cholesky` is `mag.weighting` with `mag.Cholesky()`, everything from points to gradient
included in all three. Accuracy at each size is measured against float64 LU and stored beside the
times.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import median

import torch

import magnitude_ae as mag
from magnitude_ae import datasets


def dense_zeta(points):
    return torch.exp(-torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist"))


METHODS = {
    "inverse": lambda x: torch.linalg.inv(dense_zeta(x)).sum(1),
    "LU": lambda x: torch.linalg.solve(dense_zeta(x), torch.ones(len(x), dtype=x.dtype)),
    "Cholesky": lambda x: mag.weighting(x, solver=mag.Cholesky()),
}


def forward(method, x):
    with torch.no_grad():
        return method(x)


def both(method, x, cotangent):
    x = x.detach().requires_grad_()
    w = method(x)
    (gradient,) = torch.autograd.grad(w @ cotangent, x)
    return w.detach(), gradient


def clock(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def measure(n, repeats, seed=0):
    x = torch.from_numpy(datasets.disc(n, radius=0.2 * n**0.5, random_state=seed)).float()
    cotangent = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    times = {(part, name): [] for part in ("forward", "forward and backward") for name in METHODS}
    for repeat in range(repeats + 1):
        for name, method in METHODS.items():
            pair = clock(forward, method, x), clock(both, method, x, cotangent)
            if repeat:  # the first round only warms up
                times["forward", name].append(pair[0])
                times["forward and backward", name].append(pair[1])
    w64, g64 = both(METHODS["LU"], x.double(), cotangent.double())
    errors = {}
    for name, method in METHODS.items():
        w, g = both(method, x, cotangent)
        errors[name] = {
            "weighting": ((w - w64).norm() / w64.norm()).item(),
            "gradient": ((g - g64).norm() / g64.norm()).item(),
        }
    return {key: median(value) for key, value in times.items()}, errors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[250, 500, 1000, 2000, 3000, 4000, 6000]
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/race.json"))
    args = parser.parse_args()
    result = {
        "sizes": args.sizes,
        "forward": {m: [] for m in METHODS},
        "forward and backward": {m: [] for m in METHODS},
        "errors": [],
    }
    for n in args.sizes:
        times, errors = measure(n, args.repeats if n < 4000 else min(args.repeats, 3))
        for (part, name), seconds in times.items():
            result[part][name].append(seconds)
        result["errors"].append(errors)
        print(
            n,
            {f"{part[:9]} {name}": f"{s:.4f}" for (part, name), s in times.items()},
            errors,
            flush=True,
        )
    result["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads"
    result["versions"] = {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "magnitude_ae": mag.__version__,
    }
    result["configuration"] = {
        "repeats": args.repeats,
        "dtype": "float32",
        "dimension": 2,
        "seed": 0,
        "scale": 1.0,
        "density": "25/π per unit area",
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
