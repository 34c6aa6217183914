"""What a CSV or Parquet table says of photos: objects, blur levels, splits and boxes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from bridge.blur import NUM_LEVELS
from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.files import is_printable, shown
from bridge.common.reading import reading
from bridge.dataset.photo_listing import Listing, listed
from bridge.dataset.schema import REAL_SPLIT, SPLITS, TEST_SPLIT, TRAIN_SPLIT, VALIDATION_SPLIT

_BOX = ("cx", "cy", "w", "h")
_TYPES = {
    "path": pa.string(),
    "object_id": pa.string(),
    "category": pa.string(),
    "trajectory": pa.string(),
    "blur_level": pa.int8(),
    "split": pa.string(),
    **dict.fromkeys(_BOX, pa.float32()),
}
COLUMNS = tuple(_TYPES)
_TOLERANCE = 1e-6


def read_photo_table(path: str, root: str) -> tuple[Listing, list[str]]:
    """The photos that a table names, and which of its columns say nothing here.

    Args:
        path: of the table; what is not `.parquet` is CSV with a header.
        root: the folder of the photos, where the table's paths begin.

    Raises:
        InputError: the table cannot be read, has no paths, half a box, a value out of its range,
            a photo twice or outside of the folder, or an object in two splits.
    """
    table = _read(path)
    unused = [name for name in table.column_names if name not in _TYPES]
    columns = {name: _typed(table, name, path) for name in COLUMNS if name in table.column_names}
    if "path" not in columns:
        there = shown(", ".join(table.column_names))
        raise InputError(
            f"{shown(path)} has no column path, but {there}: it needs path, and may have "
            f"{', '.join(COLUMNS[1:])}."
        )
    columns["path"] = _inside(columns["path"], path, root)
    _check_ranges(columns, path)
    if any(name in columns for name in _BOX):
        columns["bbox"] = _boxes(columns, path)
    columns["split"] = _splits(columns, path, len(table))
    for name in _BOX:
        columns.pop(name, None)
    return listed(root, columns), unused


def _read(path: str) -> pa.Table:
    data = storage.read_bytes(path) if storage.exists(path) else None
    if data is None:
        raise InputError(f"The table {shown(path)} does not exist.")
    with reading(shown(path), "it must be a Parquet table, or CSV in UTF-8 with a header"):
        if path.lower().endswith(".parquet"):
            table = pq.read_table(io.BytesIO(data))
        else:
            # A name of digits alone is text, as are dates.
            kinds = pyarrow.csv.ConvertOptions(column_types=_TYPES, strings_can_be_null=True)
            table = pyarrow.csv.read_csv(io.BytesIO(data), convert_options=kinds)
    if not len(table):
        raise InputError(f"{shown(path)} names no photo.")
    return table.combine_chunks()


def _typed(table: pa.Table, name: str, path: str) -> pa.Array:
    """A column, null where it is empty."""
    try:
        values = table[name].cast(_TYPES[name]).combine_chunks()
    except pa.ArrowException as error:
        why = str(error).partition("\n")[0][:200].rstrip(".")
        raise InputError(f"{shown(path)}: the column {name} cannot be used: {why}.") from error
    if pa.types.is_string(values.type):
        return pc.if_else(pc.equal(values, ""), None, values)
    return values


def _inside(paths: pa.Array, table: str, root: str) -> pa.Array:
    """Paths below the folder, each once."""
    found: list[str] = []
    known: set[str] = set()
    for row, name in enumerate(paths.to_pylist(), 1):
        if not name:
            raise InputError(f"{shown(table)}, row {row}: there is no path.")
        below = os.path.relpath(os.path.join(root, name), root)
        if ".." in PurePosixPath(below).parts:
            raise InputError(f"{shown(table)}, row {row}: {shown(name)} is not in {shown(root)}.")
        if below in known:
            raise InputError(f"{shown(table)}, row {row}: {shown(name)} is there twice.")
        known.add(below)
        found.append(below)
    return pa.array(found, pa.string())


def _check_ranges(columns: dict[str, pa.Array], path: str) -> None:
    def refuse(name: str, wrong: Callable[[Any], bool], expected: str) -> None:
        values = columns[name].to_pylist() if name in columns else []
        for row, value in enumerate(values, 1):
            if value is not None and wrong(value):
                raise InputError(
                    f"{shown(path)}, row {row}: {name} must be {expected}, not {value!r}."
                )

    refuse("blur_level", lambda level: not 1 <= level <= NUM_LEVELS, f"1 to {NUM_LEVELS}")
    refuse("split", lambda split: split not in SPLITS, f"one of {', '.join(SPLITS)}")
    refuse("object_id", lambda name: not is_printable(name), "printable")
    for side in _BOX:
        refuse(side, lambda value: not 0 <= value <= 1, "in units of the image size, 0 to 1")


def _boxes(columns: dict[str, pa.Array], path: str) -> pa.Array:
    missing = [side for side in _BOX if side not in columns]
    if missing:
        raise InputError(f"{shown(path)} has half a box: it lacks the column {missing[0]}.")
    boxes: list[list[float] | None] = []
    for row, box in enumerate(zip(*(columns[side].to_pylist() for side in _BOX), strict=True), 1):
        if None in box:
            if any(side is not None for side in box):
                raise InputError(f"{shown(path)}, row {row}: there is half a box.")
            boxes.append(None)
            continue
        cx, cy, w, h = box
        edges = (cx - w / 2, cx + w / 2, cy - h / 2, cy + h / 2)
        if not all(-_TOLERANCE <= edge <= 1 + _TOLERANCE for edge in edges):
            raise InputError(f"{shown(path)}, row {row}: the box leaves its image.")
        boxes.append([*box])
    return pa.array(boxes, pa.list_(pa.float32(), 4))


def _splits(columns: dict[str, pa.Array], path: str, length: int) -> pa.Array:
    """The split of each photo, `real` where none is given."""
    splits = columns.get("split", pa.nulls(length, pa.string())).fill_null(REAL_SPLIT)
    objects = columns.get("object_id", pa.nulls(length, pa.string()))
    pairs = pa.table({"object": objects, "split": splits}).group_by(["object", "split"])
    known: dict[str, str] = {}
    learnt = (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT)
    for pair in pairs.aggregate([]).to_pylist():
        name, split = pair["object"], pair["split"]
        if name is not None and known.setdefault(name, split) != split:
            raise InputError(
                f"{shown(path)}: {shown(name)} is in the splits {known[name]} and {split}, but an "
                f"object belongs to one of {', '.join(learnt)}, or to another."
            )
    return splits
