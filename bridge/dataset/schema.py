"""The columns of a DATASET shard: one row per image.

The layout of `image` is the one that dataset viewers and the `datasets` library open as a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1

SPLITS = ("train", "validation", "test", "distractor", "real")

ROWS_PER_GROUP = 99
"""Images per Parquet row group: nine whole trajectories of eleven."""

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

SHARD_SCHEMA = pa.schema(
    [
        pa.field("image", IMAGE, nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("object_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("trajectory", pa.int32(), nullable=False),
        pa.field("window", pa.int8(), nullable=False),
        pa.field("blur_severity", pa.float32()),
        pa.field("blur_level", pa.int8(), nullable=False),
        pa.field("bbox", pa.list_(pa.float32(), 4)),
        pa.field("background_id", pa.string()),
    ]
)

LABEL_COLUMNS = [name for name in SHARD_SCHEMA.names if name != "image"]


def image_id(object_id: str, trajectory: int, window: int) -> str:
    """The unique and stable name of an image: `<category>/<model>/<trajectory>/<window>`."""
    return f"{object_id}/{trajectory:03d}/{window}"


def to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of `SHARD_SCHEMA`; raises pyarrow.ArrowInvalid where they do not fit."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=SHARD_SCHEMA)
    table.validate(full=True)
    return table
