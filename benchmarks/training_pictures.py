"""A dataset of random pictures on disk, for benchmarks that are not given one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_loader import photo
from bridge.dataset.manifest import Manifest, ShardResult, open_manifest
from bridge.dataset.schema import image_id, to_table
from bridge.dataset.shards import shard_path, write_shard
from bridge.dataset.splits import BLUR_LEVELS
from bridge.training.data import TrainingData, select_training_images

OBJECTS = 10


def write_pictures(
    folder: Path, count: int, seed: int = 0, size: tuple[int, int] = (240, 320)
) -> None:
    """Write a dataset of training objects of whose images `count` are selected for training.

    Args:
        folder: where.
        count: of trajectories, rounded up to a multiple of the objects; training takes an image
            of each. The images of a trajectory differ in their blur level alone.
        seed: of the pictures.
        size: (H, W).
    """
    rng = np.random.default_rng(seed)
    per_object = -(-count // OBJECTS)
    rows = [
        row
        for number in range(OBJECTS)
        for trajectory in range(per_object)
        for row in _rows(number, trajectory, photo(rng, size))
    ]
    record = write_shard(str(folder), shard_path("train", 0, 1), "train", to_table(rows))
    result = ShardResult(
        record,
        tuple(sorted({row["object_id"] for row in rows})),
        OBJECTS * per_object,
        Counter(str(row["blur_level"]) for row in rows),
    )
    manifest = Manifest("dataset", {"pictures": "random"}).with_shards([result]).finished()
    manifest.save(str(folder))


def _rows(number: int, trajectory: int, encoded: bytes) -> list[dict[str, Any]]:
    object_id = f"photo/{number:03d}"
    names = [image_id(object_id, trajectory, window) for window in range(BLUR_LEVELS)]
    return [
        {
            "image": {"bytes": encoded, "path": f"{name}.jpg"},
            "image_id": name,
            "object_id": object_id,
            "category": "photo",
            "trajectory": trajectory,
            "window": window,
            "blur_severity": window / 10 + 0.05,
            "blur_level": window + 1,
            "mean_opacity": 0.95 - window / 10,
            "bbox": (0.5, 0.5, 0.5, 0.5),
            "background_id": "none",
        }
        for window, name in enumerate(names)
    ]


def load(dataset: str, seed: int = 0) -> TrainingData:
    """The training selection of a dataset."""
    return select_training_images(dataset, open_manifest(dataset), seed).load()
