"""Encoded images of a selection, in one memory-mapped file per node.

Training reads images in random order. The paper's 95,040 training images are about 3 GB of JPEG:
they are copied once out of the shards into an Arrow file, which all processes of a node map and
share; pictures are decoded last, by the process that needs the pixels.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa

from bridge.common import storage
from bridge.dataset.labels import Labels

ROWS_PER_BATCH = 4096


class ImageCache:
    """Random access to the encoded images of `labels`, in their order.

    Images are views of the mapped file: the system reads their bytes when they are decoded, and
    nothing is copied.
    """

    def __init__(self, batches: list[pa.BinaryArray]) -> None:
        self._starts = [0]
        self._offsets: list[np.ndarray] = []
        self._bytes: list[memoryview] = []
        for batch in batches:
            _, offsets, data = batch.buffers()
            ends = np.frombuffer(offsets, np.int32)[batch.offset : batch.offset + len(batch) + 1]
            self._starts.append(self._starts[-1] + len(batch))
            self._offsets.append(ends)
            self._bytes.append(memoryview(data).cast("B"))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: int) -> memoryview:
        batch = bisect_right(self._starts, row) - 1
        if not 0 <= batch < len(self._bytes):
            raise IndexError(f"No image {row} of {len(self)}.")
        place = row - self._starts[batch]
        start, stop = self._offsets[batch][place : place + 2]
        return self._bytes[batch][start:stop]


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
