"""The columns of a DATASET shard: one row per image.

The layout of `image` is the one that dataset viewers and the `datasets` library open as a picture,
and the metadata of the schema say so to that library.

A row without an object is unlabelled: it is indexed and searched, never evaluated or trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from bridge.blur import NUM_WINDOWS

SCHEMA_VERSION = 1

TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT = "train", "validation", "test"
DISTRACTOR_SPLIT, REAL_SPLIT = "distractor", "real"
SPLITS = (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT, DISTRACTOR_SPLIT, REAL_SPLIT)

ROWS_PER_GROUP = 9 * (NUM_WINDOWS + 1)
"""Images per Parquet row group: nine whole trajectories."""

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

SHARD_SCHEMA = pa.schema(
    [
        # Never null, but `datasets` takes only fields that may be for pictures.
        pa.field("image", IMAGE),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("object_id", pa.string()),
        pa.field("category", pa.string()),
        pa.field("trajectory", pa.int32(), nullable=False),
        pa.field("window", pa.int8(), nullable=False),
        pa.field("blur_severity", pa.float32()),
        pa.field("blur_level", pa.int8()),
        pa.field("mean_opacity", pa.float32()),
        pa.field("bbox", pa.list_(pa.float32(), 4)),
        pa.field("background_id", pa.string()),
    ],
    metadata={"huggingface": '{"info": {"features": {"image": {"_type": "Image"}}}}'},
)

ESTIMATED_BLUR_LEVEL = pa.field("estimated_blur_level", pa.int8())
"""A column that shards may have beside the others: what a network said where no blur level is
given, null where one is."""

LABEL_COLUMNS = [name for name in SHARD_SCHEMA.names if name != "image"]

LATER_COLUMNS = ("mean_opacity",)
"""Columns that shards written before them lack: their values are unknown there."""


def image_id(object_id: str, trajectory: int, window: int) -> str:
    """The unique and stable name of an image: `<category>/<model>/<trajectory>/<window>`."""
    return f"{object_id}/{trajectory:03d}/{window}"


def is_shard_schema(schema: pa.Schema) -> bool:
    """Whether columns are those of a shard of any age.

    The `LATER_COLUMNS` may be missing, and fields that may be null now could not be in older ones.
    """
    absent = {*LATER_COLUMNS, ESTIMATED_BLUR_LEVEL.name} - set(schema.names)
    known = (*SHARD_SCHEMA, ESTIMATED_BLUR_LEVEL)
    expected = [field for field in known if field.name not in absent]
    return schema.names == [field.name for field in expected] and all(
        found.type == field.type and found.nullable <= field.nullable
        for found, field in zip(schema, expected, strict=True)
    )


def with_later_columns(labels: pa.Table) -> pa.Table:
    """The `LABEL_COLUMNS` of a shard of any age, null where it lacks them."""
    for name in LATER_COLUMNS:
        if name not in labels.column_names:
            field = SHARD_SCHEMA.field(name)
            labels = labels.append_column(field, pa.nulls(len(labels), field.type))
    fields = [SHARD_SCHEMA.field(name) for name in LABEL_COLUMNS]
    return labels.select(LABEL_COLUMNS).cast(pa.schema(fields))


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema = SHARD_SCHEMA) -> pa.Table:
    """Rows as a table of a shard's schema; raises pyarrow.ArrowInvalid where they do not fit."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    table.validate(full=True)
    return table
