"""What benchmarks of networks run on: a dataset, or a temporary one of built-in objects."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import environment
from bridge.dataset.manifest import Manifest, open_manifest
from bridge.dataset.shards import shard_path
from bridge.simulator import ProceduralBackgrounds, SimulatorConfig, procedural_objects
from bridge.synthesis.plan import ShardTask
from bridge.synthesis.shard import make_shard
from bridge.training.data import TrainingData, select_training_images
from bridge.training.recipe import Recipe

OBJECTS = 10


@contextmanager
def dataset_or_pictures(
    dataset: str, trajectories: int, size: tuple[int, int] = (240, 320)
) -> Iterator[str]:
    """The folder of a dataset, or where none is named ("") that of `write_pictures`."""
    if dataset:
        yield dataset
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with environment("BRIDGE_CACHE", str(folder / "cache")):
            write_pictures(folder / "data", trajectories, size)
            yield str(folder / "data")


def write_pictures(folder: Path, trajectories: int, size: tuple[int, int]) -> None:
    """Write a dataset of training images (H, W) alone, which takes 0.2 s per trajectory at 240x320.

    A few trajectories pass no filter and are missing; training takes an image of each other one.
    """
    per_object = -(-trajectories // OBJECTS)
    content = tuple((entry, range(per_object)) for entry in procedural_objects(1, 0)[:OBJECTS])
    task = ShardTask(shard_path("train", 0, 1), "train", content)
    config = SimulatorConfig(image_size=size)
    result = make_shard(task, config, "jpeg", ProceduralBackgrounds(), str(folder))
    Manifest("dataset", {"made_for": "benchmarks"}).with_shards([result]).finished().save(
        str(folder)
    )


def load(dataset: str, recipe: Recipe | None = None) -> TrainingData:
    """What a recipe, the paper's by default, trains on of a dataset."""
    recipe = recipe or Recipe()
    return select_training_images(
        dataset,
        open_manifest(dataset),
        recipe.seed,
        blur_target=recipe.blur_target,
        bliss=recipe.bliss,
    ).load()
