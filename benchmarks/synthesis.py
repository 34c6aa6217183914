"""What an image of a synthetic dataset costs: time by stage, memory, and a second process.

    python benchmarks/synthesis.py                          built-in objects
    python benchmarks/synthesis.py --meshes DIR --backgrounds DIR --out FILE.md

Stages are CPU time on one core in the real simulator: renderer and backgrounds are timed inside
it, labels and compositing again on what was drawn, and what remains is motions and their filter.
"""

from __future__ import annotations

import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Barrier
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.report import Table, fill, in_processes, machine, one_core, peak_gb, save
from benchmarks.scenes import SceneOptions
from bridge.blur import blur_level, blur_severity, blur_value, bounding_box, composite, eight_bit
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.common.record import Count
from bridge.dataset.manifest import ShardResult
from bridge.dataset.schema import to_table
from bridge.dataset.shards import write_shard
from bridge.simulator import (
    Backgrounds,
    MeshError,
    ObjectEntry,
    SimulatorConfig,
    make_renderer,
    simulate,
)
from bridge.synthesis.plan import ShardTask, plan_shards, spread
from bridge.synthesis.shard import make_rows, make_shard
from pipelines.stages.synthesis_inputs import all_objects, open_backgrounds

STAGES = Table("stage | CPU ms per image | share", "{stage} | {ms:.2f} | {share:.0%}")
WORKERS = Table(
    "processes | trajectories of a shard | seconds | images/s | peak memory of a process, GB",
    "{processes} | {trajectories} | {seconds:.1f} | {rate:,.1f} | {peak_gb:.3f}",
)


@dataclass(frozen=True, kw_only=True)
class Config(SceneOptions):
    """What is measured; of each object one trajectory by stages."""

    shard_trajectories: Count = 2
    """Trajectories of each object that one process and then two make; a shard for each object."""


def run(config: Config) -> dict[str, Any]:
    """Measure, print, and write what the options ask for; the figures."""
    simulator = SimulatorConfig(image_size=config.image_size, seed=config.seed)
    source, backgrounds = config.source, open_backgrounds(config.source)
    costs = object_costs(all_objects(source), config.objects, simulator, backgrounds)
    entries = [cost["entry"] for cost in costs]
    number = config.shard_trajectories
    small, large = (
        list(plan_shards(entries, "distractors", number, per_shard, config.seed).missing(()))
        for per_shard in (number, source.trajectories_per_shard)
    )
    workers = []
    # The third is for its memory, which grows with the size of a shard.
    for processes, tasks in ((1, small), (2, small), (1, large)):
        print(f"workers: {len(tasks)} shards by {processes} process(es)", flush=True)
        workers.append(measure_workers(processes, tasks, simulator, backgrounds))
    figures = {
        **cost_of_an_image(costs),
        "image_size": config.image_size,
        "workers": workers,
        "speedup": workers[0]["seconds"] / workers[1]["seconds"],
    }
    save(config.out, report(figures), figures)
    return figures


class Timed:
    """A function that keeps what it last returned, and the CPU seconds of all its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.seconds = 0.0
        self.last: Any = None
        self._function = function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        self.last = self._function(*arguments, **options)
        self.seconds += time.process_time() - started
        return self.last


def measure_object(
    entry: ObjectEntry, config: SimulatorConfig, backgrounds: Backgrounds
) -> dict[str, Any]:
    """Make the images of an object's first trajectory; raises MeshError where it does not open.

    Returns:
        CPU seconds to open the mesh, and those of all else by stage; the images as they go into a
        shard, which are none where no motion passed the filter.
    """
    opening, simulating, encoding = Timed(entry.load), Timed(simulate), Timed(make_rows)
    labelling, compositing = Timed(_label), Timed(composite)
    renderer = make_renderer("raster", config.image_size, config.subframe_step)
    expose, sample = Timed(renderer.expose), Timed(backgrounds.sample)
    # All that `simulate` asks of its renderer and its backgrounds.
    timed = SimpleNamespace(expose=expose, sample=sample)
    samples = simulating(opening(), entry.object_id, 0, config, timed, timed)
    for layer in expose.last if samples else ():
        labelling(layer)
        compositing(layer, sample.last.pixels)
    inside = {
        "render and average": expose.seconds,
        "background": sample.seconds,
        "labels": labelling.seconds,
        "composite": compositing.seconds,
    }
    rows = encoding(entry, 0, samples, "jpeg")
    rest = simulating.seconds - sum(inside.values())
    return {
        "entry": entry,
        "opening": opening.seconds,
        "stages": {"motion and filter": rest, **inside, "JPEG": encoding.seconds},
        "rows": rows,
    }


def _label(layer: np.ndarray) -> tuple[int, float, object]:
    """What the simulator derives from an image's opacity."""
    alpha = eight_bit(layer[..., 3])
    return blur_level(blur_severity(alpha)), blur_value(alpha, erosion=0), bounding_box(alpha)


def object_costs(
    entries: Sequence[ObjectEntry],
    number: int,
    simulator: SimulatorConfig,
    backgrounds: Backgrounds,
) -> list[dict[str, Any]]:
    """What a trajectory of so many objects that open cost; InputError for too few."""
    found: list[dict[str, Any]] = []
    with progress("stages", number, "objects") as counter, one_core():
        for entry in spread(entries, simulator.seed):
            try:
                if not found:
                    # What is compiled or read only once must not count.
                    measure_object(entry, simulator, backgrounds)
                found.append(measure_object(entry, simulator, backgrounds))
            except MeshError:
                continue
            counter.advance()
            if len(found) == number:
                break
    usable = sum(bool(cost["rows"]) for cost in found)
    if len(found) < number or not usable:
        raise InputError(f"{number} objects were asked for; {usable} can be simulated.")
    return found


def cost_of_an_image(costs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Milliseconds of a delivered image by stage, which pays for what was lost; and of a mesh."""
    rows = [row for cost in costs for row in cost["rows"]]
    sums = {name: sum(cost["stages"][name] for cost in costs) for name in costs[0]["stages"]}
    with tempfile.TemporaryDirectory() as folder, one_core():
        store = partial(write_shard, folder, "data.parquet", "train", to_table(rows))
        store()
        warm = Timed(store)
        warm()
    stages = {name: 1000 * s / len(rows) for name, s in (sums | {"Parquet": warm.seconds}).items()}
    kept = [cost for cost in costs if cost["rows"]]
    each = [1000 * sum(cost["stages"].values()) / len(cost["rows"]) for cost in kept]
    return {
        "images": len(rows),
        "kept": len(kept),
        "ms_per_image": stages,
        "total_ms_per_image": sum(stages.values()),
        "median_total_ms_per_image": statistics.median(each) + stages["Parquet"],
        "opening_ms": [1000 * cost["opening"] for cost in costs],
        "objects": [{cost["entry"].object_id: cost["stages"]} for cost in costs],
    }


def measure_workers(
    processes: int, tasks: Sequence[ShardTask], config: SimulatorConfig, backgrounds: Backgrounds
) -> dict[str, Any]:
    """Make shards in fresh processes, which have made the first one before the clock starts.

    Returns:
        Seconds, images, images per second, and the most memory that a process had, in GB.
    """
    shares = [tasks[rank::processes] for rank in range(processes)]
    # As Ray sets it for its workers.
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}):
        place: Any = {"simulator": config, "backgrounds": backgrounds, "dataset": folder}
        make = partial(make_shard, image_format="jpeg", **place)
        done = in_processes(processes, _work, shares, make)
    images, seconds, peaks = zip(*done, strict=True)
    return {
        "processes": processes,
        "trajectories": max(sum(len(n) for _, n in task.trajectories) for task in tasks),
        "seconds": max(seconds),
        "images": sum(images),
        "rate": sum(images) / max(seconds),
        "peak_gb": max(filter(None, peaks), default=None),
    }


def _work(
    rank: int,
    start: Barrier,
    shares: Sequence[Sequence[ShardTask]],
    make: Callable[[ShardTask], ShardResult],
) -> tuple[int, float, float | None]:
    """Images of this process's shards, seconds, and its peak memory in GB."""
    # A worker's memory includes what Ray and the driver's modules take.
    importlib.import_module("pipelines.synthesize")
    make(shares[rank][0])
    start.wait()
    began = time.perf_counter()
    images = sum(make(task).record.rows for task in shares[rank])
    return images, time.perf_counter() - began, peak_gb()


def report(figures: dict[str, Any]) -> list[str]:
    """All tables, with what they show."""
    stages, total = figures["ms_per_image"], figures["total_ms_per_image"]
    opening, floor = figures["opening_ms"], stages["JPEG"] + stages["Parquet"]
    every = stages | {"total": total}
    rows = [{"stage": name, "ms": ms, "share": ms / total} for name, ms in every.items()]
    rows.append({"stage": "total, median object", "ms": figures["median_total_ms_per_image"]})
    return [
        "# Synthesis",
        f"{machine()}. One trajectory of each of {len(opening)} objects at "
        + fill("{image_size}, {kept} of which passed the filter: {images:,} images.", figures),
        "## Cost of an image",
        STAGES.text(rows),
        f"{1000 / total:,.1f} images/s on one core. Besides, opening a mesh takes "
        f"{statistics.mean(opening):.0f} ms (median {statistics.median(opening):.0f} ms), once for "
        "all of a shard's trajectories of the object. To encode and store images that are ready "
        f"costs {floor:.2f} ms: the whole is {total / floor:.1f} times this floor.",
        "## Workers",
        WORKERS.text(figures["workers"]),
        f"Two processes make {figures['speedup']:.2f} times the images of one per second; the "
        "first two rows are of the same shards.",
    ]


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
