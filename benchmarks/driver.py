"""What the driver keeps and writes for artefacts of very many files: time and memory.

    python benchmarks/driver.py --shards 10000 100000 1000000

Nothing is simulated or embedded: shards and parts are records as those stages make them. A shard
has 90 trajectories of 11 images, a part 1,024 rows. Each number has a process of its own, whose
peak includes the making of the records.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.report import Options, Table, machine, save
from bridge.common import cli, storage
from bridge.common.manifest_writer import MANIFEST
from bridge.common.record import Count
from bridge.dataset.manifest import Manifest, ShardResult, load_manifest
from bridge.dataset.roles import DISTRACTOR
from bridge.dataset.shards import ShardRecord
from bridge.index.folder import IndexManifest, PartRecord, load_index_manifest
from bridge.simulator.objects.catalogue import ObjectEntry
from bridge.synthesis.plan import SplitPlan, plan_shards

TRAJECTORIES = 90
IMAGES = TRAJECTORIES * 11
OBJECT_TRAJECTORIES = 120
NOTED = 1000
"""Shards in a note: those of some seconds of a large cluster."""

TABLE = Table(
    "shards | plan, CPU s | dataset's manifest, MB | save, CPU s | note of 1,000, CPU s "
    "| load, CPU s | peak, MB "
    "| index's manifest, MB | save, CPU s | load, CPU s | peak, MB",
    "{shards:,} | {plan:.2f} | {mb:,.1f} | {save:.2f} | {note:.3f} | {load:.2f} | {peak_mb:,.0f} "
    "| {index_mb:,.1f} | {index_save:.2f} | {index_load:.2f} | {index_peak_mb:,.0f}",
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """How many."""

    shards: tuple[Count, ...] = (10_000, 100_000)
    """Of the dataset, and parts of the index, of each row of the table."""


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the CPU seconds that it takes."""
    started = time.process_time()
    return work(), time.process_time() - started


def result(split: SplitPlan, number: int) -> ShardResult:
    """A shard as simulation records it."""
    task = split.task(number)
    record = ShardRecord(
        task.path, "distractor", IMAGES, 20_000_000, storage.sha256(task.path.encode())
    )
    names = tuple(entry.object_id for entry, _ in task.trajectories)
    return ShardResult(record, names, TRAJECTORIES, {str(n): IMAGES // 6 for n in range(1, 7)})


def dataset(shards: int, folder: str) -> dict[str, Any]:
    """Plan a dataset of so many shards, write its manifest and read it again."""
    objects = -(-shards * TRAJECTORIES // OBJECT_TRAJECTORIES)
    entries = [ObjectEntry(f"{n % 39:02d}/{n:08d}", f"{n % 39:02d}", "") for n in range(objects)]

    def plan() -> SplitPlan:
        made = plan_shards(entries, "distractors", OBJECT_TRAJECTORIES, TRAJECTORIES, seed=0)
        assert len(made.missing({})) == made.num_shards
        return made.splits[0]

    split, plan_seconds = timed(plan)
    results = [result(split, number) for number in range(shards)]
    manifest = Manifest("distractors", {"seed": 0}).with_shards(results)
    _, saved = timed(lambda: manifest.save(folder))
    note = manifest.blank().with_shards(results[:NOTED])
    _, noted = timed(lambda: note.save(folder, "note.json"))
    found, loaded = timed(lambda: load_manifest(folder))
    assert len(found.shards) == shards
    return {"plan": plan_seconds, "save": saved, "note": noted, "load": loaded}


def index(parts: int, folder: str) -> dict[str, Any]:
    """Write an index's manifest of so many parts and read it again."""
    hashes = [storage.sha256(str(number).encode()) for number in range(parts)]
    records = [
        PartRecord(f"descriptors/distractor-{n:08d}.parquet", DISTRACTOR, 1024, key, key)
        for n, key in enumerate(hashes)
    ]
    manifest = IndexManifest("runs/bridge/model", hashes[0], 128, {folder: hashes[0]}, 0)
    _, saved = timed(lambda: manifest.with_parts(records).save(folder))
    found, loaded = timed(lambda: load_index_manifest(folder))
    assert len(found.parts) == parts
    return {"save": saved, "load": loaded}


def measure(work: Callable[[int, str], dict[str, Any]], number: int) -> dict[str, Any]:
    """Its seconds, the size of its manifest and the most memory, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = work(number, folder)
        size = os.path.getsize(os.path.join(folder, MANIFEST))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds | {"mb": size / 1e6, "peak_mb": peak / 1e6}


def run(config: Config) -> None:
    """Measure and report."""
    rows = []
    context = multiprocessing.get_context("spawn")
    for shards in config.shards:
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            row, of_index = pool.map(measure, (dataset, index), (shards, shards))
        rows.append({"shards": shards} | row | {f"index_{k}": v for k, v in of_index.items()})
        print(f"{shards:,} shards: done", flush=True)
    parts = ["# What large artefacts cost the driver", machine(), TABLE.text(rows)]
    save(config.out, parts, {"rows": rows})


def main() -> None:
    """The command."""
    cli.main(run, Config, description=__doc__)


if __name__ == "__main__":
    main()
