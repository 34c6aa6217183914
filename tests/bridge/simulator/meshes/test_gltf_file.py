from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from bridge.simulator.meshes.gltf_file import GltfFile
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.surface import MeshError
from tests.bridge.simulator.meshes.gltf_files import Gltf, packed


def separate(folder: Path, gltf: Gltf, uri: str | None) -> Path:
    """The file as .gltf, its buffer under a URI."""
    gltf.save(folder).unlink()
    gltf.header["buffers"] = [{"byteLength": len(gltf.data)}]
    if uri is not None:
        gltf.header["buffers"][0]["uri"] = uri
    path = folder / "a.gltf"
    path.write_text(json.dumps(gltf.header))
    return path


def whole() -> Gltf:
    gltf = Gltf()
    gltf.mesh()
    return gltf


def test_buffers_lie_beside_the_file_or_in_it(tmp_path: Path) -> None:
    gltf = whole()
    embedded = "data:application/octet-stream;base64," + base64.b64encode(gltf.data).decode()
    assert len(load_mesh(separate(tmp_path, gltf, embedded)).faces) == 2
    (tmp_path / "my data.bin").write_bytes(gltf.data)
    assert len(load_mesh(separate(tmp_path, gltf, "my%20data.bin")).faces) == 2
    with pytest.raises(MeshError, match=r"unreadable: its buffers\[0\] has no data"):
        load_mesh(separate(tmp_path, gltf, None))
    with pytest.raises(MeshError, match=r"unreadable: .*other\.bin is missing"):
        load_mesh(separate(tmp_path, gltf, "other.bin"))


def test_names_may_have_percent_signs_of_their_own(tmp_path: Path) -> None:
    gltf = whole()
    (tmp_path / "my%20data.bin").write_bytes(gltf.data)
    assert len(load_mesh(separate(tmp_path, gltf, "my%20data.bin")).faces) == 2


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = whole().save(tmp_path)
    assert len(load_mesh(path.rename(tmp_path / "b.gltf")).faces) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed({"asset": {"version": "1.0"}}, b"", version=1), r"it is glTF 1\.0"),
        (b'{"asset": {"version": "1.0"}, "meshes": {"a": {}}}', r"it is glTF 1\.0"),
        (b'{"meshes": {"a": {}}, "nodes": {"b": {}}}', r"it is glTF 1\.0"),
        (b'{"asset": {"version": "3.1"}}', r"it is glTF 3\.1"),
        (b'{"asset": {"version": "2.1", "minVersion": "2.1"}}', r"it is glTF 2\.1"),
        (b'{"asset": {"version": "2.1"}}', "no_faces"),
        (b'{"asset": {"version": 2}}', "'version' in its JSON is not a text"),
        (b"[1, 2]", "its JSON is not an object"),
        (b"{", "its JSON cannot be read"),
        (b"[" * 100_000, "its JSON cannot be read"),
        (b"glTF\2\0\0\0", "the file ends within its header"),
        (packed({}, b"1234")[:-4], "it has .* of its .* bytes"),
        (b"glTF\2\0\0\0\x18\0\0\0\4\0\0\0BIN\0abcd", "it has no JSON chunk"),
        (b"glTF\2\0\0\0\x18\0\0\0\5\0\0\0JSONabcd", "a chunk ends beyond the end"),
    ],
)
def test_what_is_not_gltf_2_says_what_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(content)
    with pytest.raises(MeshError, match=reason):
        load_mesh(path)


@pytest.mark.parametrize(
    "name",
    [
        "KHR_draco_mesh_compression",
        "EXT_meshopt_compression",
        "KHR_texture_basisu",
        "KHR_gaussian_splatting",
        "OF_someone",
    ],
)
def test_needed_extensions_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    gltf = whole()
    gltf.header["extensionsRequired"] = ["KHR_texture_transform", name]
    with pytest.raises(MeshError, match=f"unreadable: it needs the glTF extension {name}$"):
        load_mesh(gltf.save(tmp_path))


def test_extensions_without_an_effect_may_be_needed(tmp_path: Path) -> None:
    gltf = whole()
    gltf.header["extensionsRequired"] = ["KHR_materials_unlit", "KHR_lights_punctual"]
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 2


def test_compressed_views_are_read_where_they_are_also_stored_plainly(tmp_path: Path) -> None:
    gltf = whole()
    gltf.header["extensionsUsed"] = ["EXT_meshopt_compression"]
    compressed = {"buffer": 0, "byteLength": 4, "byteStride": 4, "count": 1, "mode": "ATTRIBUTES"}
    view = gltf.header["bufferViews"][0]
    view["extensions"] = {"EXT_meshopt_compression": compressed}
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 2
    fallback = {"EXT_meshopt_compression": {"fallback": True}}
    view["buffer"] = gltf.add("buffers", {"byteLength": 10**6, "extensions": fallback})
    with pytest.raises(MeshError, match="it needs the glTF extension EXT_meshopt_compression"):
        load_mesh(gltf.save(tmp_path))


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("bufferViews", {"byteLength": 10**9}, r"bufferViews\[0\] ends beyond its buffer"),
        ("bufferViews", {"byteOffset": -4}, r"bufferViews\[0\] ends beyond its buffer"),
        ("bufferViews", {"buffer": 5}, r"it has no buffers\[5\]"),
        ("bufferViews", {"buffer": "0"}, "'buffer' in its JSON is not a whole number"),
        ("bufferViews", {"byteLength": True}, "'byteLength' in its JSON is not a whole number"),
        ("nodes", {"mesh": -1}, r"it has no meshes\[-1\]"),
        ("nodes", {"mesh": None}, "'mesh' in its JSON is not a whole number"),
        ("nodes", {"scale": [1, 2]}, "'scale' in its JSON is not 3 numbers"),
        ("nodes", {"translation": [float("inf"), 0, 0]}, "'translation' .* is not 3 numbers"),
        ("nodes", {"children": ["1"]}, "'children' .* is not a list of whole numbers"),
        ("meshes", {"primitives": [5]}, "'primitives' .* is not a list of objects"),
        ("meshes", {"primitives": [{}]}, "a part of its JSON lacks 'attributes'"),
        ("materials", {"pbrMetallicRoughness": 7}, "is not an object"),
        ("materials", {"extensions": []}, "'extensions' in its JSON is not an object"),
        ("textures", {"source": 9}, r"it has no images\[9\]"),
        ("scenes", {"nodes": [3]}, r"it has no nodes\[3\]"),
    ],
)
def test_damage_is_told_in_a_sentence(tmp_path: Path, kind: str, change: dict, reason: str) -> None:
    gltf = whole()
    gltf.save(tmp_path)
    gltf.header[kind][0] |= change
    with pytest.raises(MeshError, match=f"^unreadable: .*{reason}"):
        load_mesh(gltf.save(tmp_path))


def test_pictures_come_from_views_and_files(tmp_path: Path) -> None:
    gltf = whole()
    (tmp_path / "a b.png").write_bytes(b"abc")
    gltf.add("images", {"uri": "a%20b.png"})
    gltf.add("images", {"uri": "data:image/png,%41bc"})
    file = GltfFile(gltf.save(tmp_path))
    assert file.picture(0).startswith(b"\x89PNG")
    assert [file.picture(number) for number in (1, 2)] == [b"abc", b"Abc"]
