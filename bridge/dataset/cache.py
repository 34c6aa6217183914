"""Encoded images of a selection, in one memory-mapped file per node.

Training reads images in random order. The paper's 95,040 training images are about 3 GB of JPEG:
one process of a node copies them out of the shards into an Arrow file, the others wait for it, and
all map and share it; pictures are decoded last, by the process that needs the pixels.
"""

from __future__ import annotations

import errno
import os
import time
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from bridge.common import storage
from bridge.common.progress import duration, progress
from bridge.dataset.cache_folder import (
    cache_folder,
    make_room,
    map_file,
    no_room,
    only_writer,
    readable,
)
from bridge.dataset.labels import Labels
from bridge.dataset.shards import check_shard, image_bytes

ROWS_PER_BATCH = 512

THREADS = 8
"""That read shards; more than a small machine has CPUs, because object stores make them wait."""

_CHECKSUM = b"crc32"

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def open_cache(labels: Labels, content_hash: str, *, check: bool = True) -> ImageCache:
    """The images of `labels`, made from the shards where this node does not have them yet.

    Args:
        labels: a selection of one dataset's rows.
        content_hash: of that dataset's manifest; names the file together with the selection.
        check: compare the shards with the hashes in their manifest before they are copied.

    Raises:
        InputError: the folder cannot be used, or a shard is missing or damaged.
        Failed: the disk has no room. Nothing of the file is left then.
    """
    path = cache_folder() / f"{content_hash[:16]}-{_digest(labels)[:16]}.arrow"
    images = _open(path, len(labels))
    if images is None:
        with only_writer(path.parent):
            # Another process may have made it while this one waited.
            images = _open(path, len(labels))
            if images is None:
                if check:
                    _check_shards(labels)
                images = _copy(labels, path)
    return images


def _digest(labels: Labels) -> str:
    """Of the selection and all that its labels say, so that what was read of a damaged shard is
    never taken for what the sound one said."""
    parts = [
        "\n".join(labels.shards).encode(),
        "\n".join(labels.objects).encode(),
        "\n".join(labels.image_id.to_pylist()).encode(),
    ]
    parts += [value.tobytes() for value in vars(labels).values() if isinstance(value, np.ndarray)]
    return storage.sha256(b"".join(parts))


def _check_shards(labels: Labels) -> None:
    """InputError where a shard is not the one that its manifest names."""

    def check(number: int) -> None:
        check_shard(labels.dataset, labels.shards[number], labels.digests[number])

    with ThreadPoolExecutor(THREADS, "check") as pool:
        list(pool.map(check, np.unique(labels.shard) if labels.digests else ()))


def _open(path: Path, length: int) -> ImageCache | None:
    """The cache of that name and so many images; None where there is none or it is damaged."""
    chunks = []
    try:
        file = map_file(path)
    # An empty file.
    except ValueError:
        return None
    if file is None:
        return None
    try:
        reader = pa.ipc.open_file(pa.py_buffer(file))
        for number in range(reader.num_record_batches):
            batch, metadata = reader.get_batch_with_custom_metadata(number)
            chunks.append(batch.column(0))
            if metadata[_CHECKSUM] != _checksum(batch):
                return None
    # Whatever a disk has made of it, it is made again.
    except Exception:
        return None
    return ImageCache(chunks) if sum(map(len, chunks)) == length else None


def _checksum(batch: pa.RecordBatch) -> bytes:
    """CRC-32 of the images and of where they begin, at some gigabytes a second."""
    _, offsets, data = batch.column(0).buffers()
    return b"%d" % zlib.crc32(data or b"", zlib.crc32(offsets))


def _copy(labels: Labels, path: Path) -> ImageCache:
    started = time.monotonic()
    needed = _size(labels)
    number, size = make_room(path.parent, needed)
    what = f"{len(labels):,} images ({readable(needed)})"
    if number:
        freed = f"{number} unused selections of images ({readable(size)})"
        print(f"images: removed {freed} from {path.parent}", flush=True)
    print(f"images: copying {what} to {path.parent}, once for this node", flush=True)
    try:
        with storage.replaced(path) as temporary:
            _write(labels, temporary)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise no_room(path.parent, needed, os.strerror(error.errno).lower()) from error
    seconds = duration(time.monotonic() - started)
    print(f"images: copied {what} in {seconds}", flush=True)
    images = _open(path, len(labels))
    if images is None:
        raise OSError(errno.EIO, "the disk does not hold what was written to it", str(path))
    return images


def _size(labels: Labels) -> int:
    """About how many bytes the images have together."""
    order = np.argsort(labels.shard, kind="stable")
    numbers, starts = np.unique(labels.shard[order], return_index=True)

    def size(number: int, rows: np.ndarray) -> int:
        return image_bytes(labels.dataset, labels.shards[number], rows)

    with ThreadPoolExecutor(THREADS, "size") as pool:
        return sum(pool.map(size, numbers, np.split(labels.row[order], starts[1:])))


def _write(labels: Labels, path: str) -> None:
    schema = pa.schema([("image", pa.binary())])
    with progress("images", len(labels), "images") as counter, pa.ipc.new_file(path, schema) as out:
        for images in _read(labels):
            batch = pa.record_batch([images], schema=schema)
            out.write_batch(batch, custom_metadata={_CHECKSUM: _checksum(batch)})
            counter.advance(len(images))


def _read(labels: Labels) -> Iterator[pa.BinaryArray]:
    """The images in order, read by several threads; at most `THREADS` + 1 batches are in memory."""

    def read(start: int) -> pa.BinaryArray:
        rows = np.arange(start, min(start + ROWS_PER_BATCH, len(labels)))
        return pa.array(labels.take(rows).read_images(), pa.binary())

    waiting: deque[Future[pa.BinaryArray]] = deque()
    pool = ThreadPoolExecutor(THREADS, "copy")
    try:
        for start in range(0, len(labels), ROWS_PER_BATCH):
            waiting.append(pool.submit(read, start))
            if len(waiting) > THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
