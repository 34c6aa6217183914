from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.dataset.manifest import (
    Adjustment,
    Manifest,
    Rejection,
    ShardResult,
    load_manifest,
    open_manifest,
)
from bridge.dataset.shards import ShardRecord


def result(number: int, split: str = "train", rejections: tuple = ()) -> ShardResult:
    record = ShardRecord(f"data/{split}-{number}.parquet", split, 22, 1000, f"{number:064x}")
    return ShardResult(record, ("a/x", f"a/{number}"), 2, {"1": 20, "10": 2}, rejections)


def test_round_trip(tmp_path: Path) -> None:
    bad = Rejection("no_texture", "a/bad", "why")
    manifest = Manifest("dataset", {"seed": 3}, rejections=(bad,)).with_shards([result(0)])
    manifest.save(str(tmp_path))
    assert load_manifest(str(tmp_path)) == manifest


def test_adjustments_are_kept_and_counted(tmp_path: Path) -> None:
    remarks = (
        Adjustment("simplified", "a/x", "412,000 to 200,000 triangles"),
        Adjustment("missing_texture", "a/x", "wood.jpg"),
        Adjustment("missing_texture", "a/y", "wood.jpg"),
    )
    manifest = Manifest("dataset", {}, adjustments=remarks)
    assert manifest.to_json()["adjusted"] == {"missing_texture": 2, "simplified": 1}
    assert manifest.to_json()["rejected"] == {}
    manifest.save(str(tmp_path))
    assert load_manifest(str(tmp_path)) == manifest


def test_manifests_from_before_adjustments_load(tmp_path: Path) -> None:
    manifest = Manifest("dataset", {"seed": 3}).with_shards([result(0)])
    value = manifest.to_json()
    del value["adjusted"], value["adjusted_items"]
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    assert load_manifest(str(tmp_path)) == manifest


def test_the_file_holds_what_to_json_says_and_a_line_per_shard(tmp_path: Path) -> None:
    for count in (0, 1, 3):
        manifest = Manifest("dataset", {"a": [1]}).with_shards(result(i) for i in range(count))
        manifest.save(str(tmp_path))
        text = (tmp_path / "manifest.json").read_text()
        assert json.loads(text) == manifest.to_json()
        assert sum("sha256" in line for line in text.splitlines()) == count


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Manifest("dataset", {"share": float("nan")}).save(str(tmp_path))
    assert not (tmp_path / "manifest.json").exists()


def test_counts_sum_shards_and_count_objects_once() -> None:
    manifest = Manifest("dataset", {}).with_shards([result(0), result(1), result(0, "test")])
    counts = manifest.counts()
    assert counts["train"] == {
        "rows": 44,
        "objects": 3,
        "trajectories": 4,
        "by_blur_level": {"1": 40, "10": 4},
    }
    assert counts["test"]["rows"] == 22


def test_a_shard_or_rejection_named_twice_counts_once() -> None:
    photo = (Rejection("background", "photo.jpg"),)
    manifest = Manifest("dataset", {}).with_shards([result(0, rejections=photo)])
    manifest = manifest.with_shards([result(0, rejections=photo), result(1, rejections=photo)])
    assert manifest.counts()["train"]["rows"] == 44
    assert manifest.to_json()["rejected"] == {"background": 1}


def test_content_hash_follows_the_rows_and_not_the_order() -> None:
    empty = Manifest("dataset", {})
    one = empty.with_shards([result(0), result(1)])
    other = empty.with_shards([result(1), result(0)]).finished()
    assert one.content_hash == other.content_hash
    assert one.content_hash != empty.with_shards([result(0)]).content_hash


def test_incomplete_datasets_are_refused(tmp_path: Path) -> None:
    Manifest("dataset", {}).save(str(tmp_path))
    with pytest.raises(InputError, match="not complete"):
        open_manifest(str(tmp_path))


@pytest.mark.parametrize("content", [None, "[]", "{", '{"schema_version": 1}'])
def test_folders_without_a_manifest_are_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        load_manifest(str(tmp_path))


def test_written_json_is_the_contract(tmp_path: Path) -> None:
    Manifest("distractors", {"seed": 1}).with_shards([result(0)]).finished().save(str(tmp_path))
    value = json.loads((tmp_path / "manifest.json").read_text())
    required = {"schema_version", "kind", "config", "counts", "rejected", "shards", "complete"}
    assert required <= value.keys()
    assert {"path", "split", "rows", "bytes", "sha256"} <= value["shards"][0].keys()
    assert value["complete"] is True
