"""An index in a vector database has the same rows, and finds what exact search finds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from pymilvus import MilvusClient

from bridge.common.errors import Failed, InputError
from bridge.index import databases
from bridge.index.databases import TABLE, export_index, open_database
from bridge.index.folder import IndexManifest, PartRecord, descriptor_schema, write_part

DIMENSION = 16
ROLES = ("query", "database", "distractor")


@pytest.fixture
def index(tmp_path: Path) -> tuple[str, IndexManifest]:
    """Three parts of 70 rows; some are unlabelled, two descriptors are equal."""
    rng = np.random.default_rng(0)
    parts = []
    for number, role in enumerate(ROLES):
        vectors = rng.normal(size=(70, DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[5] = vectors[6]
        rows = [
            {
                "image_id": f"{role}/{row}",
                "object_id": f"mug/{row % 7:03d}" if row % 5 else None,
                "blur_level": 1 + row % 6 if row % 5 else None,
                "role": role,
                "split": "test",
                "descriptor": vector.tolist(),
                "bbox": [0.5, 0.5, 0.25, 0.25] if row % 2 else None,
                "shard": "data/test-00000-of-00001.parquet",
                "row": row,
            }
            for row, vector in enumerate(vectors)
        ]
        table = pa.Table.from_pylist(rows, schema=descriptor_schema(DIMENSION))
        record = PartRecord(f"descriptors/{number}.parquet", role, 0, "", "")
        parts.append(write_part(str(tmp_path), record, table))
    manifest = IndexManifest("model", "hash", DIMENSION, {}, 0, parts=parts, complete=True)
    return str(tmp_path), manifest


@pytest.fixture(params=["lancedb", "milvus"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}:{tmp_path / 'here.db'}"


def test_rows_arrive_and_searches_agree(index: tuple[str, IndexManifest], target: str) -> None:
    assert "210 rows in the table images, 100 searches" in export_index(*index, target)
    # Again, and with fewer rows: the table is made anew.
    fewer = replace(index[1], parts=index[1].parts[1:])
    assert "140 rows" in export_index(index[0], fewer, target)
    # A query alone has nothing to find.
    alone = replace(index[1], parts=index[1].parts[:1])
    assert "70 rows" in export_index(index[0], alone, target)


def test_lancedb_filters_by_level_and_object(
    index: tuple[str, IndexManifest], tmp_path: Path
) -> None:
    export_index(*index, f"lancedb:{tmp_path / 'lance'}")
    table = lancedb.connect(tmp_path / "lance").open_table(TABLE)
    where = "blur_level IN (1, 2) AND object_id = 'mug/001' AND role IN ('database')"
    rows = table.search(np.ones(DIMENSION, np.float32)).distance_type("dot").where(where).to_list()
    expected = {
        f"database/{row}" for row in range(70) if row % 5 and row % 7 == 1 and row % 6 in (0, 1)
    }
    assert {row["image_id"] for row in rows} == expected and expected
    assert {row["category"] for row in rows} == {"mug"}


def test_milvus_filters_by_level_and_object(
    index: tuple[str, IndexManifest], tmp_path: Path
) -> None:
    export_index(*index, f"milvus:{tmp_path / 'milvus.db'}")
    where = 'blur_level in [1, 2] and object_id == "mug/001" and role in ["database"]'
    client = MilvusClient(str(tmp_path / "milvus.db"))
    rows = client.query(TABLE, filter=where, output_fields=["image_id", "bbox"])
    expected = {
        f"database/{row}" for row in range(70) if row % 5 and row % 7 == 1 and row % 6 in (0, 1)
    }
    assert {row["image_id"] for row in rows} == expected


def test_a_table_that_finds_other_images_is_told(
    index: tuple[str, IndexManifest], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(open_database(target))
    write = kind.write

    def shuffled(self: object, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
        def wrong() -> Iterator[pa.Table]:
            for table in tables:
                place = schema.get_field_index("vector")
                vectors = table["vector"].take(np.arange(len(table))[::-1].copy())
                yield table.set_column(place, schema.field(place), vectors)

        write(self, wrong(), schema)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "write", shuffled)
    with pytest.raises(Failed, match="finds other images"):
        export_index(*index, target)


def test_what_is_no_database_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for target in ("lancedb:", "lancedb", "qdrant:here", ""):
        with pytest.raises(InputError, match="lancedb:URI, milvus:URI"):
            open_database(target)
    for name, package in (("lancedb", "lancedb"), ("milvus", "pymilvus")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InputError, match=rf"bridge-retrieval\[{name}\]"):
            open_database(f"{name}:{tmp_path}")


def test_of_a_part_only_what_is_searched_is_compared(index: tuple[str, IndexManifest]) -> None:
    kept = databases._Kept(DIMENSION)
    schema = databases._schema(DIMENSION)
    first = 0
    for part in index[1].parts:
        table = databases._exported(databases.read_part(index[0], part), first, schema)
        kept.add(table)
        first += len(table)
    answers = list(kept.answers())
    assert len(answers) == 100
    assert all((ids >= 70).all() and len(ids) == 10 for _, ids, _ in answers)
    # A database image is most like itself.
    assert answers[70][1][0] == 70 and answers[70][2][0] == pytest.approx(1)
