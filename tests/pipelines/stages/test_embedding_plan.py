"""Tests of the planner of an INDEX: what is planned, and how little memory it takes."""

from __future__ import annotations

import pickle
import tracemalloc
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bridge.common import storage
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import Manifest, ShardResult
from bridge.dataset.schema import SHARD_SCHEMA
from bridge.dataset.shards import ShardRecord, shard_path
from bridge.dataset.splits import queries_and_database
from bridge.index.folder import PartRecord
from pipelines.stages import embedding_plan
from pipelines.stages.embedding_plan import ROWS_PER_PART, Part, part_of, plan_parts
from tests.factories import make_dataset

SHARDS, ROWS_PER_SHARD = 100, 10_000


def planned(folder: Path, manifest: Manifest) -> list[Part]:
    return list(plan_parts({str(folder): manifest}, 0, "model", "float32"))


def test_parts_have_the_selected_images_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_plan, "ROWS_PER_PART", 50)
    manifest = make_dataset(tmp_path, {"test": 3, "real": 2, "distractor": 2}, trajectories=4)
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for part in planned(tmp_path, manifest):
        labels, images = part.read()
        everything = read_labels(str(tmp_path), manifest, part.split)
        names = labels.image_id.to_pylist()
        places = [everything.image_id.to_pylist().index(name) for name in names]
        same = everything.take(np.array(places))
        assert len(part) == len(images) <= 50 and images == same.read_images()
        assert labels.object_ids() == same.object_ids() and labels.dataset == same.dataset
        for column in ("trajectory", "blur_level", "blur_severity", "bbox", "row"):
            np.testing.assert_array_equal(getattr(labels, column), getattr(same, column))
        found[part.split, part.record.role] += names
    labels = read_labels(str(tmp_path), manifest, "test")
    for role, rows in zip(
        ("query", "database", "database_per_level"),
        vars(queries_and_database(labels, 0)).values(),
        strict=True,
    ):
        assert found["test", role] == labels.image_id.take(pa.array(rows)).to_pylist()
    distractors = read_labels(str(tmp_path), manifest, "distractor")
    kept = distractors.image_id.filter(pa.array(distractors.blur_level <= 6))
    assert found["distractor", "distractor"] == kept.to_pylist()


def test_keys_are_of_the_images_by_their_places_in_the_split(tmp_path: Path) -> None:
    """Parts of indexes that were built before have these keys."""
    manifest = make_dataset(tmp_path, {"test": 2}, trajectories=3)
    labels = read_labels(str(tmp_path), manifest, "test")
    rows = queries_and_database(labels, 0).queries
    images = storage.sha256(np.stack([labels.shard[rows], labels.row[rows]]).tobytes())
    content = manifest.content_hash
    part = planned(tmp_path, manifest)[0]
    assert part.record.key == storage.sha256_json(
        ["model", "float32", content, "test", "query", images]
    )
    assert part.record.path == f"descriptors/test-query-{content[:8]}-00000.parquet"


def many(folder: Path, split: str, objects: int, trajectories: int) -> Manifest:
    """A dataset of a million rows whose images are empty; its shards have the same rows."""
    rows = np.arange(ROWS_PER_SHARD)
    windows, trajectory = rows % 10, rows // 10 % trajectories
    names = pa.array([f"shape/{n:05d}" for n in range(objects)])
    numbers = rows // (10 * trajectories) % objects
    nothing = pa.nulls(ROWS_PER_SHARD, pa.binary())
    columns = {
        "image": pa.StructArray.from_arrays(
            [nothing, nothing.cast(pa.string())], ["bytes", "path"]
        ),
        "image_id": [f"shape/{row:05d}/000/0" for row in rows],
        "object_id": names.take(pa.array(numbers)),
        "category": ["shape"] * ROWS_PER_SHARD,
        "trajectory": trajectory.astype(np.int32),
        "window": windows.astype(np.int8),
        "blur_severity": pa.nulls(ROWS_PER_SHARD, pa.float32()),
        "blur_level": (1 + windows).astype(np.int8),
        "mean_opacity": pa.nulls(ROWS_PER_SHARD, pa.float32()),
        "bbox": pa.nulls(ROWS_PER_SHARD, pa.list_(pa.float32(), 4)),
        "background_id": pa.nulls(ROWS_PER_SHARD, pa.string()),
    }
    table = pa.table(columns, schema=SHARD_SCHEMA)
    (folder / "data").mkdir()
    results = []
    for number in range(SHARDS):
        path = shard_path(split, number, SHARDS)
        pq.write_table(table, folder / path)
        record = ShardRecord(path, split, ROWS_PER_SHARD, 1, f"{number}")
        results.append(ShardResult(record, (), 0, {}))
    return Manifest("distractors", {}).with_shards(results).finished()


def test_a_million_distractors_take_the_memory_of_their_parts(tmp_path: Path) -> None:
    manifest = many(tmp_path, "distractor", objects=1000, trajectories=1)
    planned(tmp_path, manifest)  # so that modules and pools are there already
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    parts = planned(tmp_path, manifest)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows = SHARDS * ROWS_PER_SHARD * 6 // 10
    assert sum(map(len, parts)) == rows and len(parts) == -(-rows // ROWS_PER_PART)
    # A byte and a half per image; the peak is that of some shards, however many there are.
    assert kept < 1.5 * rows
    assert peak < kept + 64 * 16 * ROWS_PER_SHARD
    assert pa.total_allocated_bytes() - before < 2**20
    assert max(len(pickle.dumps(part)) for part in parts) < 1000


def test_queries_and_database_keep_no_labels(tmp_path: Path) -> None:
    manifest = many(tmp_path, "test", objects=100, trajectories=10)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    parts = planned(tmp_path, manifest)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    images = sum(map(len, parts))
    assert images > 6000 and kept < 20 * images
    assert pa.total_allocated_bytes() - before < 2**20
    # Images that lie in all of the shards: a few numbers for each.
    assert max(len(pickle.dumps(part)) for part in parts) < 8 * ROWS_PER_PART


def test_a_part_far_between_names_its_own_shards_only() -> None:
    paths = [shard_path("test", number, 1000) for number in range(1000)]
    places = np.array([[3, 3, 998], [5, 70, 2]])
    part = part_of(PartRecord("a", "query", 0, "", ""), "data", "test", paths, places)
    assert part.shards == (paths[3], paths[998]) and len(part) == 3
    assert part.places.tolist() == [[0, 0, 1], [5, 70, 2]]
