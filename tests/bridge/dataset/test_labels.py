from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.dataset.shards import write_shard
from tests.factories import make_dataset, make_unlabelled, rewrite_shard


def test_labels_are_those_of_the_shards(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"train": 4, "test": 2}, trajectories=3)
    manifest = open_manifest(str(tmp_path))
    labels = read_labels(str(tmp_path), manifest, "train")
    assert len(labels) == 4 * 3 * 11
    assert len(labels.objects) == 4 and list(labels.objects) == sorted(labels.objects)
    for row in (0, 50, 131):
        name = f"{labels.objects[labels.object[row]]}/{labels.trajectory[row]:03d}"
        assert labels.image_id[row].as_py() == f"{name}/{labels.window[row]}"
    assert np.isfinite(labels.bbox).all()
    assert np.array_equal(np.ceil(labels.blur_severity * 10), labels.blur_level)
    assert labels.mean_opacity.dtype == np.float32
    np.testing.assert_allclose(labels.mean_opacity, 0.95 - labels.blur_severity, rtol=1e-6)


def test_taking_rows_keeps_everything_together(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"train": 4}, trajectories=3)
    labels = read_labels(str(tmp_path), open_manifest(str(tmp_path)), "train")
    rows = np.array([100, 2, 40])
    taken = labels.take(rows)
    assert taken.object_ids() == [labels.object_ids()[row] for row in rows]
    assert taken.image_id.to_pylist() == [labels.image_id[row].as_py() for row in rows.tolist()]
    assert np.array_equal(taken.mean_opacity, labels.mean_opacity[rows])
    assert len(set(taken.mean_opacity)) > 1
    everything = labels.read_images()
    assert taken.read_images() == [everything[row] for row in rows]


def test_labels_that_older_shards_lack_are_unknown(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"train": 2}, trajectories=2)
    manifest = open_manifest(str(tmp_path))
    (path,) = manifest.shards
    table = pq.read_table(tmp_path / path)
    # One shard from before the column, and one from after it.
    write_shard(str(tmp_path), path, "train", table.drop_columns(["mean_opacity"]))
    newer = replace(manifest.shards[path].record, path="data/train-new.parquet")
    write_shard(str(tmp_path), newer.path, "train", table)
    both = manifest.with_shards([replace(manifest.shards[path], record=newer)])
    labels = read_labels(str(tmp_path), both, "train")
    old = labels.shard == labels.shards.index(path)
    assert old.sum() == (~old).sum() == 44
    assert np.isnan(labels.mean_opacity[old]).all()
    assert np.array_equal(labels.mean_opacity[~old], table["mean_opacity"].to_numpy())
    assert np.array_equal(labels.blur_severity[old], labels.blur_severity[~old])


def test_a_split_that_is_not_there_is_empty(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"train": 1}, trajectories=2)
    labels = read_labels(str(tmp_path), open_manifest(str(tmp_path)), "validation")
    assert len(labels) == 0 and labels.objects == () and labels.bbox.shape == (0, 4)
    assert labels.mean_opacity.dtype == np.float32


def test_unlabelled_images_have_no_object_and_no_level(tmp_path: Path) -> None:
    manifest = make_unlabelled(tmp_path)
    assert manifest.counts()["real"] == {
        "rows": 66,
        "objects": 0,
        "trajectories": 0,
        "by_blur_level": {"0": 66},
    }
    labels = read_labels(str(tmp_path), open_manifest(str(tmp_path)), "real")
    assert labels.objects == () and labels.object_ids() == [None] * 66
    assert (labels.object == -1).all() and (labels.blur_level == 0).all()
    assert not labels.has_level.any()
    assert (labels.take(np.array([3, 1])).object == -1).all()


def test_some_images_of_a_shard_may_be_unlabelled(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path, {"real": 2}, trajectories=2)
    (shard,) = manifest.shards.values()

    def forget(rows: list[dict]) -> None:
        rows[0] |= {"object_id": None, "blur_level": None}
        rows[1]["blur_level"] = None

    changed = manifest.with_shards([rewrite_shard(shard, tmp_path, forget)])
    labels = read_labels(str(tmp_path), changed, "real")
    assert labels.object_ids()[:2] == [None, labels.objects[0]]
    assert labels.has_level.tolist() == [False, False] + [True] * 42
    taken = labels.take(np.array([43, 0, 1]))
    assert taken.object_ids() == [labels.objects[1], None, labels.objects[0]]
