"""What an index knows of its images, without the network: labels, filters and the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from bridge.blur import blur_level
from bridge.common.errors import InputError
from bridge.dataset.roles import DISTRACTOR, QUERY
from bridge.dataset.shards import read_image
from bridge.index.folder import (
    IndexManifest,
    PartRecord,
    checked,
    open_part,
    read_part,
)
from bridge.index.rows import RowReader

Box = tuple[float, float, float, float]
"""cx, cy, w, h in units of the image size."""

_READERS = 8


@dataclass(frozen=True)
class Entry:
    """An image of an index: what is known of it, and where it can be read again.

    `object_id` is None where the image is unlabelled. `blur_severity` is in 0..1; it and `bbox` are
    None where the dataset does not tell. Where it has no blur level, `blur_level` is what the
    network estimated, and `is_estimated`; None where the network has no head for it.
    """

    object_id: str | None
    image_id: str
    blur_level: int | None
    blur_severity: float | None
    bbox: Box | None
    role: str
    shard: str
    shard_row: int
    is_estimated: bool = False

    @property
    def name(self) -> str:
        """What it is called: its object, or itself where it is unlabelled."""
        return self.object_id or self.image_id

    @property
    def is_distractor(self) -> bool:
        """Whether it is there only to be confused with others."""
        return self.role == DISTRACTOR

    def picture(self) -> bytes:
        """The encoded image. InputError where its dataset is gone or damaged."""
        return read_image(self.shard, self.shard_row)


@dataclass(frozen=True)
class _Columns:
    """What filters look at: int8 and int32 [N], `objects` being places in `names`, -1 for none.

    Levels that the dataset does not have are the network's, 0 where there are none.
    """

    levels: NDArray[np.int8]
    objects: NDArray[np.int32]
    names: list[str]

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}


class Catalogue:
    """The searched images of an index, by their row numbers.

    Holds few rows in memory, and two numbers per row once `columns` was asked for.
    """

    def __init__(self, index: str, manifest: IndexManifest) -> None:
        self._index, self._manifest = index, manifest
        self._reader = RowReader(index, manifest)

    def __len__(self) -> int:
        return len(self._reader)

    def entries(self, numbers: ArrayLike) -> list[Entry]:
        """Some rows; IndexError beyond the last."""
        return [_entry(values) for values in self._reader.rows(numbers)]

    @property
    def levels(self) -> list[int]:
        """The blur levels that there are, ascending."""
        return [int(level) for level in np.unique(self.columns.levels) if level]

    def objects(self, containing: str = "", most: int | None = None) -> list[str]:
        """Names of objects with a text in them, whatever its case, in alphabetical order."""
        text = containing.casefold()
        return [name for name in self.columns.names if text in name.casefold()][:most]

    def check_objects(self, names: Sequence[str]) -> None:
        """InputError where the index has no object of one of the names."""
        for name in names:
            if name not in self.columns.numbers:
                raise InputError(f"The index has no object {name!r}.")

    def allowed(self, levels: Sequence[int], objects: Sequence[str]) -> NDArray[np.bool_] | None:
        """Which rows have one of the levels and show one of the objects; None for all rows.

        No levels means any level, no objects any object.

        Raises:
            InputError: the index has no such object.
        """
        if not levels and not objects:
            return None
        columns = self.columns
        allowed = np.ones(len(self), bool)
        if levels:
            allowed &= np.isin(columns.levels, levels)
        if objects:
            self.check_objects(objects)
            allowed &= np.isin(columns.objects, [columns.numbers[name] for name in objects])
        return allowed

    def examples(self, count: int) -> list[Entry]:
        """Up to `count` queries of the index whose pictures can be read: each of another object as
        far as there are enough, their blur levels spread. Without queries, of what is searched."""
        parts = self._manifest.parts
        asked = [part for part in parts if part.role == QUERY] or self._manifest.searched_parts
        part = next((part for part in asked if part.rows), None)
        if part is None:
            return []
        rows = read_part(self._index, part, _COLUMNS).to_pylist()
        chosen: list[Entry] = []
        for entry in _varied([_entry(row) for row in rows]):
            try:
                entry.picture()
            except InputError:
                return chosen
            chosen.append(entry)
            if len(chosen) == count:
                break
        return chosen

    @cached_property
    def columns(self) -> _Columns:
        """Blur levels and objects of all rows, read on first use."""
        levels: list[np.ndarray] = [np.empty(0, np.int8)]
        codes: list[np.ndarray] = [np.empty(0, np.int32)]
        numbers: dict[str, int] = {}
        for table in self._label_tables():
            levels.append(_levels(table))
            encoded = table["object_id"].combine_chunks().dictionary_encode()
            known = [numbers.setdefault(n, len(numbers)) for n in encoded.dictionary.to_pylist()]
            # The last of them is that of the unlabelled.
            codes.append(np.array([*known, -1], np.int32)[encoded.indices.fill_null(-1).to_numpy()])
        names = sorted(numbers)
        place = np.full(len(names) + 1, -1, np.int32)
        place[[numbers[name] for name in names]] = np.arange(len(names))
        return _Columns(np.concatenate(levels), place[np.concatenate(codes)], names)

    def _label_tables(self) -> Iterator[pa.Table]:
        with ThreadPoolExecutor(_READERS) as pool:
            yield from pool.map(self._read_labels, self._manifest.searched_parts)

    def _read_labels(self, part: PartRecord) -> pa.Table:
        with open_part(self._index, part, self._manifest.dimension) as parquet:
            return checked(parquet.read(["blur_level", "object_id", "predicted_blur_severity"]))


def _levels(table: pa.Table) -> NDArray[np.int8]:
    """Blur levels, estimated where unknown, 0 where there is no estimate either."""
    levels = table["blur_level"].fill_null(0).to_numpy().astype(np.int8)
    predicted = table["predicted_blur_severity"].to_numpy()
    for place in np.flatnonzero((levels == 0) & np.isfinite(predicted)):
        levels[place] = blur_level(float(predicted[place]))
    return levels


_COLUMNS = [
    "object_id", "image_id", "blur_level", "blur_severity", "predicted_blur_severity", "bbox",
    "role", "shard", "row",
]  # fmt: skip


def _entry(values: dict[str, Any]) -> Entry:
    severity, box = values["blur_severity"], values["bbox"]
    level, predicted = values["blur_level"], values["predicted_blur_severity"]
    is_estimated = level is None and predicted is not None
    return Entry(
        object_id=values["object_id"],
        image_id=values["image_id"],
        blur_level=blur_level(predicted) if is_estimated else level,
        blur_severity=None if severity is None or np.isnan(severity) else round(severity, 4),
        bbox=None if box is None else rounded_box(box),
        role=values["role"],
        shard=values["shard"],
        shard_row=values["row"],
        is_estimated=is_estimated,
    )


def rounded_box(box: Sequence[float] | np.ndarray) -> Box | None:
    """A box to four digits, an eighth of a pixel at 1200; None where a side is unknown (NaN)."""
    cx, cy, w, h = (round(float(side), 4) for side in box)
    return None if np.isnan([cx, cy, w, h]).any() else (cx, cy, w, h)


def _varied(entries: Sequence[Entry]) -> Iterator[Entry]:
    """All entries, in rounds of one per object, each round of an object at its next blur level."""
    by_object: dict[str, list[Entry]] = {}
    for entry in entries:
        by_object.setdefault(entry.object_id or "", []).append(entry)
    queues = []
    for turn, queue in enumerate(by_object.values()):
        queue.sort(key=lambda entry: (entry.blur_level or 0, entry.image_id))
        start = turn * max(1, len(queue) // max(1, len(by_object))) % len(queue)
        queues.append(queue[start:] + queue[:start])
    for place in range(max(map(len, queues), default=0)):
        yield from (queue[place] for queue in queues if place < len(queue))
