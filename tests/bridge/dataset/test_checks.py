"""Tests of bridge/dataset/checks.py."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bridge.dataset.checks import ShardReport, doubles_between, verify_manifest, verify_shard
from bridge.dataset.manifest import Manifest, ShardResult
from tests.factories import make_dataset, make_unlabelled, rewrite_shard, without_column

SIZE = (24, 32)
Rows = list[dict[str, Any]]


@pytest.fixture
def shard(tmp_path: Path) -> ShardResult:
    manifest = make_dataset(tmp_path, {"train": 2}, trajectories=2, size=SIZE)
    return next(iter(manifest.shards.values()))


def change(index: int = 0, **values: Any) -> Callable[[Rows], None]:
    return lambda rows: rows[index].update(values)


def problems(shard: ShardResult, folder: Path) -> tuple[str, ...]:
    return verify_shard(shard, str(folder), SIZE).problems


def test_a_sound_shard_has_no_problem(shard: ShardResult, tmp_path: Path) -> None:
    report = verify_shard(shard, str(tmp_path), SIZE)
    assert report.problems == ()
    assert (report.rows, report.decoded, len(set(report.image_ids))) == (44, 8, 44)
    assert verify_shard(shard, str(tmp_path), None).problems == ()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change(image_id="shape0/000/000/5"), "an image id is not that of its object"),
        (change(window=11), "a window lies outside 0..10: 11"),
        (change(category="shape1"), "an object is not of its category: shape0/000, shape1"),
        (change(blur_level=3), "a blur level is not that of its blur severity: 3"),
        (change(blur_level=11, blur_severity=None), "a blur level lies outside 1..10: 11"),
        (change(blur_severity=1.5), "a blur severity lies outside 0..1: 1.5"),
        (change(mean_opacity=1.01), "a mean opacity lies outside 0..1: 1.0"),
        (change(mean_opacity=-0.5), "a mean opacity lies outside 0..1: -0.5"),
        (change(mean_opacity=float("nan")), "a mean opacity lies outside 0..1: nan"),
        (change(bbox=(0.5, 0.9, 0.2, 0.21)), "a box leaves its image"),
        (change(bbox=(0.5, 0.5, -0.1, 0.1)), "a box leaves its image"),
        (change(bbox=(0.5, None, 0.1, 0.1)), "a box leaves its image"),
        (lambda rows: rows.append(rows[0]), "holds 1 image ids twice"),
        (lambda rows: [r["image"].update(bytes=b"no") for r in rows], "an image does not decode"),
    ],
)
def test_what_is_wrong_with_the_rows_is_said(
    shard: ShardResult, tmp_path: Path, damage: Callable[[Rows], object], message: str
) -> None:
    found = problems(rewrite_shard(shard, tmp_path, damage), tmp_path)
    assert any(problem.startswith(message) for problem in found), found


def test_like_problems_are_one_line(shard: ShardResult, tmp_path: Path) -> None:
    def wrong(rows: Rows) -> None:
        for row in rows:
            row["blur_severity"] = 2.0 + row["window"]

    found = problems(rewrite_shard(shard, tmp_path, wrong), tmp_path)
    assert len(found) == 1 and found[0].endswith("(and 43 more)")


def test_unknown_labels_are_no_problem(shard: ShardResult, tmp_path: Path) -> None:
    changed = rewrite_shard(
        shard, tmp_path, change(blur_severity=None, mean_opacity=None, bbox=None)
    )
    assert problems(changed, tmp_path) == ()


def test_shards_made_before_a_column_was_added_are_sound(
    shard: ShardResult, tmp_path: Path
) -> None:
    assert problems(without_column(shard, tmp_path, "mean_opacity"), tmp_path) == ()
    (found,) = problems(without_column(shard, tmp_path, "background_id"), tmp_path)
    assert found.startswith("has other columns or types")


def test_real_photos_have_names_and_windows_of_their_own(
    shard: ShardResult, tmp_path: Path
) -> None:
    changed = rewrite_shard(shard, tmp_path, change(window=60, image_id="000_000_060"))
    assert problems(changed, tmp_path)
    real = replace(changed, record=replace(changed.record, split="real"))
    assert problems(real, tmp_path) == ()


def test_images_of_another_size(shard: ShardResult, tmp_path: Path) -> None:
    (found,) = verify_shard(shard, str(tmp_path), (48, 64)).problems
    assert "has another size" in found and "24x32" in found and "(and 7 more)" in found


def test_files_that_are_not_what_was_written(shard: ShardResult, tmp_path: Path) -> None:
    path = tmp_path / shard.record.path
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    assert any("has the hash" in problem for problem in problems(shard, tmp_path))
    path.write_bytes(data[: len(data) // 2])
    found = problems(shard, tmp_path)
    assert "bytes instead of" in found[0] and "is not a Parquet file" in found[1]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": [1]}), buffer)
    path.write_bytes(buffer.getvalue())
    assert any("has other columns or types: image" in p for p in problems(shard, tmp_path))
    path.unlink()
    (found_missing,) = problems(shard, tmp_path)
    assert found_missing.startswith("cannot be read")


def test_counts_that_the_rows_do_not_add_up_to(shard: ShardResult, tmp_path: Path) -> None:
    stated = replace(
        shard,
        record=replace(shard.record, rows=43),
        objects=("shape0/000",),
        trajectories=5,
        by_blur_level={"1": 44},
    )
    found = problems(stated, tmp_path)
    assert [problem.split(" instead of")[0].split(" ")[1] for problem in found] == [
        "images",
        "objects",
        "trajectories",
        "images",
    ]
    assert "has images 44 instead of 43" in found


def test_the_manifest_as_a_whole(shard: ShardResult) -> None:
    whole = Manifest("dataset", {}).with_shards([shard]).finished()
    assert verify_manifest(whole, whole.counts()) == []
    assert "not complete" in verify_manifest(replace(whole, complete=False), whole.counts())[0]
    assert "counts" in verify_manifest(whole, {})[0]
    elsewhere = replace(shard.record, path="data/test-0.parquet", split="test")
    mixed = whole.with_shards([replace(shard, record=elsewhere)])
    (found,) = verify_manifest(mixed, mixed.counts())
    assert found == "2 objects are in several splits, e.g. shape0/000"


def test_shards_that_the_names_count_and_nobody_has(shard: ShardResult) -> None:
    def named(*names: str) -> Manifest:
        results = [replace(shard, record=replace(shard.record, path=name)) for name in names]
        return Manifest("dataset", {}).with_shards(results).finished()

    begun = named("data/train-00000-of-00004.parquet", "data/train-00002-of-00004.parquet")
    assert verify_manifest(begun, begun.counts()) == [
        "2 of 4 train shards are missing, e.g. data/train-00001-of-00004.parquet"
    ]
    (found,) = verify_manifest(replace(begun, complete=False), begun.counts())
    assert "not complete" in found
    whole = named(*(f"data/train-0000{number}-of-00002.parquet" for number in range(2)))
    assert verify_manifest(whole, whole.counts()) == []


def test_images_that_two_shards_hold() -> None:
    def report(path: str, *ids: int) -> ShardReport:
        return ShardReport(path, len(ids), 0, np.array(ids, np.uint64))

    reports = [report("a", 1, 2, 3, 3), report("b", 4, 2, 1), report("c", 9), ShardReport("d")]
    assert doubles_between(reports) == {"a": 2, "b": 2}
    assert doubles_between([]) == {}


@pytest.mark.parametrize("split", ["real", "test", "distractor"])
def test_unlabelled_images_are_sound(split: str, tmp_path: Path) -> None:
    manifest = make_unlabelled(tmp_path, split)
    (shard,) = manifest.shards.values()
    report = verify_shard(shard, str(tmp_path), (24, 32))
    assert (report.rows, report.problems) == (66, ())


def test_an_image_that_is_null_does_not_decode(tmp_path: Path) -> None:
    manifest = make_unlabelled(tmp_path)
    (shard,) = manifest.shards.values()
    changed = rewrite_shard(shard, tmp_path, lambda rows: [row.update(image=None) for row in rows])
    (problem,) = verify_shard(changed, str(tmp_path), None).problems
    assert problem.startswith("an image does not decode")
