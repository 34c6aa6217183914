from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.simulator.meshes.mesh import MeshError
from bridge.simulator.objects.catalogue import (
    ObjectEntry,
    procedural_objects,
    scan_meshes,
    select_categories,
)
from bridge.simulator.objects.procedural import FAMILIES


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a mesh")


def test_files_become_objects_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/two.OBJ", "b/one.glb", "a/four 4.gltf", "a/note.txt", "stray.glb")
    touch(tmp_path, "a/three/x/deep.glb", "a/four 4/scene.bin", "a/.hidden.glb", "__MACOSX/c.glb")
    entries = scan_meshes(tmp_path)
    known = [entry for entry in entries if entry.category in "ab"]
    assert [entry.object_id for entry in known] == ["a/four 4", "a/three", "b/one", "b/two"]
    (stray,) = set(entries) - set(known)
    assert stray.object_id == f"{tmp_path.name}/stray"
    entries = known
    assert entries[1].path == str(tmp_path / "a/three/x/deep.glb")
    with pytest.raises(MeshError):
        entries[0].load()


def only_path(root: Path) -> str:
    (entry,) = scan_meshes(root)
    assert entry.path is not None
    return Path(entry.path).relative_to(root).as_posix()


def test_of_one_name_the_format_decides(tmp_path: Path) -> None:
    for name in ("one.obj", "one.gltf", "one.GLB"):
        touch(tmp_path, f"a/{name}", f"b/x/{name}")
        chosen = {entry.object_id: entry.path for entry in scan_meshes(tmp_path)}
        assert chosen == {
            "a/one": str(tmp_path / "a" / name),
            "b/x": str(tmp_path / "b/x" / name),
        }


def test_only_textured_models_of_shapenet_count(tmp_path: Path) -> None:
    touch(tmp_path, "taxonomy.json", "02691156/no_mesh/images/a.jpg", "03001627/plain/models/x.txt")
    for model in ("02691156/b2", "02691156/a1", "03001627/c3", "03001627/plain"):
        touch(tmp_path, f"{model}/models/model_normalized.obj", f"{model}/models/other.obj")
    for model in ("02691156/b2", "02691156/a1", "03001627/c3"):
        touch(tmp_path, f"{model}/images/texture0.jpg")
    entries = scan_meshes(tmp_path)
    assert [entry.object_id for entry in entries] == ["02691156/a1", "02691156/b2", "03001627/c3"]
    assert entries[0].category == "02691156"
    assert entries[0].path == str(tmp_path / "02691156/a1/models/model_normalized.obj")
    assert scan_meshes(tmp_path / "02691156") == entries[:2]


def test_google_scanned_objects_with_and_without_categories(tmp_path: Path) -> None:
    for root in ("gso", "sorted/shoes"):
        for name in ("Boot_1", "Boot_2"):
            touch(tmp_path, f"{root}/{name}/meshes/model.obj", f"{root}/{name}/meshes/model.mtl")
            touch(tmp_path, f"{root}/{name}/materials/textures/texture.png")
    flat, by_category = scan_meshes(tmp_path / "gso"), scan_meshes(tmp_path / "sorted")
    assert [entry.object_id for entry in flat] == ["gso/Boot_1", "gso/Boot_2"]
    assert [entry.object_id for entry in by_category] == ["shoes/Boot_1", "shoes/Boot_2"]
    assert flat[0].path == str(tmp_path / "gso/Boot_1/meshes/model.obj")


def test_a_flat_folder_is_one_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "things/a.glb", "things/b.glb")
    monkeypatch.chdir(tmp_path / "things")
    assert [entry.object_id for entry in scan_meshes(".")] == ["things/a", "things/b"]


def test_of_two_meshes_the_least_deep_and_first_counts(tmp_path: Path) -> None:
    touch(tmp_path, "a/one/sub/deep.glb", "a/one/y.glb")
    assert only_path(tmp_path) == "a/one/y.glb"
    touch(tmp_path, "a/one/x.obj")
    assert only_path(tmp_path) == "a/one/x.obj"
    touch(tmp_path, "a/one.glb")
    assert only_path(tmp_path) == "a/one.glb"


def test_a_name_that_cannot_be_an_id_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/two\nlines.glb", "a\nb/x.glb", "a/one.glb", "a/two\tparts/x.glb")
    assert only_path(tmp_path) == "a/one.glb"
    touch(tmp_path / "odd\nroot", "x.glb")
    with pytest.raises(InputError, match="cannot be part of an id"):
        scan_meshes(tmp_path / "odd\nroot")


def test_objects_beside_categories_are_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "things"
    touch(root, "a/one.glb", "two.glb", "three/meshes/model.obj", "things/four.glb")
    ids = [entry.object_id for entry in scan_meshes(root)]
    assert ids == ["a/one", "things/four", "things/three", "things/two"]
    touch(root, "things/two.obj")
    with pytest.raises(InputError, match=r"two\.obj and .*two\.glb would be .*things/two"):
        scan_meshes(root)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(1, 4)), st.data())
def test_the_largest_categories_are_selected(sizes: dict[str, int], data: st.DataObject) -> None:
    entries = [ObjectEntry(f"{c}/{i}", c) for c in sorted(sizes) for i in range(sizes[c])]
    number = data.draw(st.integers(0, len(sizes)))
    chosen = select_categories(entries, number)
    names = {entry.category for entry in chosen}
    assert chosen == [entry for entry in entries if entry.category in names]
    assert len(names) == number
    for left_out in sizes.keys() - names:
        assert all((-sizes[name], name) < (-sizes[left_out], left_out) for name in names)
    with pytest.raises(InputError, match=f"{len(sizes)} categories"):
        select_categories(entries, len(sizes) + 1)


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


def test_a_collection_from_one_level_too_high_is_refused(tmp_path: Path) -> None:
    for category in ("box", "cup", "jar"):
        folder = tmp_path / "collection" / category
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.glb").touch()
    assert len(scan_meshes(tmp_path / "collection")) == 9
    with pytest.raises(InputError, match="one level down"):
        scan_meshes(tmp_path)
