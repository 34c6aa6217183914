from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from bridge.errors import InputError
from bridge.simulator.catalogue import ObjectEntry, procedural_objects, scan_meshes
from bridge.simulator.mesh import MeshError
from bridge.simulator.procedural import FAMILIES


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a mesh")


def test_files_become_objects_in_order(tmp_path: Path) -> None:
    touch(
        tmp_path, "b/two.OBJ", "b/one.glb", "a/three.glb", "a/note.txt", "stray.glb", "a/x/deep.glb"
    )
    entries = scan_meshes(tmp_path)
    assert [entry.object_id for entry in entries] == ["a/three", "b/one", "b/two"]
    assert [entry.category for entry in entries] == ["a", "b", "b"]
    with pytest.raises(MeshError):
        entries[0].load()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a/one.glb", "a/one.obj")
    with pytest.raises(InputError, match=r"one\.glb and .*one\.obj"):
        scan_meshes(tmp_path)


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        scan_meshes(tmp_path / "absent")
    touch(tmp_path, "a/readme.txt")
    with pytest.raises(InputError, match="holds no"):
        scan_meshes(tmp_path)


def test_real_meshes_are_found(shared_assets: Path) -> None:
    entries = scan_meshes(shared_assets / "meshes")
    assert len(entries) == len({entry.object_id for entry in entries}) == 890
    assert len({entry.category for entry in entries}) == 55


def test_procedural_objects_are_numbered_per_family() -> None:
    entries = procedural_objects(2, seed=7, first=3)
    assert len(entries) == 2 * len(FAMILIES)
    assert [entry.object_id for entry in entries][:2] == ["bowl/00003", "bowl/00004"]
    assert entries == sorted(entries, key=lambda entry: entry.object_id)


def test_an_entry_is_small_and_loads_the_same_anywhere() -> None:
    entry = procedural_objects(1, seed=1)[4]
    data = pickle.dumps(entry)
    copy: ObjectEntry = pickle.loads(data)
    assert len(data) < 500
    assert np.array_equal(copy.load().vertices, entry.load().vertices)
