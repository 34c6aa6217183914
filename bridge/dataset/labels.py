"""The labels of a split as arrays: everything the selections of Sec. 5 need, no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.dataset.manifest import Manifest
from bridge.dataset.schema import LABEL_COLUMNS, SHARD_SCHEMA, with_later_columns
from bridge.dataset.shards import images_of, open_shard, read_images, read_rows


@dataclass(frozen=True)
class Labels:
    """Labels of N images, in the order of their shards.

    Attributes:
        objects: sorted object identifiers; `object` points into it.
        object: int32 [N], -1 for unlabelled images.
        trajectory, window: int32 [N].
        blur_level: int32 [N], 1..10, 0 where unknown.
        blur_severity: float32 [N] in 0..1 (Eq. 5), NaN where unknown.
        mean_opacity: float32 [N] in 0..1, mean opacity of the object over its silhouette without
            erosion, NaN where unknown.
        bbox: float32 [N, 4], (cx, cy, w, h) in 0..1, NaN where unknown.
        image_id: string array [N].
        shards: paths inside `dataset`; image i is row `row[i]` of shard `shards[shard[i]]`.
        digests: SHA-256 of the shards as their manifest has them; none where it was not asked.
    """

    dataset: str
    objects: tuple[str, ...]
    object: np.ndarray
    trajectory: np.ndarray
    window: np.ndarray
    blur_level: np.ndarray
    blur_severity: np.ndarray
    mean_opacity: np.ndarray
    bbox: np.ndarray
    image_id: pa.Array
    shards: tuple[str, ...]
    shard: np.ndarray
    row: np.ndarray
    digests: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.object)

    def take(self, rows: np.ndarray) -> Labels:
        """The labels of some rows, in the order given; `objects` becomes those that are left."""
        chosen = self.object[rows]
        kept = np.unique(chosen[chosen >= 0])
        return Labels(
            dataset=self.dataset,
            objects=tuple(self.objects[i] for i in kept),
            object=np.where(chosen < 0, -1, np.searchsorted(kept, chosen)).astype(np.int32),
            trajectory=self.trajectory[rows],
            window=self.window[rows],
            blur_level=self.blur_level[rows],
            blur_severity=self.blur_severity[rows],
            mean_opacity=self.mean_opacity[rows],
            bbox=self.bbox[rows],
            image_id=self.image_id.take(pa.array(rows)),
            shards=self.shards,
            shard=self.shard[rows],
            row=self.row[rows],
            digests=self.digests,
        )

    def object_ids(self) -> list[str | None]:
        """The object identifier of each image, None for unlabelled ones."""
        return [self.objects[i] if i >= 0 else None for i in self.object]

    @property
    def has_level(self) -> np.ndarray:
        """Which images show a known object at a known blur level, bool [N]."""
        return (self.object >= 0) & (self.blur_level > 0)

    def read_images(self) -> list[bytes]:
        """The encoded images of all rows."""
        images: list[bytes] = [b""] * len(self)
        for shard in np.unique(self.shard):
            places = np.flatnonzero(self.shard == shard)
            encoded = read_images(self.dataset, self.shards[shard], self.row[places])
            for place, image in zip(places, encoded, strict=True):
                images[place] = image
        return images


def read_labels(dataset: str, manifest: Manifest, split: str) -> Labels:
    """Labels of every image of a split (none gives arrays of length 0)."""
    paths = paths_of_split(manifest, split)

    def read(path: str) -> pa.Table:
        with open_shard(dataset, path) as shard:
            return with_later_columns(shard.read(columns=LABEL_COLUMNS))

    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(read, paths))
    labels = _labels(storage.absolute(dataset), paths, tables)
    return replace(labels, digests=digests_of(manifest, paths))


def paths_of_split(manifest: Manifest, *splits: str) -> tuple[str, ...]:
    """The shards of a split, or of several, in their order."""
    return tuple(p for p in sorted(manifest.shards) if manifest.shards[p].record.split in splits)


def digests_of(manifest: Manifest, paths: Sequence[str]) -> tuple[str, ...]:
    """SHA-256 of some shards, as the manifest has them."""
    return tuple(manifest.shards[path].record.sha256 for path in paths)


def read_labels_and_images(
    dataset: str, shards: Sequence[str], shard: np.ndarray, row: np.ndarray
) -> tuple[Labels, list[bytes]]:
    """Labels and encoded images of the rows `row[i]` of `shards[shard[i]]`, shard by shard.

    `shard` is int [N], ascending, and names each shard once at least; `row` is int [N].
    """
    tables = [read_rows(dataset, path, row[shard == number]) for number, path in enumerate(shards)]
    labels = _labels(storage.absolute(dataset), tuple(shards), [*map(with_later_columns, tables)])
    return replace(labels, row=row), [image for table in tables for image in images_of(table)]


def _labels(dataset: str, paths: tuple[str, ...], tables: Sequence[pa.Table]) -> Labels:
    empty = SHARD_SCHEMA.empty_table().select(LABEL_COLUMNS)
    for path, part in zip(paths, tables, strict=True):
        _refuse_nulls(f"{dataset}/{path}", part)
    table = pa.concat_tables(tables) if tables else empty
    objects = sorted(pc.unique(table["object_id"].drop_null()).to_pylist())
    lengths = [len(t) for t in tables]
    return Labels(
        dataset=dataset,
        objects=tuple(objects),
        object=_numpy(
            pc.index_in(table["object_id"], pa.array(objects, pa.string())).fill_null(-1), np.int32
        ),
        trajectory=_numpy(table["trajectory"], np.int32),
        window=_numpy(table["window"], np.int32),
        blur_level=_numpy(table["blur_level"].fill_null(0), np.int32),
        blur_severity=_numpy(table["blur_severity"], np.float32),
        mean_opacity=_numpy(table["mean_opacity"], np.float32),
        bbox=boxes_of(table["bbox"]),
        image_id=table["image_id"].combine_chunks(),
        shards=paths,
        shard=np.repeat(np.arange(len(paths), dtype=np.int32), lengths),
        row=np.concatenate([np.arange(n, dtype=np.int64) for n in lengths] or [np.zeros(0, int)]),
    )


def _refuse_nulls(path: str, table: pa.Table) -> None:
    for field in SHARD_SCHEMA:
        if not field.nullable and table[field.name].null_count:
            raise InputError(f"The shard {path} lacks values in its column {field.name}.")


def _numpy(column: pa.ChunkedArray, dtype: type) -> np.ndarray:
    return column.to_numpy().astype(dtype)


def boxes_of(column: pa.ChunkedArray) -> np.ndarray:
    """A column of nullable boxes as float32 [N, 4], NaN where null."""
    boxes = np.full((len(column), 4), np.nan, np.float32)
    known = column.is_valid().to_numpy()
    if known.any():
        flat = pc.list_flatten(column.filter(column.is_valid())).to_numpy()
        boxes[known] = flat.reshape(-1, 4)
    return boxes
