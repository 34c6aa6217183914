from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bridge.dataset import cache
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from tests.factories import make_dataset


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRIDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "ROWS_PER_BATCH", 50)
    return tmp_path / "cache"


def test_cache_holds_the_selection_in_its_order(tmp_path: Path, folder: Path) -> None:
    manifest = make_dataset(tmp_path / "data", {"train": 3, "test": 1}, trajectories=5)
    labels = read_labels(str(tmp_path / "data"), open_manifest(str(tmp_path / "data")), "train")
    selection = labels.take(np.random.default_rng(0).permutation(len(labels))[:120])
    images = cache.open_cache(selection, manifest.content_hash)
    assert len(images) == 120
    assert [images[i] for i in range(120)] == selection.read_images()
    # Another selection is another file; the same one is not written again.
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    cache.open_cache(selection, manifest.content_hash)
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    cache.open_cache(selection.take(np.arange(10)), manifest.content_hash)
    assert len(list(folder.iterdir())) == 2


def test_a_failed_write_leaves_no_cache(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = make_dataset(tmp_path / "data", {"train": 2}, trajectories=5)
    labels = read_labels(str(tmp_path / "data"), manifest, "train")
    shard = tmp_path / "data" / labels.shards[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(ValueError):
        cache.open_cache(labels, manifest.content_hash)
    assert list(folder.iterdir()) == []
    shard.write_bytes(whole)
    assert len(cache.open_cache(labels, manifest.content_hash)) == len(labels)


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
