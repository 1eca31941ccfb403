"""Fashion-MNIST by random subsets: 60,000 images to train on, 10,000 others to be judged by.

python benchmarks/fashion.py FOLDER --coefficients 1.5 --seeds 1     # the whole training set
python benchmarks/fashion.py FOLDER --held-out --seeds 10            # settings are chosen on these
python benchmarks/fashion.py FOLDER --rivals                         # PCA and what others published

FOLDER holds the four IDX files, as Debian's dataset-fashion-mnist has them. With --held-out, 50,000
images of the training set are learned from and the other 10,000 judge. Every result is added to
results/benchmarks/fashion.json as soon as it is there; about eight minutes each on one thread.
"""

import argparse
import itertools
import json
import platform
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA

import magnitude_ae as mag
from magnitude_ae.datasets.images import read_idx
from magnitude_ae.evaluation import best_scale_correlation, density_divergences
from magnitude_ae.neighbours import neighbours_kept
from magnitude_ae.strategies import default_strategy

SCALE = 0.354  # t for pixels in [-1, 1]; 28 % of 3,000 images are effective
NEIGHBOURS = tuple(range(10, 201, 10))  # as in Moor et al. (2020), like the rest of the protocol
RESULTS = Path(__file__).parent.parent / "results" / "benchmarks"


def images(folder: Path, name: str) -> np.ndarray:  # (n, 784) in [-1, 1]
    found = [path for path in folder.iterdir() if path.name.startswith(f"{name}-images")]
    pixels = read_idx(found[0])
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 127.5 - 1


def judged(new: np.ndarray, flat: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """All measures of an embedding of images that were not learned from.

    `weights` are the weighting of the images.
    """
    kept = neighbours_kept(new, flat, NEIGHBOURS)
    back = neighbours_kept(flat, new, NEIGHBOURS)
    kl = density_divergences(new, flat, (0.01, 0.1, 1.0))
    best, _ = best_scale_correlation(new, flat, SCALE)
    return {
        "rho": float(np.corrcoef(weights, mag.weighting(flat, SCALE))[0, 1]),
        "rho at best scale": float(best),
        "KL 0.01": float(kl[0]),
        "KL 0.1": float(kl[1]),
        "KL 1": float(kl[2]),
        "MRRE": float((kept.rank_error.mean() + back.rank_error.mean()) / 2),
        "continuity": float(back.trustworthiness.mean()),
        "trustworthiness": float(kept.trustworthiness.mean()),
    }


def fitted(train: np.ndarray, new: np.ndarray, coefficient: float, seed: int, changes: dict):
    "The defaults for wide rows, but for λ and changes: where new images go, and what it took."
    strategy = default_strategy("deep", len(train))
    strategy = replace(strategy, joint=replace(strategy.joint, **changes))
    model = mag.MagnitudeAutoencoder(
        scale=SCALE,
        weighting_coefficient=coefficient,
        strategy=strategy,
        random_state=seed,
        progress=False,
    )
    start = time.perf_counter()
    cpu = time.process_time()
    model.fit(train)
    took = {
        "seconds": round(time.perf_counter() - start, 1),
        "CPU seconds": round(time.process_time() - cpu, 1),
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    flat = model.transform(new).astype(np.float64)
    error = np.square(model.inverse_transform(flat.astype(np.float32)) - new).mean()
    return flat, took | {"MSE": float(error)}


def add(row: dict) -> None:
    "Adds a result to the file."
    path = RESULTS / "fashion.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    about = {"torch": str(torch.__version__), "threads": torch.get_num_threads()}
    rows.append(row | about | {"machine": platform.machine()})
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    print(row, flush=True)


def published(folder: Path | None, new: np.ndarray, weights: np.ndarray, labels: np.ndarray):
    "Judges latents that others have published, in CSV files with the columns 0, 1, labels."
    for path in sorted(folder.glob("*.csv")) if folder else []:
        table = pd.read_csv(path)
        if not (table["labels"].to_numpy() == labels).all():
            raise ValueError(f"{path} has its rows in another order")
        row = judged(new, table[["0", "1"]].to_numpy(np.float64), weights)
        add({"method": f"{path.stem}, published latents", "judged on": "test"} | row)


def rivals(options: argparse.Namespace, train: np.ndarray, new: np.ndarray, weights: np.ndarray):
    "PCA, and what others have published."
    pca = PCA(2, random_state=0).fit(train)
    flat = pca.transform(new)
    error = np.square(pca.inverse_transform(flat) - new).mean()
    row = judged(new, flat.astype(np.float64), weights)
    add({"method": "PCA", "MSE": float(error), "judged on": "test"} | row)
    labels = [path for path in options.folder.iterdir() if path.name.startswith("t10k-labels")]
    published(options.latents, new, weights, read_idx(labels[0]))


def ours(options: argparse.Namespace, train: np.ndarray, new: np.ndarray, weights: np.ndarray):
    "A training for each seed and λ."
    for seed, coefficient in itertools.product(options.seeds, options.coefficients):
        changes = {"batch_size": options.size, "n_subsets": options.parts}
        changes = {name: value for name, value in changes.items() if value is not None}
        flat, took = fitted(train, new, coefficient, seed, changes)
        row = {"method": "Magnitude AE", "weighting_coefficient": coefficient, "seed": seed}
        row["changes"] = changes
        row["judged on"] = "held-out training images" if options.held_out else "test"
        if options.latents:
            path = options.latents / f"fashion_{coefficient:g}_{seed}.npz"
            np.savez_compressed(path, flat=flat.astype(np.float32))
        add(row | judged(new, flat, weights) | took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--coefficients", type=float, nargs="+", default=[1.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, help="points of a step, where not the default")
    parser.add_argument("--parts", type=int, help="parts of a step, where not the default")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument(
        "--latents", type=Path, help="published latents to judge, or where to keep ours"
    )
    options = parser.parse_args()

    train = images(options.folder, "train")
    if options.held_out:
        order = np.random.default_rng(0).permutation(len(train))
        train, new = train[order[10_000:]], train[order[:10_000]]
    else:
        new = images(options.folder, "t10k")
    weights = mag.weighting(new.astype(np.float64), SCALE)
    run = rivals if options.rivals else ours
    run(options, train, new, weights)


if __name__ == "__main__":
    main()
