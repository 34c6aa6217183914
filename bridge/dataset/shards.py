"""Writing and reading single Parquet shards."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.common.record import WholeNumber
from bridge.dataset.schema import ROWS_PER_GROUP, is_shard_schema

_REMEDY = "delete it and run the command that makes the dataset again"
_checked: set[tuple[str, str]] = set()
"""Shards that were compared with their hashes in this process."""


@dataclass(frozen=True)
class ShardRecord:
    """What a manifest says of a shard; a shard exists only if a manifest says so."""

    path: str
    """Relative to the dataset, e.g. `data/train-00000-of-00012.parquet`."""
    split: str
    rows: WholeNumber
    bytes: WholeNumber
    sha256: str


def shard_path(split: str, number: int, total: int) -> str:
    """`data/<split>-00000-of-000NN.parquet`."""
    return f"data/{split}-{number:05d}-of-{total:05d}.parquet"


def encode_parquet(table: pa.Table, rows_per_group: int = ROWS_PER_GROUP) -> memoryview:
    """The table as Parquet bytes: equal tables give equal bytes.

    Encoded pictures do not compress again, so only the label columns are compressed.
    """
    buffer = io.BytesIO()
    compression = {
        path: "NONE" if path.startswith("image.bytes") else "ZSTD" for path in _leaf_paths(table)
    }
    pq.write_table(
        table,
        buffer,
        row_group_size=rows_per_group,
        compression=compression,
        use_dictionary=[path for path in compression if not path.startswith("image.")],
    )
    return buffer.getbuffer()


def _leaf_paths(table: pa.Table) -> list[str]:
    leaves = []
    for field in table.schema:
        if pa.types.is_struct(field.type):
            leaves += [f"{field.name}.{child.name}" for child in field.type]
        elif pa.types.is_fixed_size_list(field.type):
            leaves.append(f"{field.name}.list.element")
        else:
            leaves.append(field.name)
    return leaves


def write_shard(
    dataset: str, path: str, split: str, table: pa.Table, rows_per_group: int = ROWS_PER_GROUP
) -> ShardRecord:
    """Write one shard atomically and read it back before it counts.

    Raises OSError where what is on the disk is not what was written.
    """
    data = encode_parquet(table, rows_per_group)
    target = storage.join(dataset, path)
    storage.write_bytes(target, data)
    digest = storage.sha256(data)
    if storage.sha256_file(target) != digest:
        raise OSError(f"{target} does not hold what was written to it.")
    return ShardRecord(path, split, table.num_rows, len(data), digest)


@contextmanager
def open_shard(dataset: str, path: str) -> Iterator[pq.ParquetFile]:
    """A shard for reading in the block. InputError where it is missing or damaged, also then."""
    target = storage.join(dataset, path)
    fs, inner = storage.filesystem(target)
    with (
        reading(f"The shard {target}", _REMEDY),
        fs.open_input_file(inner) as file,
        pq.ParquetFile(file, pre_buffer=storage.is_uri(target)) as shard,
    ):
        if not is_shard_schema(shard.schema_arrow):
            raise InputError(f"The shard {target} has not the columns of a dataset.")
        yield shard


def check_shard(dataset: str, path: str, sha256: str) -> None:
    """Compare a shard with the hash in its manifest, once in a process.

    Raises:
        InputError: it is missing, or another file than the one that was written.
    """
    target = storage.join(dataset, path)
    if (target, sha256) in _checked:
        return
    with reading(f"The shard {target}", _REMEDY):
        digest = storage.sha256_file(target)
    if digest != sha256:
        raise InputError(f"The shard {target} is not the file that its manifest names: {_REMEDY}.")
    _checked.add((target, sha256))


def read_rows(
    dataset: str, path: str, rows: np.ndarray, columns: Sequence[str] | None = None
) -> pa.Table:
    """Some rows of a shard (int [N]), in the order asked for; all columns, or some.

    Reads only the row groups that hold them, one at a time: a group's images are many times what
    is wanted of it where rows are far between.
    """
    with open_shard(dataset, path) as shard:
        sizes = [shard.metadata.row_group(i).num_rows for i in range(shard.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        groups = np.searchsorted(starts, rows, side="right") - 1
        taken = [shard.read_row_groups([], columns=columns)]
        for group in np.unique(groups):
            table = shard.read_row_group(int(group), columns=columns)
            taken.append(table.take(pa.array(rows[groups == group] - starts[group])))
    order = np.argsort(groups, kind="stable")
    table = pa.concat_tables(taken)
    in_order = bool((np.diff(order) == 1).all())
    return table if in_order else table.take(pa.array(np.argsort(order)))


def images_of(table: pa.Table) -> list[bytes]:
    """The encoded images of rows of a shard; what is null is no picture."""
    return [image or b"" for image in pc.struct_field(table["image"], "bytes").to_pylist()]


def read_images(dataset: str, path: str, rows: np.ndarray) -> list[bytes]:
    """Encoded images of some rows of a shard, as `read_rows`."""
    return images_of(read_rows(dataset, path, rows, ["image"]))


def image_bytes(dataset: str, path: str, rows: np.ndarray) -> int:
    """About how many bytes the encoded images of some rows have together, none of them read.

    Every row counts as the mean of its row group.
    """
    with open_shard(dataset, path) as shard:
        names = [shard.schema.column(i).path for i in range(len(shard.schema))]
        column = names.index("image.bytes")
        groups = [shard.metadata.row_group(i) for i in range(shard.num_row_groups)]
        lengths = np.array([group.num_rows for group in groups])
        sizes = np.array([group.column(column).total_uncompressed_size for group in groups])
    ends = np.cumsum(lengths)
    return math.ceil(
        (sizes / np.maximum(lengths, 1))[np.searchsorted(ends, rows, side="right")].sum()
    )


def read_image(shard: str, row: int) -> bytes:
    """The encoded image in one row of the shard at a path; InputError where it is not there."""
    folder, _, file = shard.rpartition("/")
    with reading(f"Row {row} of {shard}"):
        return read_images(folder, file, np.array([row]))[0]
