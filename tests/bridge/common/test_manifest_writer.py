from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.common import manifest_writer, storage
from bridge.common.manifest_writer import ManifestWriter
from bridge.dataset.manifest import Manifest, ShardResult, load_manifest
from bridge.dataset.shards import ShardRecord


def results(first: int, count: int) -> Iterator[ShardResult]:
    for number in range(first, first + count):
        record = ShardRecord(f"data/{number:05d}.parquet", "train", 11, 1, "0")
        yield ShardResult(record, ("a/x",), 1, {"1": 11})


def writing(folder: Path, start: Manifest) -> ManifestWriter[Manifest]:
    return ManifestWriter(str(folder), start, Manifest.with_shards, start.blank())


def test_everything_added_is_saved_after_the_block(tmp_path: Path) -> None:
    start = Manifest("dataset", {"seed": 1}).with_shards(results(0, 2))
    with writing(tmp_path, start) as writer:
        for result in results(2, 5):
            writer.add(result)
        assert not (tmp_path / "manifest.json").exists()
    assert load_manifest(str(tmp_path)) == writer.save() == start.with_shards(results(2, 5))


def test_what_is_finished_is_saved_when_the_block_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        writing(tmp_path, Manifest("dataset", {})) as writer,
    ):
        writer.add(next(results(0, 1)))
        raise KeyboardInterrupt
    assert len(load_manifest(str(tmp_path)).shards) == 1


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    with writing(tmp_path, Manifest("dataset", {})):
        pass
    assert not list(tmp_path.iterdir())


def test_saves_take_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that stands still but for saves, which take longer the more there is to save."""
    now = 0.0
    saves: list[float] = []

    def save(manifest: Manifest, dataset: str, file: str = "manifest.json") -> None:
        nonlocal now
        now += 0.01 * len(manifest.shards)
        if file == "manifest.json":
            saves.append(now)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(Manifest, "save", save)
    writer = writing(tmp_path, Manifest("dataset", {}))
    for result in results(0, 2000):
        now += 0.5
        writer.add(result)
    taken = now - 2000 * 0.5
    assert len(saves) > 5
    assert taken <= 1.1 * 2 * manifest_writer.SHARE_OF_TIME * now


def noted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A folder as a kill leaves it: two shards in the manifest, four in notes, one in neither."""
    start = Manifest("dataset", {"seed": 1}).with_shards(results(0, 2))
    start.save(str(folder))
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[-1])
    writer = writing(folder, start)
    # As long as a manifest of a million shards would leave it alone.
    writer._next_save = 1e9
    for number, seconds in enumerate((0.0, 3.0, 3.5, 6.0, 6.5), start=2):
        clock.append(seconds)
        writer.add(next(results(number, 1)))
    return start


def test_between_saves_what_is_new_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = noted(tmp_path, monkeypatch)
    assert len(list(tmp_path.glob(".manifest-*"))) == 2
    assert load_manifest(str(tmp_path)) == start.with_shards(results(2, 4))


def test_what_is_noted_goes_into_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted(tmp_path, monkeypatch)
    found = load_manifest(str(tmp_path))
    with writing(tmp_path, found):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert load_manifest(str(tmp_path)) == found


def test_notes_of_another_dataset_are_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted(tmp_path, monkeypatch)
    other = Manifest("dataset", {"seed": 2})
    other.save(str(tmp_path))
    assert load_manifest(str(tmp_path)) == other
    with writing(tmp_path, other) as writer:
        writer.add(next(results(9, 1)))
    assert [*load_manifest(str(tmp_path)).shards] == ["data/00009.parquet"]
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_kill_while_notes_are_removed_leaves_none_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = noted(tmp_path, monkeypatch)
    removed: list[str] = []
    delete = storage.delete

    def killed_at_the_second(path: str) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(path)
        delete(path)

    found = load_manifest(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt), writing(tmp_path, found):
            pass
    assert len(list(tmp_path.glob(".manifest-*"))) == 1
    with writing(tmp_path, load_manifest(str(tmp_path))):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert load_manifest(str(tmp_path)) == start.with_shards(results(2, 4))
