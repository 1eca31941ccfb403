"""A user's script, for the type checker alone: mypy reads it strictly, nobody runs it.

pyproject.toml says what strictly means; tests/test_typing.py calls mypy.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import magnitude_ae as mag
from magnitude_ae import Cholesky, MagnitudeAutoencoder, Similarity, Solution, Vecchia


def arrays(points: NDArray[np.float64]) -> float:
    weights = mag.weighting(points, 2.0, metric="cityblock", solver=Cholesky())
    order = np.argsort(weights)
    several = mag.magnitude(points, np.geomspace(0.1, 10, 5))
    scales, values = mag.magnitude_function(points)
    nearest: NDArray[np.float64] = mag.distance_matrix(points).min(axis=1)
    zeta = mag.similarity_matrix([[0.0], [1.0]], 1.0)
    assert (
        zeta.shape == (2, 2)
        and len(several) == 5
        and len(order) == len(nearest) == len(scales) != len(values)
    )
    return mag.choose_scale(points, fraction=0.1) + mag.choose_scale(
        points, lambda scale: (scale - 1) ** 2
    )


def tensors(points: torch.Tensor) -> torch.Tensor:
    scale = torch.tensor(1.0, requires_grad=True)
    loss: torch.Tensor = (
        (mag.weighting(points, scale) - 1).abs().mean() + mag.magnitude(points) + mag.spread(points)
    )
    loss.backward()  # type: ignore[no-untyped-call]  # of torch
    assert scale.grad is not None
    return mag.weighting(points, solver=Vecchia(20, order="centre"))


def solving(points: NDArray[np.float64]) -> Solution:
    factor = mag.ConjugateGradient(rtol=1e-8).factor(Similarity(points, 3.0))
    solution = factor.solve(np.ones(len(points)))
    if not solution.converged:
        print(solution.message, solution.residual, solution.n_steps)
    return mag.solve(points, 3.0)


def growing(points: NDArray[np.float64]) -> float:
    space = mag.WeightedSpace(points, 1.0)
    larger = space.add(points + 100.0).remove([0, 1])
    return larger.magnitude + float(np.max(larger.deficit(points)))


def training(points: NDArray[np.float64], folder: Path) -> NDArray[np.float64]:
    model = MagnitudeAutoencoder(
        2,
        scale="auto",
        strategy=mag.BurnIn(joint=mag.Joint(n_epochs=50)),
        max_epochs=10,
        random_state=0,
    )
    embedding: NDArray[np.float64] = model.fit(points).embedding_
    model.save(folder / "model.safetensors")
    again = MagnitudeAutoencoder.load(folder / "model.safetensors")
    assert again.inverse_transform(again.transform(points)).shape == points.shape
    print(
        mag.boundary_correlation(points, embedding, again.scale_),
        mag.trustworthiness(points, embedding),
        mag.continuity(points, embedding),
    )
    print(mag.compare_embeddings(points, mag.baselines(points, random_state=0)).round(2))
    ax = mag.plots.scatter(embedding, mag.weighting(points), title="embedding")
    ax.set_title("another")
    return embedding


def watching(points: NDArray[np.float64], folder: Path) -> None:
    callbacks = [
        mag.EarlyStopping(patience=5),
        mag.Checkpoint(folder / "run.safetensors", every=2),
        mag.BestState(lambda training: training.history["weighting_loss"][-1]),
    ]
    MagnitudeAutoencoder(callbacks=callbacks, progress=False).fit(points)


def detecting(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    detector = mag.BoundaryDetector(contamination=0.2).fit(points)
    outside: NDArray[np.bool_] = detector.predict(points) < 0
    return outside


def data() -> NDArray[np.float64]:
    points, to_rim = mag.datasets.disc(
        100, random_state=np.random.default_rng(0), return_boundary_distance=True
    )
    assert mag.boundary_auc(points, to_rim < 0.1) > 0.5
    roll: NDArray[np.float64] = mag.datasets.swiss_roll(100, random_state=0)
    return roll
