"""A synthetic DATASET as pure functions: which shards there are, and what is in each.

This is where the simulator meets the dataset format. Nothing here knows how the shards are laid
out over a cluster: `make_shard(plan, number)` gives the same bytes wherever and however often
it runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from bridge.dataset.manifest import Rejection, ShardResult
from bridge.dataset.schema import image_id, to_table
from bridge.dataset.shards import shard_path, write_shard
from bridge.dataset.splits import rng_for, split_objects
from bridge.images import ImageFormat, encode
from bridge.simulator import (
    Backgrounds,
    MeshError,
    ObjectEntry,
    Renderer,
    RendererName,
    Sample,
    SimulatorConfig,
    make_renderer,
    simulate,
)

Kind = Literal["dataset", "distractors"]


@dataclass(frozen=True)
class ShardTask:
    """One shard: its file and the trajectories in it."""

    path: str
    split: str
    trajectories: tuple[tuple[ObjectEntry, range], ...]

    @property
    def num_trajectories(self) -> int:
        """Trajectories that are tried."""
        return sum(len(numbers) for _, numbers in self.trajectories)


@dataclass(frozen=True)
class SynthesisPlan:
    """Everything that decides the content of a dataset's shards."""

    simulator: SimulatorConfig
    image_format: ImageFormat
    tasks: tuple[ShardTask, ...]

    @property
    def num_trajectories(self) -> int:
        """Trajectories that are tried, over all shards."""
        return sum(task.num_trajectories for task in self.tasks)


def check_object(entry: ObjectEntry) -> Rejection | None:
    """Why an object cannot be rendered, or None where it can."""
    try:
        entry.load()
    except MeshError as error:
        return Rejection(error.reason, entry.object_id, error.detail)
    return None


def select_objects(
    entries: Sequence[ObjectEntry], per_category: int | None, seed: int, kind: Kind
) -> list[ObjectEntry]:
    """At most `per_category` random objects of each category, in the order of their names.

    The two kinds take from opposite ends of one random order, so that datasets and distractors of
    the same seed share objects only where a category has too few for both.
    """
    by_category: dict[str, list[ObjectEntry]] = defaultdict(list)
    for entry in entries:
        by_category[entry.category].append(entry)
    chosen: list[ObjectEntry] = []
    for category, members in by_category.items():
        order = rng_for(seed, "objects", category).permutation(len(members))
        if kind == "distractors":
            order = order[::-1]
        chosen += [members[i] for i in order[:per_category]]
    return sorted(chosen, key=lambda entry: entry.object_id)


def plan_shards(
    entries: Sequence[ObjectEntry],
    kind: Kind,
    trajectories: int,
    trajectories_per_shard: int,
    seed: int,
) -> tuple[ShardTask, ...]:
    """Cut the trajectories of all objects, split by split, into shards of equal length."""
    by_split: dict[str, list[ObjectEntry]] = defaultdict(list)
    if kind == "distractors":
        by_split["distractor"] = list(entries)
    else:
        by_category: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            by_category[entry.category].append(entry.object_id)
        splits = split_objects(by_category, seed)
        for entry in entries:
            by_split[splits[entry.object_id]].append(entry)
    tasks: list[ShardTask] = []
    for split, members in sorted(by_split.items()):
        pairs = len(members) * trajectories
        total = -(-pairs // trajectories_per_shard)
        for number in range(total):
            start = number * trajectories_per_shard
            stop = min(start + trajectories_per_shard, pairs)
            content = _slice(members, trajectories, start, stop)
            tasks.append(ShardTask(shard_path(split, number, total), split, content))
    return tuple(tasks)


def _slice(
    entries: Sequence[ObjectEntry], trajectories: int, start: int, stop: int
) -> tuple[tuple[ObjectEntry, range], ...]:
    """Entries start..stop of the list of all (object, trajectory) pairs, grouped by object."""
    first, last = start // trajectories, (stop - 1) // trajectories
    return tuple(
        (
            entries[i],
            range(max(start - i * trajectories, 0), min(stop - i * trajectories, trajectories)),
        )
        for i in range(first, last + 1)
    )


@lru_cache(maxsize=1)
def _renderer(name: RendererName, image_size: tuple[int, int], subframe_step: float) -> Renderer:
    """One renderer per process: its buffers are as large as the image."""
    return make_renderer(name, image_size, subframe_step)


def make_shard(
    task: ShardTask, plan: SynthesisPlan, backgrounds: Backgrounds, dataset: str
) -> ShardResult:
    """Simulate the trajectories of a shard and write it (atomically) into the dataset.

    A trajectory that passes no filter and a photo that cannot be read are left out and reported.
    """
    simulator = plan.simulator
    renderer = _renderer(simulator.renderer, simulator.image_size, simulator.subframe_step)
    rows: list[dict[str, Any]] = []
    rejections: list[Rejection] = []
    for entry, numbers in task.trajectories:
        mesh = entry.load()
        for number in numbers:
            samples = simulate(mesh, entry.object_id, number, plan.simulator, renderer, backgrounds)
            if not samples:
                name = f"{entry.object_id}/{number:03d}"
                rejections.append(Rejection("trajectory", name, "no try passed the filter"))
            rows += [_row(entry, number, sample, plan.image_format) for sample in samples]
    rejections += [Rejection("background", p, why) for p, why in backgrounds.rejected.items()]
    record = write_shard(dataset, task.path, task.split, to_table(rows))
    return ShardResult(
        record=record,
        objects=tuple(sorted({row["object_id"] for row in rows})),
        trajectories=len({(row["object_id"], row["trajectory"]) for row in rows}),
        by_blur_level=Counter(str(row["blur_level"]) for row in rows),
        rejections=tuple(rejections),
    )


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
        "bbox": sample.bbox,
        "background_id": sample.background_id,
    }
