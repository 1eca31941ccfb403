"""Other libraries beside ours: SciPy, george, gpytorch, pykeops and magnipy.

    python benchmarks/peers.py [--sizes 1000 5000 20000] [--repeats 3] [--environments .peers]
                               [--out results/benchmarks/peers.json]

At what residual are they, in what time? One command makes everything: each peer runs in an
environment of its own below --environments, made with pip at the first run and used again, since
their requirements exclude each other. A peer that does not install or fails is stored with the
reason. Every solver gets the same points, uniform in a disc of constant density, in the order of a
balanced kd-tree (which george needs and the others do not mind), float64 unless its name says
float32, scale 1; what is timed is points to weighting, the first call left out. The true residual
of each answer is computed here, in float64. george and gpytorch are asked at several tolerances,
since theirs are not residuals. magnipy gives the magnitudes of 1,000 points at 50 scales, at its
default and beside `mag.magnitude_function`.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PINS = (HERE.parent / "constraints.txt").read_text().splitlines()
TORCH = next((line.strip() for line in PINS if line.startswith("torch==")), "torch")
# Name -> what pip installs; torch first and alone, so that nothing heavier comes in its place.
ENVIRONMENTS = {
    "kernels": [[TORCH], ["numpy", "scipy", "gpytorch", "george", "pykeops"]],
    "magnipy": [[TORCH], ["magnipy"]],
}


def scipy(x):
    import numpy as np
    from scipy.linalg import cho_factor, cho_solve
    from scipy.spatial.distance import cdist

    return cho_solve(cho_factor(np.exp(-cdist(x, x)), lower=True), np.ones(len(x)))


def george(tolerance):
    def solve(x):
        import george
        import numpy as np

        process = george.GP(
            george.kernels.ExpKernel(1.0, ndim=2), solver=george.HODLRSolver, tol=tolerance
        )
        process.compute(x)
        return process.apply_inverse(np.ones(len(x)))

    return solve


def gpytorch(tolerance):
    def solve(x):
        import gpytorch
        import torch

        kernel = gpytorch.kernels.MaternKernel(nu=0.5)
        kernel.lengthscale = 1.0
        x = torch.from_numpy(x).float()
        s = gpytorch.settings
        with (
            torch.no_grad(),
            s.max_cholesky_size(0),
            s.cg_tolerance(tolerance),
            s.max_cg_iterations(1000),
            s.max_preconditioner_size(100),
            s.min_preconditioning_size(1),
        ):
            return kernel(x).solve(torch.ones(len(x), 1))[:, 0].double().numpy()

    return solve


def pykeops(x):
    import numpy as np
    from pykeops.numpy import LazyTensor

    i = LazyTensor(x[:, None, :])
    j = LazyTensor(x[None, :, :])
    zeta = (-((i - j) ** 2).sum(-1).sqrt()).exp()
    ones = LazyTensor(np.ones((len(x), 1))[:, None, :])
    return zeta.solve(ones, alpha=1e-12, eps=1e-7 * len(x) ** 0.5)[:, 0]


def ours(dtype, solver):
    def solve(x):
        import magnitude_ae as mag

        return mag.weighting(x.astype(dtype), solver=eval(solver, {"mag": mag})).astype("float64")

    return solve


def magnipy_function(x):
    import numpy as np
    from magnipy.magnitude.compute import compute_magnitude_from_distances
    from scipy.spatial.distance import cdist

    answer = compute_magnitude_from_distances(cdist(x, x), ts=np.geomspace(0.01, 100, 50))
    return np.asarray(answer[0] if isinstance(answer, tuple) else answer)


def our_function(x):
    import numpy as np

    import magnitude_ae as mag

    return mag.magnitude_function(x, np.geomspace(0.01, 100, 50)).values


SOLVERS = {  # name -> environment (None: this one), function, largest n
    "SciPy, cho_solve": ("kernels", scipy, 20_000),
    "george, tol 1e-6": ("kernels", george(1e-6), 20_000),
    "george, tol 1e-8": ("kernels", george(1e-8), 5000),
    "gpytorch, float32, tol 1e-3": ("kernels", gpytorch(1e-3), 20_000),
    "gpytorch, float32, tol 1e-5": ("kernels", gpytorch(1e-5), 20_000),
    "pykeops": ("kernels", pykeops, 5000),
    "ours, default": (None, ours("float64", "None"), 10**6),
    "ours, default, float32": (None, ours("float32", "None"), 10**6),
    "ours, HODLR": (None, ours("float64", "mag.HODLR()"), 20_000),
    "ours, Cholesky": (None, ours("float64", "mag.Cholesky()"), 20_000),
}
FUNCTIONS = {"magnipy": ("magnipy", magnipy_function), "ours": (None, our_function)}


def interpreter(name, folder):
    "The Python of an environment, made if it is not there."
    if name is None:
        return sys.executable
    python = folder / name / "bin" / "python"
    if not (folder / name / "done").exists():
        venv.create(folder / name, with_pip=True, clear=True)
        for packages in ENVIRONMENTS[name]:
            for package in packages:
                subprocess.run(
                    [python, "-m", "pip", "install", "-q", package], check=len(packages) == 1
                )
        (folder / name / "done").touch()
    return python


def work(name, file, repeats, out):
    """In the peer's own environment: one warm-up, then timed runs.

    The answer goes to a file, the seconds to the output.
    """
    import numpy as np

    x = np.load(file)
    function = (SOLVERS | FUNCTIONS)[name][1]
    function(x[:500] if name in SOLVERS else x)
    times = []
    while len(times) < repeats and sum(times) < 60:
        start = time.perf_counter()
        answer = function(x)
        times.append(time.perf_counter() - start)
    np.save(out, np.asarray(answer))
    print(json.dumps({"seconds": median(times), "repeats": len(times)}))


def run(name, environment, x, args, folder):
    "The numbers of one peer on these points, and its answer."
    import numpy as np

    file, out = folder / "points.npy", folder / "answer.npy"
    np.save(file, x)
    command = [
        interpreter(environment, args.environments),
        __file__,
        "--work",
        name,
        str(file),
        str(args.repeats),
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {"failed": said[-1][:200]}, None
    return json.loads(done.stdout.splitlines()[-1]), np.load(out)


def solvers(args, folder):
    "What every solver takes and reaches at every size, one after the other."
    import torch

    import magnitude_ae as mag
    from magnitude_ae.solvers import residual
    from magnitude_ae.space import halve

    for n in args.sizes:
        x = mag.datasets.disc(n, radius=0.2 * n**0.5, random_state=0)
        order = halve(torch.from_numpy(x), 64)
        x = x[order[order >= 0].numpy()]
        ones = torch.ones(n, dtype=torch.float64)
        for name, (environment, _, most) in SOLVERS.items():
            if n > most:
                continue
            item, answer = run(name, environment, x, args, folder)
            if answer is not None:
                item["residual"] = residual(mag.Similarity(x), torch.from_numpy(answer), ones)
            print(n, name, item, flush=True)
            yield {"n": n, "solver": name, **item}


def functions(args, folder):
    "The magnitudes of 1,000 points at 50 scales: name -> one item for each repeat."
    import numpy as np

    import magnitude_ae as mag

    x = mag.datasets.disc(1000, radius=6.3, random_state=0)
    exact = mag.weighting(x, np.geomspace(0.01, 100, 50), solver=mag.LU()).sum(1)
    found = {name: [] for name in FUNCTIONS}
    for _ in range(args.repeats):  # in turns, so that a drift of the machine's speed meets both
        for name, (environment, _) in FUNCTIONS.items():
            item, answer = run(name, environment, x, args, folder)
            if answer is not None:
                item["relative_error"] = float(np.abs(answer / exact - 1).max())
            found[name].append(item)
            print(name, item, flush=True)
    return found


def main():
    import torch

    import magnitude_ae as mag

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[1000, 5000, 20_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--environments", type=Path, default=Path(".peers"))
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/peers.json"))
    args = parser.parse_args()
    args.environments = args.environments.resolve()
    with tempfile.TemporaryDirectory() as name:
        result = {
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "items": list(solvers(args, Path(name))),
            "magnitude_function": functions(args, Path(name)),
            "versions": {
                "torch": str(torch.__version__),
                "python": platform.python_version(),
                "magnitude_ae": mag.__version__,
            },
            "configuration": {
                "sizes": args.sizes,
                "repeats": args.repeats,
                "seed": 0,
                "scale": 1.0,
            },
        }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        main()
