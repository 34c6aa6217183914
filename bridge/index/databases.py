"""An INDEX in a vector database: its rows streamed there, and compared once they are there.

A target is `lancedb:URI` (a folder or an object store) or `milvus:URI` (a server, or a file that
milvus-lite keeps). Rows go into the table `TABLE`: what `descriptors/*.parquet` say of an image,
its `category`, and its descriptor as `vector`. Descriptors have length 1, so that inner products
order them as distances do.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bridge.common.errors import Failed, InputError
from bridge.common.progress import progress
from bridge.index.folder import (
    SEARCHED,
    IndexManifest,
    descriptor_matrix,
    descriptor_schema,
    read_part,
)

TABLE = "images"
SCALARS = {"object_id": "BTree", "category": "Bitmap", "blur_level": "Bitmap", "role": "Bitmap"}
"""Columns that searches are filtered by, and LanceDB's indexes for them."""
CHECKED_QUERIES = 100
CHECKED_TOP = 10
TOLERANCE = 1e-4
"""Between an inner product here and there."""


class Database(ABC):
    """A table in a database that is made anew."""

    @abstractmethod
    def write(self, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Make the table of all rows; what was there before stays until they all are."""

    @abstractmethod
    def count(self) -> int:
        """Rows of the table."""

    @abstractmethod
    def best(self, query: np.ndarray, top: int) -> tuple[list[int], np.ndarray]:
        """The rows most like a query among those that are searched, and their inner products."""


def export_index(index: str, manifest: IndexManifest, target: str) -> str:
    """Write all rows of an index into a database and compare what is found there.

    Returns:
        What was written, as a line to print.

    Raises:
        InputError: no such database, its package is not installed, or it cannot be opened.
        Failed: what is found there is not what exact search finds here.
    """
    database = open_database(target)
    schema = _schema(manifest.dimension)
    total = sum(part.rows for part in manifest.parts)
    kept = _Kept(manifest.dimension)
    with progress("export", total, "rows") as counter:

        def tables() -> Iterator[pa.Table]:
            first = 0
            for part in manifest.parts:
                table = _exported(read_part(index, part), first, schema)
                first += len(table)
                kept.add(table)
                yield table
                counter.advance(len(table))

        database.write(tables(), schema)
    if database.count() != total:
        raise Failed(f"{target} has {database.count():,} rows instead of {total:,}.")
    for query, ids, products in kept.answers():
        _compare(target, database, query, ids, products)
    return f"{target}: {total:,} rows in the table {TABLE}, {len(kept.queries)} searches compared"


def open_database(target: str) -> Database:
    """The database of a target; InputError as `export_index`."""
    kind, _, uri = target.partition(":")
    if kind not in _KINDS or not uri:
        raise InputError(f"An export is one of {', '.join(f'{k}:URI' for k in _KINDS)}: {target}.")
    try:
        return _KINDS[kind](uri)
    except ImportError as error:
        raise InputError(
            f"An export to {kind} needs its package: python -m pip install "
            f"'bridge-retrieval[{kind}]'."
        ) from error


def _schema(dimension: int) -> pa.Schema:
    fields = [pa.field("id", pa.int64(), nullable=False)]
    for field in descriptor_schema(dimension):
        if field.name == "descriptor":
            fields.append(pa.field("vector", field.type, nullable=False))
        else:
            fields.append(field)
        if field.name == "object_id":
            fields.append(pa.field("category", pa.string()))
    return pa.schema(fields)


def _exported(part: pa.Table, first: int, schema: pa.Schema) -> pa.Table:
    columns = {name: part[name] for name in part.column_names}
    columns["id"] = pa.chunked_array([np.arange(first, first + len(part))])
    columns["vector"] = part["descriptor"]
    columns["category"] = pc.list_element(pc.split_pattern(part["object_id"], "/"), 0)
    return pa.table([columns[name] for name in schema.names], schema=schema)


class _Kept:
    """Some descriptors to search with, and the best rows for them so far, by exact search.

    The queries are the first rows, whatever their role: every one has neighbours.
    """

    def __init__(self, dimension: int) -> None:
        self.queries = np.empty((0, dimension), np.float32)
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._early: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        renamed = table.rename_columns({"vector": "descriptor"})
        renamed = renamed.select(["id", "role", "descriptor"])
        if len(self.queries) < CHECKED_QUERIES:
            left = CHECKED_QUERIES - len(self.queries)
            self.queries = np.concatenate([self.queries, descriptor_matrix(renamed[:left])])
            self._early.append(renamed)
            if len(self.queries) < CHECKED_QUERIES:
                return
            for early in self._early:
                self._rank(early)
            self._early = []
        else:
            self._rank(renamed)

    def _rank(self, table: pa.Table) -> None:
        found = table.filter(pc.is_in(table["role"], pa.array(SEARCHED)))
        if not len(found):
            return
        products = self.queries @ descriptor_matrix(found).T
        best = np.argsort(-products, axis=1, kind="stable")[:, :CHECKED_TOP]
        self._parts.append(
            (found["id"].to_numpy()[best], np.take_along_axis(products, best, axis=1))
        )

    def answers(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Queries with the ids and the products of their best rows."""
        for early in self._early:
            self._rank(early)
        self._early = []
        if not self._parts:
            return
        ids, products = (np.concatenate(parts, axis=1) for parts in zip(*self._parts, strict=True))
        order = np.argsort(-products, axis=1, kind="stable")[:, :CHECKED_TOP]
        yield from zip(
            self.queries,
            np.take_along_axis(ids, order, axis=1),
            np.take_along_axis(products, order, axis=1),
            strict=True,
        )


def _compare(
    target: str, database: Database, query: np.ndarray, ids: np.ndarray, products: np.ndarray
) -> None:
    """Failed where other rows are found; those that are equally like the query change places."""
    found, theirs = database.best(query, len(ids))
    same = len(found) == len(ids) and np.abs(theirs - products).max(initial=0) <= TOLERANCE
    apart = products - products[-1:] > 2 * TOLERANCE
    if not same or not set(ids[apart].tolist()) <= set(found):
        raise Failed(f"{target} finds other images than exact search does: it is not what it was.")


class LanceDb(Database):
    """A folder of tables that needs no server."""

    _SEARCHED = f"role IN {SEARCHED}"

    def __init__(self, uri: str) -> None:
        # It warns of a table that is not there yet.
        os.environ.setdefault("LANCE_LOG", "error")
        import lancedb

        try:
            self._database = lancedb.connect(uri)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"lancedb:{uri} cannot be opened: {error}.") from error
        self._table: Any = None

    def write(self, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Make the table, in one version of it, and the indexes of what is filtered by."""
        batches = (batch for table in tables for batch in table.to_batches())
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        from lancedb import index

        self._table = self._database.create_table(TABLE, reader, mode="overwrite")
        for column, kind in SCALARS.items():
            self._table.create_index(column, config=getattr(index, kind)())

    def count(self) -> int:
        """As `Database` says."""
        return int(self._table.count_rows())

    def best(self, query: np.ndarray, top: int) -> tuple[list[int], np.ndarray]:
        """As `Database` says."""
        search = (
            self._table.search(query).distance_type("dot").where(self._SEARCHED, prefilter=True)
        )
        rows = search.select(["id", "_distance"]).limit(top).to_arrow()
        return rows["id"].to_pylist(), 1 - rows["_distance"].to_numpy()


class Milvus(Database):
    """A collection on a server or, for a file, in milvus-lite."""

    _SEARCHED = f"role in {list(SEARCHED)}"

    def __init__(self, uri: str) -> None:
        from pymilvus import MilvusClient
        from pymilvus.exceptions import MilvusException

        try:
            self._client: Any = MilvusClient(uri)
        except (MilvusException, OSError, ValueError) as error:
            raise InputError(f"milvus:{uri} cannot be opened: {error}.") from error

    def write(self, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Make another collection, which takes the name once it has all rows."""
        from pymilvus import DataType

        made = f"{TABLE}_new"
        self._client.drop_collection(made)
        layout = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        numbers = {pa.int64(): DataType.INT64, pa.int8(): DataType.INT8}
        numbers |= {pa.float32(): DataType.FLOAT}
        for field in schema:
            if field.name == "vector":
                options = {"datatype": DataType.FLOAT_VECTOR, "dim": field.type.list_size}
            elif field.name in ("bbox", "predicted_bbox"):
                options = {"datatype": DataType.JSON, "nullable": True}
            elif field.type == pa.string():
                options = {"datatype": DataType.VARCHAR, "max_length": 4096, "nullable": True}
            else:
                options = {"datatype": numbers[field.type], "nullable": field.nullable}
            layout.add_field(field.name, is_primary=field.name == "id", **options)
        indexes = self._client.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="IP")
        self._client.create_collection(made, schema=layout, index_params=indexes)
        for table in tables:
            for batch in table.to_batches(max_chunksize=4096):
                self._client.insert(made, batch.to_pylist())
        self._client.flush(made)
        self._client.drop_collection(TABLE)
        self._client.rename_collection(made, TABLE)
        self._client.load_collection(TABLE)

    def count(self) -> int:
        """As `Database` says."""
        (row,) = self._client.query(TABLE, filter="", output_fields=["count(*)"])
        return int(row["count(*)"])

    def best(self, query: np.ndarray, top: int) -> tuple[list[int], np.ndarray]:
        """As `Database` says."""
        (hits,) = self._client.search(TABLE, [query.tolist()], filter=self._SEARCHED, limit=top)
        return [hit["id"] for hit in hits], np.array([hit["distance"] for hit in hits])


_KINDS: dict[str, Any] = {"lancedb": LanceDb, "milvus": Milvus}
