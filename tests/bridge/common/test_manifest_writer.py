from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.common import manifest_writer
from bridge.common.manifest_writer import ManifestWriter
from bridge.dataset.manifest import Manifest, ShardResult, load_manifest
from bridge.dataset.shards import ShardRecord


def results(first: int, count: int) -> Iterator[ShardResult]:
    for number in range(first, first + count):
        record = ShardRecord(f"data/{number:05d}.parquet", "train", 11, 1, "0")
        yield ShardResult(record, ("a/x",), 1, {"1": 11})


def test_everything_added_is_saved_after_the_block(tmp_path: Path) -> None:
    start = Manifest("dataset", {"seed": 1}).with_shards(results(0, 2))
    with ManifestWriter(str(tmp_path), start, Manifest.with_shards) as writer:
        for result in results(2, 5):
            writer.add(result)
        assert not (tmp_path / "manifest.json").exists()
    assert load_manifest(str(tmp_path)) == writer.save() == start.with_shards(results(2, 5))


def test_what_is_finished_is_saved_when_the_block_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        ManifestWriter(str(tmp_path), Manifest("dataset", {}), Manifest.with_shards) as writer,
    ):
        writer.add(next(results(0, 1)))
        raise KeyboardInterrupt
    assert len(load_manifest(str(tmp_path)).shards) == 1


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    with ManifestWriter(str(tmp_path), Manifest("dataset", {}), Manifest.with_shards):
        pass
    assert not list(tmp_path.iterdir())


def test_saves_take_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that stands still but for saves, which take longer the more there is to save."""
    now = 0.0
    saves: list[float] = []

    def save(manifest: Manifest, dataset: str) -> None:
        nonlocal now
        saves.append(now)
        now += 0.01 * len(manifest.shards)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(Manifest, "save", save)
    writer = ManifestWriter(str(tmp_path), Manifest("dataset", {}), Manifest.with_shards)
    for result in results(0, 2000):
        now += 0.5
        writer.add(result)
    writing = now - 2000 * 0.5
    assert len(saves) > 5
    assert writing <= 1.1 * manifest_writer.SHARE_OF_TIME * now
