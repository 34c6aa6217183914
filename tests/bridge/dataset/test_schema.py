from __future__ import annotations

import json

import pyarrow as pa
import pytest

from bridge.dataset.schema import (
    ESTIMATED_BLUR_LEVEL,
    LABEL_COLUMNS,
    SHARD_SCHEMA,
    is_shard_schema,
    with_later_columns,
)

OLDER = pa.schema(
    [
        field.with_nullable(False)
        if field.name in ("image", "object_id", "category", "blur_level")
        else field
        for field in SHARD_SCHEMA
        if field.name != "mean_opacity"
    ]
)
"""Of the first shards."""


def test_the_metadata_say_that_images_are_pictures() -> None:
    told = json.loads(SHARD_SCHEMA.metadata[b"huggingface"])
    assert told["info"]["features"] == {"image": {"_type": "Image"}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (SHARD_SCHEMA, True),
        (SHARD_SCHEMA.remove_metadata(), True),
        (OLDER, True),
        (SHARD_SCHEMA.append(ESTIMATED_BLUR_LEVEL), True),
        (OLDER.append(ESTIMATED_BLUR_LEVEL), True),
        (SHARD_SCHEMA.append(pa.field("other", pa.int8())), False),
        (SHARD_SCHEMA.remove(2), False),
        (SHARD_SCHEMA.set(1, pa.field("image_id", pa.string())), False),
        (SHARD_SCHEMA.set(7, pa.field("blur_level", pa.int32())), False),
        (pa.schema(list(SHARD_SCHEMA)[::-1]), False),
    ],
)
def test_shards_of_any_age_are_known_by_their_columns(schema: pa.Schema, expected: bool) -> None:
    assert is_shard_schema(schema) is expected


def test_labels_of_shards_of_different_ages_fit_together() -> None:
    older = with_later_columns(OLDER.empty_table())
    newer = with_later_columns(SHARD_SCHEMA.append(ESTIMATED_BLUR_LEVEL).empty_table())
    assert older.schema == newer.schema and newer.schema.names == LABEL_COLUMNS
