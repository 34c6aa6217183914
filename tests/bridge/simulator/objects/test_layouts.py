from __future__ import annotations

from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.simulator.objects.catalogue import read_collection
from tests.bridge.simulator.objects.test_catalogue import touch


def ids(root: Path) -> list[str]:
    return [entry.object_id for entry in read_collection(root).entries]


def paths(root: Path) -> list[str]:
    entries = read_collection(root).entries
    return [Path(entry.path or "").relative_to(root).as_posix() for entry in entries]


@pytest.mark.parametrize(
    "mesh",
    [
        "scene.glb",
        "textured.obj",
        "{}.obj",
        "{}_2k.gltf",
        "anything.glb",
        "google_16k/textured.obj",
        "{}/glTF-Binary/{}.glb".removeprefix("{}/"),
        "source/x.glb",
        "meshes/model.obj",
    ],
)
@pytest.mark.parametrize("top", [False, True])
def test_a_folder_per_object_is_one_category(tmp_path: Path, mesh: str, top: bool) -> None:
    root = tmp_path / "ycb"
    names = [f"object_{number}" for number in range(4)]
    for name in names:
        touch(root, f"{name}/{mesh.format(*[name] * 2)}", f"{name}/textures/wood.png")
    assert ids(tmp_path if top else root) == [f"ycb/{name}" for name in names]


def test_several_resolutions_are_one_object(tmp_path: Path) -> None:
    root = tmp_path / "things"
    touch(root, "can/google_16k/textured.obj", "can/google_64k/textured.obj", "can/tsdf/t.obj")
    touch(root, "cup/cup_2k.gltf", "cup/cup_1k.gltf", "cup/cup_4k.glb")
    touch(root, "jar/nontextured.obj", "jar/textured.obj")
    touch(root, "duck/glTF/Duck.gltf", "duck/glTF-Draco/Duck.gltf")
    assert ids(root) == ["things/can", "things/cup", "things/duck", "things/jar"]
    assert paths(root) == [
        "can/google_16k/textured.obj",
        "cup/cup_1k.gltf",
        "duck/glTF/Duck.gltf",
        "jar/textured.obj",
    ]
    touch(tmp_path / "flat", "a/mug_high.glb", "a/mug_low.glb", "a/mug.obj", "a/pot_1k.glb")
    assert ids(tmp_path / "flat") == ["a/mug", "a/pot_1k"]
    assert "2 further meshes of an object" in read_collection(tmp_path / "flat").passed_over


def test_categories_stay_categories(tmp_path: Path) -> None:
    touch(tmp_path, "box/000.glb", "cup/000.glb", "jar/000.glb", "pot/one.glb", "tin/one.glb")
    touch(tmp_path, "bed/oak/scene.gltf", "bed/fir/scene.gltf", "bed/scene.glb")
    expected = ["bed/fir", "bed/oak", "bed/scene", "box/000", "cup/000", "jar/000"]
    assert ids(tmp_path) == [*expected, "pot/one", "tin/one"]


def test_folders_of_objects_from_one_level_too_high_are_refused(tmp_path: Path) -> None:
    for category in ("box", "cup", "jar"):
        for name in "abc":
            touch(tmp_path / "all", f"{category}/{name}/scene.glb")
    assert len(ids(tmp_path / "all")) == 9
    with pytest.raises(InputError, match="one level down"):
        ids(tmp_path)


def test_a_loop_of_links_gives_no_doubles(tmp_path: Path) -> None:
    root = tmp_path / "things"
    touch(root, "a/one.glb", "a/two.glb", "b/three.glb")
    for link, target in (("loop", "."), ("a/up", ".."), ("bb", "b"), ("c", "../far")):
        (root / link).symlink_to(target)
    touch(tmp_path, "far/four.glb")
    found = read_collection(root)
    # A folder outside keeps its own name, as its objects have it elsewhere.
    assert [e.object_id for e in found.entries] == ["a/one", "a/two", "b/three", "far/four"]
    assert found.passed_over == "3 linked folders that are there already"


def test_what_is_passed_over_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/one.glb", "a/._one.glb", "__MACOSX/a/one.glb", "a/two.fbx", "a/x.png")
    touch(tmp_path, "b/plain/models/model_normalized.obj", "b/deep/1/2/3/x.glb", "a/t\nx.glb")
    told = read_collection(tmp_path).passed_over
    assert told == (
        "1 ShapeNet models without images, 1 folders too deep, 2 hidden, "
        "1 with a name that cannot be printed, 1 of other types (.fbx)"
    )
    (tmp_path / "a/one.glb").unlink()
    with pytest.raises(InputError, match=r"holds no .*; passed over: .*\.fbx"):
        read_collection(tmp_path)


def test_the_layout_of_the_cases(shared_cases: Path) -> None:
    found = ids(shared_cases / "layout_one_folder_per_object")
    assert found == [f"layout_one_folder_per_object/object_{n:02d}" for n in range(12)]
