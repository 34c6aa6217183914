"""Size, building time, latency and recall of the types of search index.

    python benchmarks/indexes.py                                         100,000 rows
    python benchmarks/indexes.py --rows 1200000 --out indexes.md
    python benchmarks/indexes.py --index indexes/bridge                  the descriptors of an INDEX

Each type is built as `build_index.py` builds it, from descriptor parts through Ray.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.descriptors import ROWS_PER_PART, like_descriptors
from benchmarks.report import Options, Table, save
from bridge.common import cli, storage
from bridge.common.record import Count
from bridge.dataset.roles import DATABASE, QUERY
from bridge.index.config import INDEX_TYPES, IndexType
from bridge.index.folder import (
    IndexManifest,
    PartRecord,
    descriptor_schema,
    open_index_manifest,
    write_part,
)
from bridge.index.layouts import Layout
from bridge.index.quality import TOP, faiss_threads, latency_ms
from bridge.index.search import open_search_index, search
from pipelines.stages import cluster
from pipelines.stages.index_options import IndexOptions
from pipelines.stages.index_shards import sample_rows
from pipelines.stages.indexing import build_search_index

TABLE = Table(
    "type | build s | size GB | ms, 1 query | ms per query, batch of 64 | recall@100",
    "{type} ({factory}, effort {effort}) | {seconds:.0f} | {gigabytes:.3f} | {latency_ms:.2f} "
    "| {batch_ms:.2f} | {recall_at_100:.3f}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What to measure."""

    rows: Count = 100_000
    """Rows to index."""
    queries: Count = 500
    """Queries for recall and latency."""
    dimension: Count = 128
    """Length of the random descriptors."""
    index: str | None = None
    """An INDEX whose descriptors to use instead of random ones; it is only read."""
    types: tuple[IndexType, ...] = INDEX_TYPES
    """The types to build."""
    num_cpus: Count | None = None
    """CPUs of the local cluster; default: all."""


def write_descriptors(
    folder: str, manifest: IndexManifest, role: str, rows: NDArray[np.float32]
) -> IndexManifest:
    """Add descriptors [N, d] to an INDEX as parts of a role; nothing else is known of them."""
    parts = list(manifest.parts)
    schema = descriptor_schema(manifest.dimension)
    for start in range(0, len(rows), ROWS_PER_PART):
        values = rows[start : start + ROWS_PER_PART]
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), manifest.dimension)
        columns = [
            column if field.name == "descriptor" else pa.nulls(len(values), field.type)
            for field in schema
        ]
        record = PartRecord(f"descriptors/{role}-{len(parts):05d}.parquet", role, 0, "", "")
        parts.append(write_part(folder, record, pa.table(columns, schema=schema)))
    return replace(manifest, parts=parts)


def random_index(folder: str, config: Config) -> IndexManifest:
    """An INDEX of random descriptors: its queries and, of the same objects, its rows."""
    manifest = IndexManifest("", "", config.dimension, {}, config.seed)
    made = like_descriptors(config.rows + config.queries, config.dimension, config.seed)
    manifest = write_descriptors(folder, manifest, QUERY, made[: config.queries])
    return write_descriptors(folder, manifest, DATABASE, made[config.queries :])


def measured(folder: str, manifest: IndexManifest, index_type: IndexType) -> dict[str, Any]:
    """Build one type; its record with building time and milliseconds per query of a batch."""
    start = time.perf_counter()
    record = build_search_index(folder, manifest, IndexOptions(index_type))
    seconds = time.perf_counter() - start
    opened = open_search_index(folder, replace(manifest, search=record))
    queries = sample_rows(folder, [part for part in manifest.parts if part.role == QUERY], 64)
    with faiss_threads(1):
        search(opened, queries, TOP)
        batch = time.perf_counter()
        search(opened, queries, TOP)
        batch = time.perf_counter() - batch
    return {
        "recall_at_100": 1.0,
        **record,
        "factory": Layout(**record["layout"]).factory,
        "gigabytes": record["bytes"] / 1e9,
        "seconds": seconds,
        "batch_ms": 1e3 * batch / len(queries),
        "latency_ms": latency_ms(opened, queries),
    }


def run(config: Config) -> list[dict[str, Any]]:
    """Measure every type; the records in the order of the types."""
    cluster.connect(config.num_cpus)
    with tempfile.TemporaryDirectory() as folder:
        if config.index is None:
            manifest = random_index(folder, config)
        else:
            source = storage.absolute(config.index)
            manifest = replace(open_index_manifest(source), search={})
            for part in manifest.parts:
                data = storage.read_bytes(storage.join(source, part.path))
                storage.write_bytes(storage.join(folder, part.path), data)
        records = [measured(folder, manifest, index_type) for index_type in config.types]
    save(config.out, [TABLE.text(records)], {"config": asdict(config), "records": records})
    return records


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
