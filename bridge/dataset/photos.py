"""Photos as shards of a DATASET: their bytes as they are where a page can show them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa

from bridge.common import storage
from bridge.common.images import UnreadableImage
from bridge.common.served import servable
from bridge.dataset.manifest import Rejection, ShardResult
from bridge.dataset.schema import ESTIMATED_BLUR_LEVEL, ROWS_PER_GROUP, SHARD_SCHEMA, to_table
from bridge.dataset.shards import shard_path, write_shard

PHOTO_SCHEMA = SHARD_SCHEMA.append(ESTIMATED_BLUR_LEVEL)

UNREADABLE = "unreadable"
"""Reason of photos that are no whole pictures."""

UNKNOWN_WINDOW = -1
"""Nobody knows the exposure of a photo; 0 would say that it is sharp."""

_SHARD_BYTES = 64_000_000
_SHARD_PHOTOS = 1024
_GROUP_BYTES = 8_000_000
"""Of a row group, which is read whole where one photo of it is wanted."""

Estimate = Callable[[Sequence[bytes]], list[int | None]]
"""Blur levels of encoded pictures; None for those that do not decode."""


@dataclass(frozen=True)
class PhotoShard:
    """One shard: its file, and the photos to put into it, rows of `LISTING`."""

    path: str
    split: str
    photos: pa.Table


@dataclass(frozen=True)
class PhotoShards(Sequence[PhotoShard]):
    """Some shards of a listing, each cut out of it when it is asked for.

    Attributes:
        table: the listing, sorted by split.
        bounds: first row and end of each shard.
        paths: files of the shards.
    """

    table: pa.Table
    bounds: tuple[tuple[int, int], ...]
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.bounds)

    @overload
    def __getitem__(self, position: int) -> PhotoShard: ...
    @overload
    def __getitem__(self, position: slice) -> list[PhotoShard]: ...
    def __getitem__(self, position: int | slice) -> PhotoShard | list[PhotoShard]:
        if isinstance(position, slice):
            return [self[i] for i in range(len(self))[position]]
        start, stop = self.bounds[position]
        photos = self.table.slice(start, stop - start)
        return PhotoShard(self.paths[position], photos["split"][0].as_py(), photos)

    @property
    def photos(self) -> int:
        """How many photos they have."""
        return sum(stop - start for start, stop in self.bounds)

    def missing(self, finished: Container[str]) -> PhotoShards:
        """Those whose files are not among the finished ones."""
        left = [i for i, path in enumerate(self.paths) if path not in finished]
        return PhotoShards(
            self.table,
            tuple(self.bounds[i] for i in left),
            tuple(self.paths[i] for i in left),
        )


def cut_shards(table: pa.Table) -> PhotoShards:
    """Cut a listing into shards of at most `_SHARD_PHOTOS` photos and about `_SHARD_BYTES`."""
    bounds: list[tuple[int, int]] = []
    paths: list[str] = []
    splits = table["split"].to_numpy()
    sizes = table["size"].to_numpy()
    for split in dict.fromkeys(splits.tolist()):
        rows = np.flatnonzero(splits == split)
        cuts = _cuts(sizes[rows]) + rows[0]
        own = [(int(a), int(b)) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
        bounds += own
        paths += [shard_path(split, number, len(own)) for number in range(len(own))]
    return PhotoShards(table.combine_chunks(), tuple(bounds), tuple(paths))


def _cuts(sizes: np.ndarray) -> np.ndarray:
    """Where to cut photos of some sizes in bytes: 0, ..., their number."""
    cuts, used = [0], 0
    for place, size in enumerate(sizes.tolist()):
        if place > cuts[-1] and (used + size > _SHARD_BYTES or place - cuts[-1] == _SHARD_PHOTOS):
            cuts.append(place)
            used = 0
        used += size
    return np.array([*cuts, len(sizes)])


def make_photo_shard(
    shard: PhotoShard,
    root: str,
    dataset: str,
    max_side: int | None = None,
    estimate: Estimate | None = None,
) -> ShardResult:
    """Read the photos of a shard and write it (atomically) into the dataset.

    Args:
        shard: what to make.
        root: the folder of the photos.
        dataset: where it goes.
        max_side: of the pictures, in pixels, as in `servable`.
        estimate: says blur levels where the listing has none.
    """
    rows: list[dict[str, Any]] = []
    rejections: list[Rejection] = []
    for photo in shard.photos.to_pylist():
        try:
            image = servable(storage.read_bytes(storage.join(root, photo["path"])), max_side)
        # An object store that does not answer is no fault of a photo's: that ends the command.
        except (OSError, UnreadableImage) as error:
            # The message of an OSError has the path in it, which differs between machines.
            why = error.strerror if isinstance(error, OSError) else None
            rejections.append(Rejection(UNREADABLE, photo["path"], why or str(error)))
            continue
        rows.append(_row(photo, image))
    if estimate is not None:
        _estimate(rows, estimate)
    table = to_table(rows, PHOTO_SCHEMA)
    mean = sum(len(row["image"]["bytes"]) for row in rows) / max(1, len(rows))
    per_group = int(min(max(1, _GROUP_BYTES // max(1, mean)), ROWS_PER_GROUP))
    record = write_shard(dataset, shard.path, shard.split, table, per_group)
    return ShardResult.of(record, table, rejections)


def _row(photo: dict[str, Any], image: bytes) -> dict[str, Any]:
    trajectory = photo["trajectory"]
    return {
        "image": {"bytes": image, "path": photo["path"]},
        "image_id": photo["path"],
        "object_id": photo["object_id"],
        "category": photo["category"],
        "trajectory": -1 if trajectory is None else trajectory,
        "window": UNKNOWN_WINDOW,
        "blur_level": photo["blur_level"],
        "bbox": photo["bbox"],
    }


def _estimate(rows: list[dict[str, Any]], estimate: Estimate) -> None:
    unknown = [row for row in rows if row["blur_level"] is None]
    if unknown:
        levels = estimate([row["image"]["bytes"] for row in unknown])
        for row, level in zip(unknown, levels, strict=True):
            row["estimated_blur_level"] = level
