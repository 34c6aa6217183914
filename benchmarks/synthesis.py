"""What an image of a synthetic dataset costs: time by stage, memory, and a second process.

    python benchmarks/synthesis.py                          built-in objects
    python benchmarks/synthesis.py --meshes DIR --backgrounds DIR --out FILE.md

Stages are CPU time on one core in the real simulator: renderer and backgrounds are timed inside
it, labels and compositing again on what was drawn, and what remains is motions and their filter.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import Table, machine, one_core, save, size_text
from benchmarks.synthesis_stages import ObjectCost, measure_object, timed
from benchmarks.synthesis_workers import measure_workers
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.common.record import Count, check
from bridge.dataset.schema import to_table
from bridge.dataset.shards import write_shard
from bridge.simulator import Backgrounds, MeshError, ObjectEntry, SimulatorConfig
from bridge.synthesis.plan import plan_shards, spread
from pipelines.stages.synthesis_options import SynthesizeConfig, all_objects, open_backgrounds

TARGETS = {"peak_mb": 600.0, "speedup": 1.9}

STAGES = Table("stage | CPU ms per image | share", "{stage} | {ms:.2f} | {share:.0%}")
WORKERS = Table(
    "processes | trajectories of a shard | seconds | images/s | peak memory of a process, MB",
    "{processes} | {trajectories} | {seconds:.1f} | {rate:,.1f} | {peak_mb:.0f}",
)


@dataclass(frozen=True)
class Config:
    """What is measured."""

    meshes: str | None = None
    """Folder of a mesh collection; built-in objects by default."""
    backgrounds: str | None = None
    """Folder of photos; generated backgrounds by default."""
    objects: Count = 60
    """Number of objects, from as many categories as possible; one trajectory of each."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width in pixels."""
    shard_trajectories: Count = 2
    """Trajectories of each object that one process and then two make; a shard for each object."""
    seed: int = 0
    """Of the choice of objects and of the dataset."""
    out: Path | None = None
    """Markdown file for the tables; the figures go beside it as JSON."""

    def __post_init__(self) -> None:
        check(self)


def run(config: Config) -> dict[str, Any]:
    """Measure, print, and write what the options ask for; the figures."""
    simulator = SimulatorConfig(image_size=config.image_size, seed=config.seed)
    source = SynthesizeConfig(
        meshes=config.meshes, backgrounds=config.backgrounds, seed=config.seed
    )
    backgrounds = open_backgrounds(source)
    entries, costs = object_costs(all_objects(source), config.objects, simulator, backgrounds)
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
        **cost_of_an_image(costs, storing_seconds(costs)),
        "image_size": config.image_size,
        "workers": workers,
        "speedup": workers[0]["seconds"] / workers[1]["seconds"],
        "targets": TARGETS,
    }
    save(config.out, report(figures), figures)
    return figures


def object_costs(
    everything: Sequence[ObjectEntry],
    number: int,
    simulator: SimulatorConfig,
    backgrounds: Backgrounds,
) -> tuple[list[ObjectEntry], list[ObjectCost]]:
    """So many objects that open, and what a trajectory of each cost; InputError for too few."""
    entries: list[ObjectEntry] = []
    costs: list[ObjectCost] = []
    with progress("stages", number, "objects") as counter, one_core():
        for entry in spread(everything, simulator.seed):
            try:
                if not costs:
                    # What is compiled or read only once must not count.
                    measure_object(entry, simulator, backgrounds)
                costs.append(measure_object(entry, simulator, backgrounds))
            except MeshError:
                continue
            entries.append(entry)
            counter.advance()
            if len(costs) == number:
                break
    if len(costs) < number or not any(cost.rows for cost in costs):
        usable = sum(bool(cost.rows) for cost in costs)
        raise InputError(f"{number} objects were asked for; {usable} can be simulated.")
    return entries, costs


def storing_seconds(costs: Sequence[ObjectCost]) -> float:
    """CPU seconds to write all images as one shard, once the writer is warm."""
    rows = [row for cost in costs for row in cost.rows]
    with tempfile.TemporaryDirectory() as folder, one_core():
        store = partial(write_shard, folder, "data.parquet", "train", to_table(rows))
        store()
        return timed(store)[1]


def cost_of_an_image(costs: Sequence[ObjectCost], storing: float) -> dict[str, Any]:
    """Milliseconds of a delivered image by stage, which pays for what was lost; and of a mesh."""
    images = sum(len(cost.rows) for cost in costs)
    sums = {name: sum(cost.stages[name] for cost in costs) for name in costs[0].stages}
    stages = {name: 1000 * spent / images for name, spent in (sums | {"Parquet": storing}).items()}
    kept = [cost for cost in costs if cost.rows]
    median = statistics.median(1000 * cost.seconds / len(cost.rows) for cost in kept)
    samples = sum(cost.samples for cost in costs)
    return {
        "images": images,
        "ms_per_image": stages,
        "total_ms_per_image": sum(stages.values()),
        "median_total_ms_per_image": median + stages["Parquet"],
        "opening_ms": [1000 * cost.opening for cost in costs],
        "ns_per_sample": 1e9 * sums["render and average"] / samples,
        "objects": [
            {
                "object_id": cost.object_id,
                "stage_seconds": cost.stages,
                "images": len(cost.rows),
                "subframes": cost.subframes,
            }
            for cost in costs
        ],
    }


def report(figures: dict[str, Any]) -> list[str]:
    """All tables, with what they show."""
    stages, total = figures["ms_per_image"], figures["total_ms_per_image"]
    objects, opening = figures["objects"], figures["opening_ms"]
    kept = [each["subframes"] for each in objects if each["images"]]
    floor = stages["JPEG"] + stages["Parquet"]
    rows = [{"stage": name, "ms": ms, "share": ms / total} for name, ms in stages.items()]
    rows += [
        {"stage": "total", "ms": total, "share": 1.0},
        {"stage": "total, median object", "ms": figures["median_total_ms_per_image"]},
    ]
    return [
        "# Synthesis",
        f"{machine()}. One trajectory of each of {len(objects)} objects at "
        f"{size_text(figures['image_size'])}, of which {len(kept)} passed the filter: "
        f"{figures['images']:,} images. Renderer raster.",
        "## Cost of an image",
        STAGES.text(rows),
        f"{1000 / total:,.1f} images/s on one core. Besides, opening a mesh takes "
        f"{statistics.mean(opening):.0f} ms (median {statistics.median(opening):.0f} ms), once for "
        "all of a shard's trajectories of the object.",
        f"To encode and store images that are ready costs {floor:.2f} ms: the whole is "
        f"{total / floor:.1f} times this floor. A trajectory has {statistics.mean(kept):.0f} "
        f"sub-frames (median {statistics.median(kept):.0f}); drawing and averaging them take "
        f"{figures['ns_per_sample']:.1f} ns per sample that shows the object.",
        "## Workers",
        WORKERS.text([*figures["workers"], {"processes": "target"} | TARGETS]),
        f"Two processes make {figures['speedup']:.2f} times the images of one per second, target "
        f"{TARGETS['speedup']}; the first two rows are of the same shards.",
    ]


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
