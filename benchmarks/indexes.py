"""Size, building time, latency and recall of the types of search index.

    python benchmarks/indexes.py                                         100,000 rows
    python benchmarks/indexes.py --rows 1200000 --file indexes.md
    python benchmarks/indexes.py --index indexes/bridge                  the descriptors of an INDEX

Each type is built as `build_index.py` builds it, from descriptor parts through Ray. The random rows
look like descriptors: images scattered around their object, with a spectrum that falls off as that
of a trained network's, so that some 20 directions, none of them an axis, hold most of the variance.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tyro
from numpy.typing import NDArray

from benchmarks import tables
from bridge.common import storage
from bridge.dataset.roles import DATABASE, QUERY
from bridge.index.folder import (
    IndexManifest,
    PartRecord,
    descriptor_schema,
    open_index_manifest,
    write_part,
)
from bridge.index.layouts import INDEX_TYPES, IndexType, Layout
from bridge.index.quality import TOP, faiss_threads, latency_ms
from bridge.index.search import open_search_index, search
from pipelines.stages import cluster
from pipelines.stages.index_shards import sample_rows
from pipelines.stages.indexing import IndexOptions, build_search_index

IMAGES_PER_OBJECT = 50
NOISE = 0.5
"""Scatter of the images of an object, as a share of that of the objects."""
DECAY = 10.0
"""Directions over which the variance falls to 1/e."""
ROWS_PER_PART = 2**16


@dataclass(frozen=True)
class Config:
    """What to measure."""

    rows: int = 100_000
    """Rows to index."""
    queries: int = 500
    """Queries for recall and latency."""
    dimension: int = 128
    """Length of the random descriptors."""
    index: str | None = None
    """An INDEX whose descriptors to use instead of random ones; it is only read."""
    types: tuple[IndexType, ...] = INDEX_TYPES
    """The types to build."""
    file: Path | None = None
    """Where to write the table (Markdown) and the figures (JSON beside it)."""
    seed: int = 0
    """Seed of the random data."""
    num_cpus: int | None = None
    """CPUs of the local cluster; default: all."""


def like_descriptors(rows: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors float32 [rows, dimension], in random order of their objects."""
    rng = np.random.default_rng(seed)
    scale = np.exp(-np.arange(dimension) / (2 * DECAY))
    rotation, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    stretch = (scale[:, None] * rotation).astype(np.float32)
    objects = rng.standard_normal((max(1, rows // IMAGES_PER_OBJECT), dimension), np.float32)
    made = objects[rng.integers(len(objects), size=rows)]
    for start in range(0, rows, ROWS_PER_PART):
        part = made[start : start + ROWS_PER_PART]
        part += NOISE * rng.standard_normal(part.shape, np.float32)
        part[:] = part @ stretch
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made


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
    figures = {"seconds": seconds, "batch_ms": 1e3 * batch / len(queries)}
    return record | figures | {"latency_ms": latency_ms(opened, queries)}


def row(record: dict[str, Any]) -> list[str]:
    """A line of the table."""
    return [
        f"{record['type']} ({Layout(**record['layout']).factory}, effort {record['effort']})",
        f"{record['seconds']:.0f}",
        f"{record['bytes'] / 1e9:.3f}",
        f"{record['latency_ms']:.2f}",
        f"{record['batch_ms']:.2f}",
        f"{record.get('recall_at_100', 1.0):.3f}",
    ]


HEADER = ["type", "build s", "size GB", "ms, 1 query", "ms per query, batch of 64", "recall@100"]


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
    text = tables.table(HEADER, [row(record) for record in records])
    figures = {"config": {k: str(v) for k, v in asdict(config).items()}, "records": records}
    tables.save(config.file, text, figures)
    return records


if __name__ == "__main__":
    run(tyro.cli(Config, description=__doc__))
