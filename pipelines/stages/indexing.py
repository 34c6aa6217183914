"""Make the search index of an INDEX from its descriptor parts, in shards on Ray.

What `index.faiss` is depends on the parts, their order and the options alone, however often the
making was killed. Only HNSW graphs, which many threads link, differ in details between runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.common.record import from_json
from bridge.dataset.roles import QUERY
from bridge.index.folder import FAISS_FILE, IndexManifest, PartRecord
from bridge.index.layouts import (
    Layout,
    is_of_type,
    layouts,
    merge,
    new_index,
    reserve,
    training_rows,
)
from bridge.index.quality import Quality, choose_effort
from bridge.index.search import is_file, load_index, save_index
from pipelines.stages import engine
from pipelines.stages.index_options import IndexOptions
from pipelines.stages.index_shards import (
    Shard,
    add_rows,
    grow,
    on_one_node,
    sample_rows,
    shards_of,
    train,
    true_neighbours,
)

SAMPLED_QUERIES = 500
"""Queries that recall and latency are measured with, where there are so many."""
_WORKSPACE = "index.tmp"
_FASTEST_BYTES_PER_MS = 50e6
"""No core reads memory faster, so no exact search is faster than its size by this."""


def is_current(out: str, manifest: IndexManifest, options: IndexOptions) -> bool:
    """Whether `index.faiss` is what the manifest says and holds its parts as the options ask."""
    record, parts = manifest.search, manifest.searched_parts
    return (
        record.get("options") == asdict(options)
        and record["part_count"] == len(parts)
        and record["parts"] == _hash(parts)
        and is_file(storage.join(out, FAISS_FILE), record["bytes"])
    )


def build_search_index(out: str, manifest: IndexManifest, options: IndexOptions) -> dict[str, Any]:
    """Make `<out>/index.faiss` of the searched parts, or add what it lacks of them.

    Args:
        out: the INDEX folder.
        manifest: its manifest, whose parts are all there.
        options: the index to make. Where `manifest.search` was made with the same and parts were
            added at the end since, their rows are added to the index; else it is made anew.

    Returns:
        The record for `manifest.search`.

    Raises:
        InputError: no index fits the budgets (it names the smallest that does), there are no rows,
            too few of them for the type, or a part is damaged.
    """
    if not any(part.rows for part in manifest.searched_parts):
        raise InputError("There are no database images to make a search index of.")
    if is_current(out, manifest, options):
        return dict(manifest.search)
    with _workspace(out) as folder:
        job = _Job(out, folder, manifest, options)
        record = job.add_to_existing() or job.make_anew()
    print(_summary(record))
    return record


class _Job:
    """The making of one index."""

    def __init__(
        self, out: str, folder: str, manifest: IndexManifest, options: IndexOptions
    ) -> None:
        self._out, self._folder, self._options = out, folder, options
        self._record = manifest.search
        self._dimension = manifest.dimension
        self._parts = manifest.searched_parts
        self._rows = sum(part.rows for part in self._parts)
        queries = [part for part in manifest.parts if part.role == QUERY and part.rows]
        self._queries = sample_rows(out, queries or self._parts, SAMPLED_QUERIES)
        self._truth: NDArray[np.int64] | None = None

    def add_to_existing(self) -> dict[str, Any] | None:
        """The existing index with the rows it lacks; None where it must be made anew.

        An index that is not the one recorded, as after a kill, is made from the same parts in the
        same steps, so that the result is the one that the kill prevented.
        """
        record, options = self._record, self._options
        if record.get("options") != asdict(options):
            return None
        count, trained = record["part_count"], record["trained_parts"]
        if count > len(self._parts) or record["parts"] != _hash(self._parts[:count]):
            return None
        layout = from_json(Layout, record["layout"], "layout of the search index")
        if layout.nbytes(self._rows, self._dimension) > _most_bytes(options):
            return None
        path = storage.join(self._out, FAISS_FILE)
        intact = is_file(path, record["bytes"], record["sha256"])
        return self._make(layout, trained, path if intact else None, count if intact else 0)

    def make_anew(self) -> dict[str, Any]:
        """The first index that fits the budgets, of those possible from the best recall on."""
        fastest = np.inf
        for layout in _candidates(self._options, self._rows, self._dimension):
            size, most_ms = layout.nbytes(self._rows, self._dimension), self._options.latency_ms
            if layout.type == "exact" and most_ms and size / _FASTEST_BYTES_PER_MS > most_ms:
                fastest = min(fastest, size / _FASTEST_BYTES_PER_MS)
                continue
            index = self._index(layout, len(self._parts), None, 0)
            quality = self._quality(index, layout)
            if most_ms is None or quality.latency_ms <= most_ms:
                return self._saved(index, layout, len(self._parts), quality)
            fastest = min(fastest, quality.latency_ms)
        raise InputError(
            f"No index of {self._rows:,} rows answers within --latency-ms "
            f"{self._options.latency_ms:g}: the fastest that was tried takes {fastest:.3g} ms."
        )

    def _make(
        self, layout: Layout, trained: int, base: str | None, done: int
    ) -> dict[str, Any] | None:
        index = self._index(layout, trained, base, done)
        quality = self._quality(index, layout)
        if quality.latency_ms > (self._options.latency_ms or np.inf):
            return None
        return self._saved(index, layout, trained, quality)

    def _index(self, layout: Layout, trained: int, base: str | None, done: int) -> faiss.Index:
        """The index of all parts: the one at `base`, of the first `done`, and the others."""
        if base is not None and not is_of_type(load_index(base, mmap=True), layout):
            base, done = None, 0
        start = base or self._trained(layout, self._parts[:trained])
        new = shards_of(self._parts[done:], sum(part.rows for part in self._parts[:done]))
        if layout.type == "hnsw":
            target = storage.join(self._folder, "graph.faiss")
            on_one_node(grow, target, self._out, start, new)
            return load_index(target, mmap=True)
        empty = storage.join(self._folder, "empty.faiss")
        index = load_index(start)
        if base is not None:
            index.reset()
        save_index(index, empty)
        if base is not None:
            index = load_index(start)
        self._merge_shards(index, empty, new)
        return index

    def _merge_shards(self, index: faiss.Index, empty: str, new: list[Shard]) -> None:
        """Add shards that tasks make from an empty index, in their order."""
        reserve(index, self._rows)
        waiting: dict[int, str] = {}
        merged = 0
        with progress("index", self._rows, "rows") as counter:
            counter.advance(index.ntotal)
            made = engine.run(add_rows, new, self._out, empty, self._folder)
            for number, path in made:
                waiting[number] = path
                while merged in waiting:
                    path, before = waiting.pop(merged), index.ntotal
                    merge(index, load_index(path))
                    storage.delete(path)
                    merged += 1
                    counter.advance(index.ntotal - before)

    def _trained(self, layout: Layout, parts: Sequence[PartRecord]) -> str:
        """File of an index without rows that has learnt from a sample of the parts."""
        path = storage.join(self._folder, "trained.faiss")
        sample = sample_rows(
            self._out, parts, training_rows(layout, sum(part.rows for part in parts))
        )
        if sample.size:
            on_one_node(train, path, layout, sample)
        else:
            save_index(new_index(layout, self._dimension, sample), path)
        return path

    def _quality(self, index: faiss.Index, layout: Layout) -> Quality:
        if layout.type != "exact" and self._truth is None:
            self._truth = true_neighbours(self._out, self._parts, self._queries)
        return choose_effort(
            index,
            layout,
            self._queries,
            None if layout.type == "exact" else self._truth,
            target_recall=self._options.target_recall,
            most_ms=self._options.latency_ms,
        )

    def _saved(
        self, index: faiss.Index, layout: Layout, trained: int, quality: Quality
    ) -> dict[str, Any]:
        path = storage.join(self._out, FAISS_FILE)
        save_index(index, path)
        record: dict[str, Any] = {
            "type": layout.type,
            "layout": asdict(layout),
            "effort": quality.effort,
            "rows": self._rows,
            "bytes": storage.file_size(path),
            "sha256": storage.sha256_file(path),
            "latency_ms": round(quality.latency_ms, 4),
            "options": asdict(self._options),
            "part_count": len(self._parts),
            "parts": _hash(self._parts),
            "trained_parts": trained,
        }
        if layout.type != "exact":
            record["recall_at_100"] = round(quality.recall, 4)
        return record


def _most_bytes(options: IndexOptions) -> float:
    return np.inf if options.memory_gb is None else 1e9 * options.memory_gb


def _candidates(options: IndexOptions, rows: int, dimension: int) -> list[Layout]:
    """Layouts that the options and the memory allow, the best first; without budgets but one."""
    free = options.memory_gb is None and options.latency_ms is None
    wanted = "exact" if free and options.index_type is None else options.index_type
    possible = layouts(rows, dimension, wanted)
    if not possible:
        raise InputError(f"An index of type {wanted} needs at least 256 rows, not {rows}.")
    if free:
        return possible[:1]
    fitting = [x for x in possible if x.nbytes(rows, dimension) <= _most_bytes(options)]
    if not fitting:
        least = min(layout.nbytes(rows, dimension) for layout in possible)
        raise InputError(
            f"No index of {rows:,} rows fits into --memory-gb {options.memory_gb:g}: "
            f"the smallest takes {least / 1e9:.3g} GB."
        )
    return fitting


@contextmanager
def _workspace(out: str) -> Iterator[str]:
    """An empty folder for temporary files, removed at the end; a killed run's is emptied."""
    folder = storage.join(out, _WORKSPACE)
    storage.delete_folder(folder)
    try:
        yield folder
    finally:
        storage.delete_folder(folder)


def _hash(parts: Sequence[PartRecord]) -> str:
    return storage.sha256_json([part.sha256 for part in parts])


def _summary(record: dict[str, Any]) -> str:
    recall = f", recall@100 {record['recall_at_100']:.3f}" if "recall_at_100" in record else ""
    return (
        f"search index: {record['type']}, {record['rows']:,} rows, "
        f"{record['bytes'] / 1e9:.3g} GB{recall}, {record['latency_ms']:.2g} ms per query"
    )
