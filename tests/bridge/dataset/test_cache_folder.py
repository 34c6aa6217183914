from __future__ import annotations

import mmap
import multiprocessing
import os
import shutil
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge.common.errors import Failed, InputError
from bridge.dataset import cache_folder
from bridge.dataset.cache_folder import make_room, map_file, most_bytes, only_writer

SPAWN = multiprocessing.get_context("spawn")
SIZE = 1000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches 0, 1 and 2, in the order of their last use, where four fit."""
    monkeypatch.setenv("BRIDGE_CACHE_GB", str(4 * SIZE / 1e9))
    for number in range(3):
        path = cache_path(tmp_path, number)
        path.write_bytes(bytes([number]) * SIZE)
        os.utime(path, (number, number))
    return tmp_path


def cache_path(folder: Path, number: int) -> Path:
    """Where a cache of that number is."""
    return folder / f"{number:016x}-{number:016x}.arrow"


def left(folder: Path) -> list[int]:
    """Numbers of the caches that are there."""
    return [number for number in range(3) if cache_path(folder, number).exists()]


def free_bytes(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let the disk have only so much."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


@pytest.mark.parametrize(
    ("needed", "kept"),
    [(SIZE, [0, 1, 2]), (SIZE + 1, [1, 2]), (2 * SIZE, [1, 2]), (3 * SIZE, [2]), (9 * SIZE, [])],
)
def test_the_longest_unused_go_first(folder: Path, needed: int, kept: list[int]) -> None:
    removed = 3 - len(kept)
    assert make_room(folder, needed) == (removed, removed * SIZE)
    assert left(folder) == kept


def test_opening_is_use(folder: Path) -> None:
    with open_now(folder, 0):
        pass
    make_room(folder, 2 * SIZE)
    assert left(folder) == [0, 2]


def open_now(folder: Path, number: int) -> mmap.mmap:
    """A mapping of a cache, a context that ends it."""
    file = map_file(cache_path(folder, number))
    assert file is not None
    return file


def test_what_is_in_use_stays(folder: Path) -> None:
    file = map_file(cache_path(folder, 0))
    assert file is not None
    view = memoryview(file)[5:9]
    make_room(folder, 9 * SIZE)
    assert left(folder) == [0]
    # A view of the mapping keeps it, and the lock ends with it.
    del file
    make_room(folder, 9 * SIZE)
    assert left(folder) == [0]
    assert bytes(view) == bytes(4)
    del view
    make_room(folder, 9 * SIZE)
    assert left(folder) == []


def hold(path: Path, mapped: Event, end: Event) -> None:
    """Maps a file until it is told to end."""
    file = map_file(path)
    mapped.set()
    end.wait(60)
    assert file is not None and file[:] == bytes([0]) * SIZE


def test_what_another_process_uses_stays(folder: Path) -> None:
    mapped, end = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(cache_path(folder, 0), mapped, end))
    process.start()
    try:
        assert mapped.wait(60)
        make_room(folder, 9 * SIZE)
        assert left(folder) == [0]
    finally:
        end.set()
        process.join(60)
    assert process.exitcode == 0
    make_room(folder, 9 * SIZE)
    assert left(folder) == []


def test_a_mapped_file_without_a_name_is_readable(folder: Path) -> None:
    with open_now(folder, 2) as file:
        cache_path(folder, 2).unlink()
        assert file[:] == bytes([2]) * SIZE
    assert map_file(cache_path(folder, 2)) is None


def test_caches_go_where_the_disk_has_less_room_than_the_limit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_CACHE_GB", "50")
    free_bytes(monkeypatch, 2 * SIZE)
    assert make_room(folder, 2 * SIZE) == (0, 0)
    assert make_room(folder, 2 * SIZE + 1) == (1, SIZE)
    assert left(folder) == [1, 2]


def test_a_full_disk_is_an_error_that_removes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes(monkeypatch, 1_000_000)
    with open_now(folder, 0), pytest.raises(Failed) as error:
        make_room(folder, 2_999_100_000)
    assert str(error.value) == (
        f"The images of this dataset take 3.0 GB in {folder}, but 1.0 MB are free: make room "
        "there, or let the environment variable BRIDGE_CACHE name a folder on another disk."
    )
    assert left(folder) == [0, 1, 2]


def test_files_of_others_are_not_touched(folder: Path) -> None:
    others = [folder / name for name in ("photos.arrow", "photos.arrow.tmp-01234567", "x.tmp-1")]
    for path in others:
        path.write_bytes(b"")
    with only_writer(folder):
        make_room(folder, 9 * SIZE)
    assert left(folder) == []
    assert all(path.exists() for path in others)


def test_a_writer_removes_what_killed_ones_left(folder: Path) -> None:
    whole = cache_path(folder, 0)
    halves = [Path(f"{whole}.tmp-0123abcd"), whole.with_suffix(".tmp-0123abcd")]
    for path in halves:
        path.write_bytes(b"half")
    with only_writer(folder):
        assert not any(path.exists() for path in halves)
        assert left(folder) == [0, 1, 2]


@pytest.mark.parametrize("given", ["", "50", "0", "2.5", "inf"])
def test_limit(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_CACHE_GB", given)
    assert most_bytes() == float(given or 50) * 1e9


@pytest.mark.parametrize("given", ["-1", "nan", "ten"])
def test_a_wrong_limit_is_an_input_error(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_CACHE_GB", given)
    with pytest.raises(InputError, match=f"BRIDGE_CACHE_GB is '{given}'"):
        most_bytes()


def test_a_folder_that_cannot_be_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="BRIDGE_CACHE"), only_writer(tmp_path / "file" / "cache"):
        pass


def test_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_CACHE", "")
    assert cache_folder.cache_folder().name == f"bridge-cache-{os.getuid()}"
