"""What an image of a synthetic dataset costs: time by stage, memory, and a second process.

    python benchmarks/synthesis.py                          built-in objects
    python benchmarks/synthesis.py --meshes DIR --backgrounds DIR --out FILE.md

Stages are CPU time on one core in the real simulator: renderer and backgrounds are timed inside
it, labels and compositing again on what was drawn, and what remains is motions and their filter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.synthesis_report import Results, figures, markdown
from benchmarks.synthesis_stages import ObjectCost, TimedRenderer, measure_object, timed
from benchmarks.synthesis_workers import measure_workers
from benchmarks.tables import one_core, save
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.dataset.schema import to_table
from bridge.dataset.shards import ShardRecord, write_shard
from bridge.simulator import (
    Backgrounds,
    MeshError,
    ObjectEntry,
    PhotoBackgrounds,
    ProceduralBackgrounds,
    SimulatorConfig,
    procedural_objects,
    scan_meshes,
)
from bridge.simulator.objects.procedural import FAMILIES
from bridge.synthesis.plan import plan_shards, spread
from pipelines.stages.synthesis_options import SynthesizeConfig


@dataclass(frozen=True)
class Config:
    """What is measured."""

    meshes: str | None = None
    """Folder of a mesh collection; built-in objects by default."""
    backgrounds: str | None = None
    """Folder of photos; generated backgrounds by default."""
    objects: int = 60
    """Number of objects, from as many categories as possible; one trajectory of each."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width in pixels."""
    shard_trajectories: int = 2
    """Trajectories of each object that one process and then two make; a shard for each object."""
    seed: int = 0
    """Of the choice of objects and of the dataset."""
    out: Path | None = None
    """Markdown file for the tables; the figures go beside it as JSON."""


def run(config: Config) -> Results:
    """Measure, print, and write what the options ask for."""
    if config.objects < 1 or config.shard_trajectories < 1:
        raise InputError("--objects and --shard-trajectories must be at least 1.")
    simulator = SimulatorConfig(image_size=config.image_size, seed=config.seed)
    backgrounds = (
        PhotoBackgrounds(config.backgrounds, "dataset")
        if config.backgrounds
        else ProceduralBackgrounds()
    )
    entries, costs = object_costs(config, simulator, backgrounds)
    storing = storing_seconds(costs)
    number = config.shard_trajectories
    small, large = (
        list(plan_shards(entries, "distractors", number, per_shard, config.seed).missing(()))
        for per_shard in (number, SynthesizeConfig().trajectories_per_shard)
    )
    workers = []
    # The third is for its memory, which grows with the size of a shard.
    for processes, tasks in ((1, small), (2, small), (1, large)):
        print(f"workers: {len(tasks)} shards by {processes} process(es)", flush=True)
        workers.append(measure_workers(processes, tasks, small[0], simulator, backgrounds))
    results = Results(config.image_size, costs, storing, workers)
    save(config.out, markdown(results), figures(results))
    return results


def object_costs(
    config: Config, simulator: SimulatorConfig, backgrounds: Backgrounds
) -> tuple[list[ObjectEntry], list[ObjectCost]]:
    """The objects that open, and what a trajectory of each cost; InputError for too few."""
    per_category = -(-config.objects // len(FAMILIES))
    everything = (
        scan_meshes(config.meshes)
        if config.meshes
        else procedural_objects(per_category, config.seed)
    )
    renderer = TimedRenderer(config.image_size, simulator.subframe_step)
    entries: list[ObjectEntry] = []
    costs: list[ObjectCost] = []
    with progress("stages", config.objects, "objects") as counter, one_core():
        for entry in spread(everything, config.seed):
            try:
                if not costs:
                    # What is compiled or read only once must not count.
                    measure_object(entry, simulator, renderer, backgrounds)
                costs.append(measure_object(entry, simulator, renderer, backgrounds))
            except MeshError:
                continue
            entries.append(entry)
            counter.advance()
            if len(costs) == config.objects:
                break
    if len(costs) < config.objects or not any(cost.rows for cost in costs):
        usable = sum(bool(cost.rows) for cost in costs)
        raise InputError(f"{config.objects} objects were asked for; {usable} can be simulated.")
    return entries, costs


def storing_seconds(costs: Sequence[ObjectCost]) -> float:
    """CPU seconds to write all images as one shard, once the writer is warm."""
    rows = [row for cost in costs for row in cost.rows]
    with tempfile.TemporaryDirectory() as folder, one_core():

        def store() -> ShardRecord:
            return write_shard(folder, "data.parquet", "train", to_table(rows))

        store()
        return timed(store)[1]


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
