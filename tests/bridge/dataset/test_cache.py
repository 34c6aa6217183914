from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bridge.common.errors import InputError
from bridge.dataset import cache
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import open_manifest
from tests.bridge.dataset.cache_processes import (
    SECONDS,
    caches,
    open_after,
    open_stuck,
    open_together,
    open_with_small_files,
    opened,
)
from tests.factories import make_dataset
from tests.waiting import wait_until

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRIDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "ROWS_PER_BATCH", 50)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of 275 training images."""
    path = tmp_path_factory.mktemp("dataset")
    make_dataset(path, {"train": 5, "test": 1}, trajectories=5)
    return str(path)


@pytest.fixture
def start() -> Iterator[Callable[..., SpawnProcess]]:
    """Starts a function in a process of its own, which ends with the test."""
    processes = []

    def started(function: Callable[..., None], *args: Any) -> SpawnProcess:
        process = SPAWN.Process(target=function, args=args)
        process.start()
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.join()


def test_cache_holds_the_selection_in_its_order(dataset: str, folder: Path) -> None:
    manifest = open_manifest(dataset)
    labels = read_labels(dataset, manifest, "train")
    selection = labels.take(np.random.default_rng(0).permutation(len(labels))[:120])
    images = cache.open_cache(selection, manifest.content_hash)
    assert len(images) == 120
    assert [images[i] for i in range(120)] == selection.read_images()
    # Another selection is another file; the same one is not written again.
    before = {p: p.stat().st_ino for p in caches(folder)}
    cache.open_cache(selection, manifest.content_hash)
    assert {p: p.stat().st_ino for p in caches(folder)} == before
    cache.open_cache(selection.take(np.arange(10)), manifest.content_hash)
    assert len(caches(folder)) == 2


def test_the_name_of_a_cache_does_not_change(dataset: str, folder: Path) -> None:
    """Nodes keep their caches from one version to the next."""
    labels = read_labels(dataset, open_manifest(dataset), "train").take(np.array([3, 1]))
    cache.open_cache(labels, "0123456789abcdef0123")
    assert [path.name for path in caches(folder)] == ["0123456789abcdef-467980719bf86ecd.arrow"]


def test_it_says_once_what_it_does(
    dataset: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(dataset)
    copying, copied = capsys.readouterr().out.splitlines()
    assert copying == f"images: copying 275 images (0.5 MB) to {folder}, once for this node"
    assert re.fullmatch(r"images: copied 275 images \(0.5 MB\) in 0:00:\d\d", copied)
    opened(dataset)
    assert capsys.readouterr().out == ""


def test_a_failed_write_leaves_no_cache(tmp_path: Path, folder: Path) -> None:
    manifest = make_dataset(tmp_path / "data", {"train": 2}, trajectories=5)
    labels = read_labels(str(tmp_path / "data"), manifest, "train")
    shard = tmp_path / "data" / labels.shards[0]
    whole = shard.read_bytes()
    for damaged in (whole[:-100], b"PAR1" + bytes(len(whole) // 2) + whole[len(whole) // 2 + 4 :]):
        shard.write_bytes(damaged)
        with pytest.raises((ValueError, OSError)):
            cache.open_cache(labels, manifest.content_hash)
        assert caches(folder) == []
    shard.write_bytes(whole)
    assert len(cache.open_cache(labels, manifest.content_hash)) == len(labels)


@pytest.mark.parametrize("left", [0, 8, 1000])
def test_a_file_cut_short_by_a_crash_is_made_again(dataset: str, folder: Path, left: int) -> None:
    opened(dataset)
    (path,) = caches(folder)
    os.truncate(path, left)
    labels, images = opened(dataset)
    assert [images[i] for i in range(len(images))] == labels.read_images()


def test_a_file_whose_bits_have_changed_is_made_again(dataset: str, folder: Path) -> None:
    labels, _ = opened(dataset)
    (path,) = caches(folder)
    whole = path.read_bytes()
    # Arrow calls what it cannot make sense of an error of the disk.
    path.write_bytes(whole[:300] + whole[307:])
    opened(dataset)
    for place in np.random.default_rng(0).integers(0, len(whole), 20).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        _, images = opened(dataset)
        assert [images[i] for i in range(len(images))] == labels.read_images()
        del images


def test_a_shard_that_is_not_the_one_of_the_manifest_is_refused_unless_it_is_trusted(
    tmp_path: Path, folder: Path
) -> None:
    manifest = make_dataset(tmp_path, {"train": 2}, trajectories=2)
    labels = read_labels(str(tmp_path), manifest, "train")
    shard = tmp_path / labels.shards[0]
    picture = labels.read_images()[5]
    place = shard.read_bytes().index(picture) + len(picture) // 2
    with open(shard, "r+b") as file:
        file.seek(place)
        file.write(bytes([picture[len(picture) // 2] ^ 1]))
    # Nothing else shows that a bit of a picture has changed.
    assert read_labels(str(tmp_path), manifest, "train").read_images()[5] != picture
    with pytest.raises(InputError, match="not the file that its manifest names"):
        cache.open_cache(labels, manifest.content_hash)
    assert caches(folder) == []
    assert len(cache.open_cache(labels, manifest.content_hash, check=False)) == len(labels)


def test_labels_that_were_read_otherwise_are_another_selection(dataset: str, folder: Path) -> None:
    labels, _ = opened(dataset)
    levels = labels.blur_level.copy()
    levels[7] += 1
    cache.open_cache(replace(labels, blur_level=levels), "0123456789abcdef")
    assert len(caches(folder)) == 2


def test_few_batches_are_in_memory(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROWS_PER_BATCH", 10)
    monkeypatch.setattr(cache, "THREADS", 3)
    read, taken = [], 0

    def read_images(part: Labels) -> list[bytes]:
        read.append(len(part))
        return [b""] * len(part)

    monkeypatch.setattr(Labels, "read_images", read_images)
    labels = read_labels(dataset, open_manifest(dataset), "train")
    for images in cache._read(labels):
        taken += len(images)
        most = min(taken + 3 * 10, len(labels))
        wait_until(lambda most=most: sum(read) >= most)  # type: ignore[misc]
        assert sum(read) == most
    assert taken == len(labels)


def test_processes_of_a_node_make_one_copy(
    dataset: str,
    folder: Path,
    start: Callable[..., SpawnProcess],
    capfd: pytest.CaptureFixture[str],
) -> None:
    barrier, inodes = SPAWN.Barrier(4), SPAWN.Queue()
    processes = [start(open_together, dataset, barrier, inodes) for _ in range(4)]
    for process in processes:
        process.join(SECONDS)
        assert process.exitcode == 0
    assert len({inodes.get(timeout=SECONDS) for _ in processes}) == 1
    assert capfd.readouterr().out.count("images: copying") == 1


def test_after_a_killed_writer_the_next_one_begins_anew(
    dataset: str, folder: Path, start: Callable[..., SpawnProcess]
) -> None:
    killed = start(open_stuck, dataset)
    wait_until(lambda: folder.exists() and any(p.stat().st_size > 50_000 for p in caches(folder)))
    (half,) = caches(folder)
    ready = SPAWN.Event()
    waiting = start(open_after, dataset, ready)
    assert ready.wait(SECONDS)
    assert waiting.is_alive() and caches(folder) == [half]
    killed.kill()
    waiting.join(SECONDS)
    assert waiting.exitcode == 0
    (whole,) = caches(folder)
    assert whole.suffix == ".arrow"


def test_a_disk_that_fills_up_while_writing(
    dataset: str, folder: Path, start: Callable[..., SpawnProcess]
) -> None:
    messages = SPAWN.Queue()
    start(open_with_small_files, dataset, messages)
    message = messages.get(timeout=SECONDS)
    assert f"0.5 MB in {folder}, but file too large: make room" in message
    assert "BRIDGE_CACHE" in message
    assert caches(folder) == []


def test_images_are_views_of_their_bytes() -> None:
    whole = pa.array([b"zero", b"one", b"", b"three", b"four"])
    images = cache.ImageCache([whole.slice(1, 3), whole.slice(0, 1), pa.array([b"", b""])])
    assert [bytes(images[row]) for row in range(len(images))] == [
        b"one",
        b"",
        b"three",
        b"zero",
        b"",
        b"",
    ]
    assert isinstance(images[0], memoryview)
    for row in (-1, 6):
        with pytest.raises(IndexError, match=str(row)):
            images[row]
