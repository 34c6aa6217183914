"""What benchmarks run on: objects, and a dataset or a temporary one of built-in objects."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from benchmarks.report import Options
from bridge.common.record import Count
from bridge.dataset.manifest import Manifest
from bridge.dataset.shards import shard_path
from bridge.simulator import ProceduralBackgrounds, SimulatorConfig, procedural_objects
from bridge.synthesis.plan import ShardTask
from bridge.synthesis.shard import make_shard
from pipelines.stages.synthesis_options import SynthesizeConfig

OBJECTS = 10


@dataclass(frozen=True, kw_only=True)
class SceneOptions(Options):
    """Of the benchmarks that draw objects."""

    meshes: str | None = None
    """Folder of a mesh collection; built-in objects by default."""
    backgrounds: str | None = None
    """Folder of photos; generated backgrounds by default."""
    objects: Count = 60
    """Number of objects, from as many categories as possible."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width in pixels."""

    @property
    def source(self) -> SynthesizeConfig:
        """The same as `synthesize.py` understands it."""
        return SynthesizeConfig(meshes=self.meshes, backgrounds=self.backgrounds, seed=self.seed)


@contextmanager
def dataset_or_pictures(
    dataset: str, trajectories: int, size: tuple[int, int] = (240, 320)
) -> Iterator[str]:
    """The folder of a dataset, or where none is named ("") that of `write_pictures`."""
    if dataset:
        yield dataset
        return
    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, BRIDGE_CACHE=f"{name}/c"):
        write_pictures(f"{name}/data", trajectories, size)
        yield f"{name}/data"


def write_pictures(folder: str, trajectories: int, size: tuple[int, int]) -> None:
    """Write a dataset of training images (H, W) alone, which takes 0.2 s per trajectory at 240x320.

    A few trajectories pass no filter and are missing; training takes an image of each other one.
    """
    per_object = -(-trajectories // OBJECTS)
    content = tuple((entry, range(per_object)) for entry in procedural_objects(1, 0)[:OBJECTS])
    task = ShardTask(shard_path("train", 0, 1), "train", content)
    config = SimulatorConfig(image_size=size)
    result = make_shard(task, config, "jpeg", ProceduralBackgrounds(), folder)
    manifest = Manifest("dataset", {"made_for": "benchmarks"}).with_shards([result])
    manifest.finished().save(folder)
