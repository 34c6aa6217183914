"""glTF files as trimesh writes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.surface import MeshError

CORNERS = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def half_clear() -> Image.Image:
    """Opaque above, of alpha 77 (0.3) below."""
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[4:, :, 3] = 77
    return Image.fromarray(pixels)


def square(**material: object) -> trimesh.Trimesh:
    uv = (CORNERS[:, :2] + 1) / 2
    pbr = PBRMaterial(**{"baseColorTexture": half_clear(), **material})
    return trimesh.Trimesh(CORNERS, FACES, visual=TextureVisuals(uv, material=pbr), process=False)


def saved(part: trimesh.Trimesh, folder: Path, change: Callable[[dict], None]) -> Path:
    """A .glb file whose header was changed."""
    data = part.export(file_type="glb")
    (size,) = struct.unpack_from("<I", data, 12)
    header = json.loads(data[20 : 20 + size])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    start = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    path = folder / "a.glb"
    path.write_bytes(start + text + rest)
    return path


@pytest.mark.parametrize(
    ("opacity", "holes"),
    [
        ({}, False),
        ({"alphaMode": "OPAQUE"}, False),
        ({"alphaMode": "MASK"}, True),
        ({"alphaMode": "MASK", "alphaCutoff": 0.25}, False),
        ({"alphaMode": "MASK", "alphaCutoff": 0.35}, True),
        ({"alphaMode": "BLEND"}, True),
    ],
)
def test_opacity_becomes_holes(tmp_path: Path, opacity: dict, holes: bool) -> None:
    def change(header: dict) -> None:
        header["materials"][0].pop("alphaMode", None)
        header["materials"][0] |= opacity

    mesh = load_mesh(saved(square(), tmp_path, change))
    assert mesh.face_cutout.tolist() == [holes] * 2
    assert (mesh.texels[:64, 3].reshape(8, 8)[4:] < 128).all() == holes
    assert (mesh.texels[:64, 3].reshape(8, 8)[:4] >= 128).all()


def test_opacity_of_the_colour_counts_against_the_cutoff(tmp_path: Path) -> None:
    def change(header: dict) -> None:
        material = header["materials"][0]
        material |= {"alphaMode": "MASK", "alphaCutoff": 0.2}
        material["pbrMetallicRoughness"]["baseColorFactor"] = [1, 1, 1, 0.5]

    assert load_mesh(saved(square(), tmp_path, change)).face_cutout.all()


def test_textures_may_be_shifted_scaled_and_turned(tmp_path: Path) -> None:
    def change(header: dict) -> None:
        texture = header["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
        options = {"offset": [0.25, 0.5], "scale": [2, 3], "rotation": np.pi / 2}
        texture["extensions"] = {"KHR_texture_transform": options}

    mesh = load_mesh(saved(square(), tmp_path, change))
    # With v pointing down, u' = 0.25 + 3 v and v' = 0.5 - 2 u.
    u, v = mesh.vertices[:, 0] > 0, mesh.vertices[:, 1] < 0
    assert mesh.uv[:, 0] == pytest.approx(0.25 + 3 * v)
    assert mesh.uv[:, 1] == pytest.approx(1 - (0.5 - 2 * u))


def test_diffuse_colour_of_specular_materials(tmp_path: Path) -> None:
    def change(header: dict) -> None:
        texture = header["materials"][0].pop("pbrMetallicRoughness")["baseColorTexture"]
        specular = {"diffuseTexture": texture, "diffuseFactor": [1, 0, 1, 1]}
        header["materials"][0]["extensions"] = {"KHR_materials_pbrSpecularGlossiness": specular}

    mesh = load_mesh(saved(square(), tmp_path, change))
    assert mesh.face_texture.tolist() == [0, 0]
    assert mesh.tint == pytest.approx(np.tile([1, 0, 1], (4, 1)))


def test_the_named_set_of_coordinates_is_used(tmp_path: Path) -> None:
    def change(header: dict) -> None:
        header["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["texCoord"] = 1
        attributes = header["meshes"][0]["primitives"][0]["attributes"]
        attributes["TEXCOORD_1"] = attributes.pop("TEXCOORD_0")

    assert load_mesh(saved(square(), tmp_path, change)).face_texture.tolist() == [0, 0]


def separate_files(folder: Path) -> Path:
    """A .gltf file with its buffers and two pictures beside it, one part for each picture."""
    other = square()
    other.apply_translation([0, 0, 1])
    other.visual.material.baseColorTexture = Image.new("RGB", (4, 4), (1, 2, 3))
    files = trimesh.Scene([square(), other]).export(file_type="gltf")
    header = json.loads(files.pop("model.gltf"))
    for i, image in enumerate(header["images"]):
        name = f"picture {i}.png"
        buffer = header["bufferViews"][image["bufferView"]]["buffer"]
        files[name] = files[f"gltf_buffer_{buffer}.bin"]
        header["images"][i] = {"uri": name.replace(" ", "%20")}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "a.gltf").write_text(json.dumps(header))
    return folder / "a.gltf"


def test_a_file_with_its_pictures_beside_it(tmp_path: Path) -> None:
    mesh = load_mesh(separate_files(tmp_path))
    assert sorted(mesh.face_texture.tolist()) == [0, 0, 1, 1]
    assert mesh.adjusted == ()


def test_missing_and_damaged_textures_are_recorded(tmp_path: Path) -> None:
    path = separate_files(tmp_path)
    gone = tmp_path / "picture 1.png"
    gone.unlink()
    mesh = load_mesh(path)
    assert sorted(mesh.face_texture.tolist()) == [-1, -1, 0, 0]
    assert mesh.adjusted == (("missing_texture", "picture 1.png"),)
    gone.write_bytes(b"not a picture")
    assert load_mesh(path).adjusted == (("missing_texture", "picture 1.png"),)


def test_a_missing_buffer_is_unreadable(tmp_path: Path) -> None:
    path = separate_files(tmp_path)
    (tmp_path / "gltf_buffer_0.bin").unlink()
    with pytest.raises(MeshError, match=r"unreadable: .*gltf_buffer_0\.bin"):
        load_mesh(path)
