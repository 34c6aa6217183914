"""What Ray's tasks do for a search index: read shards of its rows, sample, train, add, search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.common import storage
from bridge.index.folder import PartRecord, descriptor_matrix, read_part
from bridge.index.layouts import Layout, new_index
from bridge.index.quality import better_of, faiss_threads, nearest
from bridge.index.search import load_index, save_index
from pipelines.stages import cluster, engine

ROWS_PER_SHARD = 2**18
"""Rows that one task reads and adds: 134 MB of 128 numbers."""
_SEED = 0


@dataclass(frozen=True)
class Shard:
    """Consecutive parts that one task handles; `first` is the number of their first row."""

    number: int
    first: int
    parts: tuple[PartRecord, ...]

    @property
    def rows(self) -> int:
        """How many rows they have."""
        return sum(part.rows for part in self.parts)


def shards_of(parts: Sequence[PartRecord], first: int = 0) -> list[Shard]:
    """Cut parts into shards of `ROWS_PER_SHARD` rows or little more."""
    shards: list[Shard] = []
    gathered: list[PartRecord] = []
    for part in parts:
        gathered.append(part)
        if sum(part.rows for part in gathered) >= ROWS_PER_SHARD or part is parts[-1]:
            shards.append(Shard(len(shards), first, tuple(gathered)))
            first, gathered = first + shards[-1].rows, []
    return shards


def sample_rows(out: str, parts: Sequence[PartRecord], most: int) -> NDArray[np.float32]:
    """At most so many rows [n, d] of the parts, drawn at random, in their order."""
    shards = shards_of(parts)
    total = sum(shard.rows for shard in shards)
    rng = np.random.default_rng(_SEED)
    numbers = np.sort(rng.choice(total, min(most, total), replace=False))
    if not len(numbers):
        return np.empty((0, 0), np.float32)
    bounds = np.searchsorted(numbers, [shard.first for shard in shards])
    chosen = zip(shards, np.split(numbers, bounds[1:]), strict=True)
    needed = [(shard, rows - shard.first) for shard, rows in chosen if len(rows)]
    taken = dict(engine.run(_take, needed, out))
    return np.concatenate([taken[shard.number] for shard, _ in needed])


def true_neighbours(
    out: str, parts: Sequence[PartRecord], queries: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Numbers [Q, k] of the best rows of all parts, by exact search."""
    results = engine.run(_nearest_of_shard, shards_of(parts), out, queries)
    best = next(results)
    for result in results:
        best = better_of(best, result)
    return best[1]


def _descriptors(out: str, shard: Shard) -> NDArray[np.float32]:
    tables = (read_part(out, part, columns=["descriptor"]) for part in shard.parts)
    return np.concatenate([descriptor_matrix(table) for table in tables])


def _take(item: tuple[Shard, NDArray[np.int64]], out: str) -> tuple[int, NDArray[np.float32]]:
    shard, rows = item
    return shard.number, _descriptors(out, shard)[rows]


def _nearest_of_shard(
    shard: Shard, out: str, queries: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    with faiss_threads(1):
        return nearest(_descriptors(out, shard), shard.first, queries)


def add_rows(shard: Shard, out: str, empty: str, folder: str) -> tuple[int, str]:
    """Add a shard's rows to a copy of an empty index, numbered from 0; the file it is in."""
    path = storage.join(folder, f"shard-{shard.number:05d}.faiss")
    index = load_index(empty)
    with faiss_threads(1):
        index.add(_descriptors(out, shard))
    save_index(index, path)
    return shard.number, path


def train(path: str, layout: Layout, sample: NDArray[np.float32], *, threads: int) -> None:
    """Write an index without rows that has learnt from a sample [n, d]."""
    with faiss_threads(threads):
        save_index(new_index(layout, sample.shape[1], sample), path)


def grow(path: str, out: str, start: str, new: list[Shard], *, threads: int) -> None:
    """Add all new shards to the graph at `start`: graphs cannot be merged."""
    index = load_index(start)
    with faiss_threads(threads):
        for shard in new:
            index.add(_descriptors(out, shard))
    save_index(index, path)


def on_one_node(function: Callable[..., None], path: str, *arguments: Any) -> None:
    """Run `function(path, *arguments, threads=...)` with all CPUs of the largest node."""
    largest = max((node.get("CPU", 0) for node in cluster.nodes(for_gpus=False)), default=1)
    cpus = max(1, int(largest))
    if len(cluster.nodes()) == 1:
        # Here, also where a service keeps some of the CPUs for itself.
        function(path, *arguments, threads=cpus)
        return

    def task(path: str, *arguments: Any) -> None:
        function(path, *arguments, threads=cpus)

    list(engine.run(task, [path], *arguments, cpus=cpus))
