from __future__ import annotations

from pathlib import Path

import numpy as np

from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from tests.factories import make_dataset


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


def test_taking_rows_keeps_everything_together(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"train": 4}, trajectories=3)
    labels = read_labels(str(tmp_path), open_manifest(str(tmp_path)), "train")
    rows = np.array([100, 2, 40])
    taken = labels.take(rows)
    assert taken.object_ids() == [labels.object_ids()[row] for row in rows]
    assert taken.image_id.to_pylist() == [labels.image_id[row].as_py() for row in rows.tolist()]
    everything = labels.read_images()
    assert taken.read_images() == [everything[row] for row in rows]


def test_a_split_that_is_not_there_is_empty(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"train": 1}, trajectories=2)
    labels = read_labels(str(tmp_path), open_manifest(str(tmp_path)), "validation")
    assert len(labels) == 0 and labels.objects == () and labels.bbox.shape == (0, 4)
