"""Meshes and photos are read from a store as they are from a disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.common import storage
from bridge.common.errors import StoreError
from bridge.common.files import Folders
from bridge.common.places import StoredPath, folders_in, place, sizes_of
from bridge.dataset.photo_listing import list_photos, without_duplicates
from bridge.dataset.photos import cut_shards, make_photo_shard
from bridge.simulator.background import PhotoBackgrounds
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.objects.catalogue import read_collection
from pipelines.search import picture_paths
from tests.s3.server import READER, Proxy, environment

pytestmark = pytest.mark.xdist_group("s3")

CUBE = """mtllib cube.mtl
v 0 0 0
v 1 0 0
v 0 1 0
v 0 0 1
vt 0 0
vt 1 0
vt 0 1
usemtl skin
f 1/1 2/2 3/3
f 1/1 3/2 4/3
f 1/1 4/2 2/3
f 2/1 4/2 3/3
"""


def upload(folder: Path, uri: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            storage.write_bytes(f"{uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def draw(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(colour).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def meshes(tmp_path: Path, s3_folder: str) -> Path:
    """Meshes as they lie about: with materials and pictures here and there, and a ShapeNet one."""
    folder = tmp_path / "meshes"
    for name, picture in (("a", "a.png"), ("b", "../pictures/skin.png"), ("c", "C:\\x\\Skin.PNG")):
        place = folder / "things" / name
        place.mkdir(parents=True)
        (place / "scene.obj").write_text(CUBE)
        (place / "cube.mtl").write_text(f"newmtl skin\nmap_Kd {picture}\n")
    draw(folder / "things" / "a" / "a.png", 1)
    draw(folder / "things" / "pictures" / "skin.png", 2)
    draw(folder / "things" / "c" / "textures" / "skin.png", 3)
    shapenet = folder / "02691156" / "a1"
    (shapenet / "models").mkdir(parents=True)
    (shapenet / "models" / "model_normalized.obj").write_text(CUBE)
    (shapenet / "models" / "cube.mtl").write_text("newmtl skin\nmap_Kd ../images/t.jpg\n")
    draw(shapenet / "images" / "t.jpg", 4)
    (folder / ".hidden").write_text("")
    upload(folder, f"{s3_folder}/meshes")
    return folder


def test_meshes(meshes: Path, s3_proxy: Proxy, s3_folder: str) -> None:
    here, there = read_collection(meshes), read_collection(f"{s3_folder}/meshes")
    assert here.passed_over == there.passed_over
    assert [entry.object_id for entry in there.entries] == [e.object_id for e in here.entries]
    assert len(here.entries) == 4
    for one, other in zip(here.entries, there.entries, strict=True):
        mine, yours = one.load(), other.load()
        assert mine.adjusted == yours.adjusted
        np.testing.assert_array_equal(mine.vertices, yours.vertices)
        np.testing.assert_array_equal(mine.texels, yours.texels)
        assert len(mine.mips) == 1
    paths = [str(entry.path) for entry in there.entries]
    assert sizes_of(paths) == sizes_of([str(entry.path) for entry in here.entries])
    with pytest.raises(FileNotFoundError, match="none.obj"):
        sizes_of([*paths, f"{s3_folder}/meshes/none.obj"])


def test_a_store_that_refuses_is_no_fault_of_the_mesh(
    meshes: Path, s3_folder: str, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment((READER[0], "wrong"), s3_proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="credentials"):
        load_mesh(f"{s3_folder}/meshes/things/a/scene.obj")


def test_photos(tmp_path: Path, s3_folder: str) -> None:
    photos = tmp_path / "photos"
    for number in range(6):
        draw(photos / f"object{number % 2}" / f"{number} ü.png", number)
    draw(photos / "object0" / "again.png", 0)
    (photos / "object0" / "torn.jpg").write_bytes(b"torn")
    (photos / "notes.txt").write_text("")
    root = f"{s3_folder}/photos"
    upload(photos, root)
    columns = ["path", "size", "object_id", "trajectory"]
    here, there = (without_duplicates(f, list_photos(f, "auto")) for f in (str(photos), root))
    assert there.table.select(columns) == here.table.select(columns) and len(there) == 7
    assert (there.rejections, there.passed_over) == (here.rejections, here.passed_over)
    results = [
        make_photo_shard(cut_shards(listing.table)[0], f, str(tmp_path / name))
        for listing, f, name in ((here, str(photos), "here"), (there, root, "there"))
    ]
    assert results[0] == results[1]
    assert [rejection.item for rejection in results[0].rejections] == ["object0/torn.jpg"]


def test_backgrounds(tmp_path: Path, s3_folder: str) -> None:
    for number in range(8):
        draw(tmp_path / "photos" / str(number % 2) / f"{number}.png", number)
    upload(tmp_path / "photos", f"{s3_folder}/photos")
    here, there = (
        PhotoBackgrounds(folder, "dataset")
        for folder in (str(tmp_path / "photos"), f"{s3_folder}/photos/")
    )
    assert (there.names, there.sizes()) == (here.names, here.sizes()) and here.names
    one, other = (b.sample(np.random.default_rng(0), (24, 32)) for b in (here, there))
    assert one.background_id == other.background_id
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_folders_and_queries(tmp_path: Path, s3_folder: str) -> None:
    names = ["a/b/x.JPG", "a/y.jpg", ".a/z.jpg", "c.txt", "@eaDir/a.jpg", "10.jpg", "9.jpg"]
    for name in names:
        (tmp_path / "q" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "q" / name).write_bytes(b"1")
    root = f"{s3_folder}/q"
    upload(tmp_path / "q", root)
    here, there = Folders(tmp_path / "q", (".jpg",)), folders_in(root, (".jpg",))
    found = [path.removeprefix(f"{root}/") for path in there.files()]
    assert found == [str(Path(p).relative_to(tmp_path / "q")) for p in here.files()]
    assert there.summary() == here.summary()
    # The command line makes a `Path` of what it is given.
    pictures, passed_over = picture_paths([Path(root), Path(f"{root}/a/y.jpg")])
    assert [str(path) for path in pictures][:2] == [f"{root}/9.jpg", f"{root}/10.jpg"]
    assert pictures[-1].read_bytes() == b"1" and root in passed_over[0]


def test_paths_on_a_store(s3_folder: str) -> None:
    storage.write_bytes(f"{s3_folder}/a/b.txt", b"1")
    path = place(f"{s3_folder}/a/c/../b.txt")
    assert isinstance(path, StoredPath) and path.is_file() and path.exists()
    assert str(path) == f"{s3_folder}/a/b.txt" and path.parent.parent.is_dir() is False
    assert not (path.parent / "none").is_file() and place(f"{s3_folder}/a").is_dir()
    assert isinstance(place("/a/b"), Path)
