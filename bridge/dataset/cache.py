"""Encoded images of a selection, in one memory-mapped file per node.

Training reads images in random order. The paper's 95,040 training images are about 3 GB of JPEG:
they are copied once out of the shards into an Arrow file, which all processes of a node map and
share; pictures are decoded last, by the process that needs the pixels.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa

from bridge import storage
from bridge.dataset.labels import Labels

ROWS_PER_BATCH = 4096


class ImageCache:
    """Random access to the encoded images of `labels`, in their order."""

    def __init__(self, batches: list[pa.BinaryArray]) -> None:
        self._batches = batches
        self._starts = np.cumsum([0, *(len(batch) for batch in batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: int) -> bytes:
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._batches[batch][int(row - self._starts[batch])].as_py()


def cache_folder() -> Path:
    """Where a node keeps its caches: BRIDGE_CACHE, or a temporary folder of this user."""
    default = Path(tempfile.gettempdir()) / f"bridge-cache-{os.getuid()}"
    return Path(os.environ.get("BRIDGE_CACHE", default))


def open_cache(labels: Labels, content_hash: str) -> ImageCache:
    """The images of `labels`, made from the shards where this node does not have them yet.

    Args:
        labels: a selection of one dataset's rows.
        content_hash: of that dataset's manifest; names the file together with the selection.
    """
    shards = "\n".join(labels.shards).encode()
    identity = shards + labels.shard.tobytes() + labels.row.tobytes()
    name = f"{content_hash[:16]}-{storage.sha256(identity)[:16]}.arrow"
    path = cache_folder() / name
    if not path.exists():
        _write(labels, path)
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return ImageCache(table.column("image").chunks)


def _write(labels: Labels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several workers of a node may do this at once: each writes its own file, the last one wins.
    temporary = path.with_suffix(f".tmp-{uuid4().hex[:8]}")
    schema = pa.schema([("image", pa.binary())])
    try:
        with pa.ipc.new_file(str(temporary), schema) as writer:
            for start in range(0, len(labels), ROWS_PER_BATCH):
                part = labels.take(np.arange(start, min(start + ROWS_PER_BATCH, len(labels))))
                writer.write_batch(pa.record_batch([pa.array(part.read_images())], schema=schema))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
