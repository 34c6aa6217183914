"""What is in the shards of a synthetic DATASET, as pure functions.

This is where the simulator meets the dataset format. Nothing here knows how the shards are laid
out over a cluster: `make_shard` gives the same bytes wherever and however often it runs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from bridge.common.images import encode
from bridge.common.picture_options import ImageFormat
from bridge.dataset.manifest import Adjustment, Rejection, ShardResult
from bridge.dataset.schema import image_id, to_table
from bridge.dataset.shards import write_shard
from bridge.simulator import (
    Backgrounds,
    Mesh,
    MeshError,
    ObjectEntry,
    Renderer,
    RendererName,
    Sample,
    SimulatorConfig,
    make_renderer,
    simulate,
)
from bridge.simulator.renderers.cycles import BlenderDied
from bridge.synthesis.plan import ShardTask

LOST_TRAJECTORY = "trajectory"
"""Reason of every rejection that stands for one trajectory of a usable object."""


@dataclass(frozen=True)
class ObjectCheck:
    """What opening an object showed.

    Attributes:
        rejection: why it cannot be rendered; None where it can.
        adjustments: what was changed to make it usable.
    """

    rejection: Rejection | None = None
    adjustments: tuple[Adjustment, ...] = ()


def check_object(entry: ObjectEntry) -> ObjectCheck:
    """Open an object to see whether it can be rendered."""
    try:
        mesh = entry.load()
    except MeshError as error:
        return ObjectCheck(Rejection(error.reason, entry.object_id, error.detail))
    return ObjectCheck(
        adjustments=tuple(
            Adjustment(reason, entry.object_id, detail) for reason, detail in mesh.adjusted
        )
    )


@lru_cache(maxsize=1)
def _cached_renderer(
    name: RendererName, image_size: tuple[int, int], subframe_step: float
) -> Renderer:
    """One renderer per process: its buffers are as large as the image."""
    return make_renderer(name, image_size, subframe_step)


def renderer_for(simulator: SimulatorConfig) -> Renderer:
    """The renderer of this process for a configuration.

    Raises InputError where what it needs is not installed.
    """
    return _cached_renderer(simulator.renderer, simulator.image_size, simulator.subframe_step)


@lru_cache(maxsize=4)
def _opened(entry: ObjectEntry) -> Mesh:
    """An object that the next shard may show too, since shards are cut without regard to them."""
    return entry.load()


def make_shard(
    task: ShardTask,
    simulator: SimulatorConfig,
    image_format: ImageFormat,
    backgrounds: Backgrounds,
    dataset: str,
) -> ShardResult:
    """Simulate the trajectories of a shard and write it (atomically) into the dataset.

    Trajectories that pass no filter or at which Blender dies twice, those of an object that cannot
    be opened any more, and photos that cannot be read are left out and reported.
    """
    table, rejections = simulate_shard(task, simulator, image_format, backgrounds)
    return ShardResult.of(write_shard(dataset, task.path, task.split, table), table, rejections)


def simulate_shard(
    task: ShardTask,
    simulator: SimulatorConfig,
    image_format: ImageFormat,
    backgrounds: Backgrounds,
) -> tuple[pa.Table, list[Rejection]]:
    """The rows of a shard, as in `SHARD_SCHEMA`, and what was left out."""
    renderer = renderer_for(simulator)
    # What one shard reports must not depend on those that this process made before.
    backgrounds = copy.copy(backgrounds)
    backgrounds.rejected = {}
    # A table per object, because rows take several times the memory of their table.
    tables = [to_table([])]
    rejections: list[Rejection] = []
    for entry, numbers in task.trajectories:
        try:
            mesh = _opened(entry)
        except MeshError as error:
            rejections += [_lost(entry, number, str(error)) for number in numbers]
            continue
        rows: list[dict[str, Any]] = []
        for number in numbers:
            try:
                samples = simulate(mesh, entry.object_id, number, simulator, renderer, backgrounds)
            except BlenderDied as error:
                rejections.append(_lost(entry, number, str(error).partition("\n")[0]))
                continue
            if not samples:
                rejections.append(_lost(entry, number, "no try passed the filter"))
            rows += make_rows(entry, number, samples, image_format)
        tables.append(to_table(rows))
    rejections += [Rejection("background", p, why) for p, why in backgrounds.rejected.items()]
    return pa.concat_tables(tables), rejections


def _lost(entry: ObjectEntry, trajectory: int, why: str) -> Rejection:
    return Rejection(LOST_TRAJECTORY, f"{entry.object_id}/{trajectory:03d}", why)


def make_rows(
    entry: ObjectEntry, trajectory: int, samples: Sequence[Sample], image_format: ImageFormat
) -> list[dict[str, Any]]:
    """The images of a trajectory as rows of `SHARD_SCHEMA`."""
    return [_row(entry, trajectory, sample, image_format) for sample in samples]


def _row(entry: ObjectEntry, trajectory: int, sample: Sample, fmt: ImageFormat) -> dict[str, Any]:
    name = image_id(entry.object_id, trajectory, sample.window)
    return {
        "image": {"bytes": encode(sample.image, fmt), "path": f"{name}.{fmt}"},
        "image_id": name,
        "object_id": entry.object_id,
        "category": entry.category,
        "trajectory": trajectory,
        "window": sample.window,
        "blur_severity": sample.blur_severity,
        "blur_level": sample.blur_level,
        "mean_opacity": sample.mean_opacity,
        "bbox": sample.bbox,
        "background_id": sample.background_id,
    }
