"""Evaluation speed: `bridge.metrics.evaluate_retrieval` against the literal definition.

    python benchmarks/evaluation.py                        a size for under a minute
    python benchmarks/evaluation.py --queries 2000 --k 100

The literal definition sorts every row of similarities in full and looks the positives up in a
one-hot matrix. Both see the same random data in the same run; both mAPs are printed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro
from numpy.typing import NDArray

from bridge.metrics import evaluate_retrieval


@dataclass(frozen=True)
class Config:
    """Size of the measured evaluation; the database defaults to that of the paper's Table 1."""

    queries: int = 1_000
    """Number of query images."""
    database: int = 91_621
    """Number of database images."""
    objects: int = 193
    """Number of objects, drawn uniformly for every image."""
    dimension: int = 128
    """Length of the descriptors."""
    noise: float = 2.0
    """Norm of the noise that is added to an object's unit-length descriptor: higher is harder."""
    k: int | None = None
    """Cut-off of mAP@k; the whole database by default."""
    seed: int = 0
    """Seed of the random data."""


def random_images(
    centres: NDArray[np.float32], num_images: int, noise: float, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """L2-normalised descriptors [num_images, d] scattered around object centres, and labels."""
    labels = generator.integers(len(centres), size=num_images)
    scatter = generator.standard_normal((num_images, centres.shape[1]), np.float32)
    descriptors = centres[labels] + noise / np.sqrt(centres.shape[1], dtype=np.float32) * scatter
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return descriptors.astype(np.float32), labels


def literal_map(
    queries: NDArray[np.float32],
    database: NDArray[np.float32],
    query_labels: NDArray[np.int64],
    database_labels: NDArray[np.int64],
    k: int | None,
    batch: int = 256,
) -> float:
    """mAP@k over the positives found, by a full sort of every row of similarities."""
    num_objects = max(query_labels.max(), database_labels.max()) + 1
    is_object = np.eye(num_objects, dtype=bool)[:, database_labels]
    precisions = np.arange(1, len(database) + 1)[:k]
    scores = []
    for start in range(0, len(queries), batch):
        order = np.argsort(-(queries[start : start + batch] @ database.T), axis=1)[:, :k]
        hits = np.take_along_axis(is_object[query_labels[start : start + batch]], order, axis=1)
        precision = hits.cumsum(axis=1) / precisions
        scores.append((precision * hits).sum(axis=1) / np.maximum(hits.sum(axis=1), 1))
    return float(np.concatenate(scores).mean())


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """The function's value and its wall-clock seconds."""
    start = time.perf_counter()
    value = function()
    return value, time.perf_counter() - start


def main(config: Config) -> None:
    generator = np.random.default_rng(config.seed)
    centres = generator.standard_normal((config.objects, config.dimension), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    queries, query_labels = random_images(centres, config.queries, config.noise, generator)
    database, database_labels = random_images(centres, config.database, config.noise, generator)
    arguments = queries, database, query_labels, database_labels

    evaluate_retrieval(queries[:2], database[:100], query_labels[:2], database_labels[:100])
    ours, seconds = timed(lambda: evaluate_retrieval(*arguments, k=config.k).map["retrieved"])
    literal, literal_seconds = timed(lambda: literal_map(*arguments, config.k))

    print(f"{config.queries:,} queries x {config.database:,} images, k = {config.k or 'all'}")
    print(f"evaluate_retrieval   {seconds:8.2f} s   mAP {ours:.6f}")
    print(f"full sort            {literal_seconds:8.2f} s   mAP {literal:.6f}")
    print(f"ratio                {literal_seconds / seconds:8.1f} x")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
