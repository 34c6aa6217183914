from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from bridge.simulator.config import ObjectRule
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.meshes.surface import MeshError
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Subframe
from bridge.simulator.renderers.raster import RasterCanvas
from tests.bridge.simulator.meshes.gltf_files import Gltf

TOP, BOTTOM = [250, 10, 10], [10, 10, 250]
CORNERS = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def picture() -> Image.Image:
    """Red above, blue below."""
    return Image.fromarray(np.repeat(np.array([[TOP], [BOTTOM]], np.uint8), 8, axis=0))


def textured_square(**material: object) -> trimesh.Trimesh:
    uv = (CORNERS[:, :2] + 1) / 2
    pbr = PBRMaterial(baseColorTexture=picture(), **material)
    return trimesh.Trimesh(CORNERS, FACES, visual=TextureVisuals(uv, material=pbr), process=False)


def render(mesh: Mesh) -> np.ndarray:
    out = np.zeros((72, 72, 4), np.float32)
    frame = Subframe(np.eye(3), np.array([0, 0, -5]), (0, 0))
    RasterCanvas((72, 72)).accumulate(mesh, [frame], Lighting(), False, out)
    return out


def saved(part: trimesh.Trimesh | trimesh.Scene, folder: Path, name: str = "a.glb") -> Path:
    path = folder / name
    part.export(str(path))
    return path


def test_texture_is_the_right_way_up(tmp_path: Path) -> None:
    image = render(load_mesh(saved(textured_square(), tmp_path)))
    assert image[24, 36, 0] > 5 * image[24, 36, 2]
    assert image[48, 36, 2] > 5 * image[48, 36, 0]


def test_obj_with_a_material_file(tmp_path: Path) -> None:
    square = textured_square()
    square.visual.material = SimpleMaterial(image=picture())
    image = render(load_mesh(saved(square, tmp_path, "a.obj")))
    assert image[24, 36, 0] > 5 * image[24, 36, 2]
    assert image[48, 36, 2] > 5 * image[48, 36, 0]


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_scaled_parts_are_lit_like_others(tmp_path: Path, scale: float) -> None:
    square = textured_square()
    square.vertex_normals = np.tile([0.0, 0.0, 1.0], (4, 1))
    expected = render(load_mesh(saved(square, tmp_path)))
    scene = trimesh.Scene()
    scene.add_geometry(square, transform=np.diag([scale, scale, scale, 1.0]))
    np.testing.assert_allclose(
        render(load_mesh(saved(scene, tmp_path, "scaled.glb"))), expected, atol=1e-3
    )


def test_base_colour_multiplies_the_texture(tmp_path: Path) -> None:
    square = textured_square(baseColorFactor=[255, 0, 128, 255])
    mesh = load_mesh(saved(square, tmp_path))
    expected = [1, 0, (128 / 255) ** (1 / 2.2)]
    assert mesh.tint == pytest.approx(np.tile(expected, (4, 1)), abs=1e-6)
    assert mesh.face_texture.tolist() == [0, 0]


def test_vertex_colours_replace_a_texture(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0, 255]] * 2 + [[0, 255, 0, 255]] * 2, np.uint8)
    square = trimesh.Trimesh(CORNERS, FACES, vertex_colors=colours, process=False)
    mesh = load_mesh(saved(square, tmp_path))
    assert mesh.face_texture.tolist() == [-1, -1]
    lower = mesh.vertices[:, 1] < 0
    assert mesh.tint[lower] == pytest.approx(np.tile([1, 0, 0], (2, 1)))
    assert mesh.tint[~lower] == pytest.approx(np.tile([0, 1, 0], (2, 1)))


def test_parts_are_placed_by_the_scene(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(textured_square())
    shift = trimesh.transformations.translation_matrix([0, 0, 4])
    mirror = np.diag([-1.0, 1, 1, 1])
    scene.add_geometry(textured_square(), transform=shift @ mirror)
    mesh = load_mesh(saved(scene, tmp_path))
    assert mesh.extents == pytest.approx(np.array([2, 2, 4]) / np.sqrt(24), abs=1e-6)
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    assert (np.cross(b - a, c - a) * mesh.normals[mesh.faces[:, 0]]).sum(axis=1).min() > 0
    assert sorted(mesh.normals[:, 2].round(3).tolist()) == [1.0] * 8


def test_normals_of_the_file_are_used(tmp_path: Path) -> None:
    square = textured_square()
    tilted = CORNERS + [0, 0, 2]
    square.vertex_normals = tilted / np.linalg.norm(tilted, axis=1, keepdims=True)
    path = tmp_path / "a.glb"
    path.write_bytes(square.export(file_type="glb", include_normals=True))
    mesh = load_mesh(path)
    assert np.abs(mesh.normals[:, :2]).min() == pytest.approx(1 / np.sqrt(6), abs=1e-3)


def test_neither_texture_nor_colours(tmp_path: Path) -> None:
    plain = trimesh.Trimesh(CORNERS, FACES, process=False)
    plain.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[9, 9, 9, 255]))
    with pytest.raises(MeshError) as caught:
        load_mesh(saved(plain, tmp_path))
    assert caught.value.reason == "no_texture"


@pytest.mark.parametrize("content", [b"", b"glTF", b"\0" * 500, "truncated", "scrambled"])
def test_damaged_files_are_unreadable(tmp_path: Path, content: bytes | str) -> None:
    path = saved(textured_square(), tmp_path)
    whole = bytearray(path.read_bytes())
    if content == "truncated":
        whole = whole[: len(whole) // 2]
    elif content == "scrambled":
        whole[100:400] = bytes(range(150)) * 2
    else:
        assert isinstance(content, bytes)
        whole = bytearray(content)
    path.write_bytes(whole)
    with pytest.raises(MeshError) as caught:
        load_mesh(path)
    assert caught.value.reason == "unreadable"


def coloured(*colours: tuple[float, float, float]) -> Gltf:
    """A square of each colour, in linear light."""
    gltf = Gltf()
    gltf.mesh(*(gltf.square(gltf.plain(*colour, 1)) for colour in colours))
    return gltf


ALMOST_GREY = 0.5 * 1.1**2.2
"""In linear light, a tenth brighter than 0.5 on a screen: 0.073 of the whole range."""


@pytest.mark.parametrize(
    ("colours", "taken"),
    [
        ([(1, 0, 0), (0, 1, 0)], ["coloured", "any"]),
        ([(0.5, 0.5, 0.5), (0.5, 0.5, 0.05)], ["coloured", "any"]),
        ([(0.5, 0.5, 0.5), (ALMOST_GREY, 0.5, 0.5)], ["any"]),
        ([(1, 0, 0)], ["any"]),
    ],
)
def test_the_rule_decides_which_objects_are_taken(
    tmp_path: Path, colours: list, taken: list
) -> None:
    path = coloured(*colours).save(tmp_path)
    for rule in get_args(ObjectRule):
        if rule in taken:
            mesh = load_mesh(path, rule)
            assert (mesh.face_texture == -1).all()
            expected = {tuple(np.round(np.array(c) ** (1 / 2.2), 5)) for c in colours}
            assert {tuple(row) for row in mesh.tint.astype(float).round(5)} == expected
        else:
            with pytest.raises(MeshError) as caught:
                load_mesh(path, rule)
            assert caught.value.reason == "no_texture"
            assert caught.value.detail.endswith(f"; `objects` {taken[0]} takes it")


@pytest.mark.parametrize("rule", get_args(ObjectRule))
def test_textured_objects_are_taken_by_every_rule(tmp_path: Path, rule: ObjectRule) -> None:
    gltf = coloured((1, 0, 0))
    gltf.mesh()
    assert len(load_mesh(gltf.save(tmp_path), rule).faces) == 4


def test_file_without_a_triangle(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nl 1 2\n")
    with pytest.raises(MeshError) as caught:
        load_mesh(path)
    assert caught.value.reason == "no_faces"


def test_parts_without_a_texture_keep_their_colour(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(textured_square())
    plain = textured_square()
    plain.visual.material = PBRMaterial(baseColorFactor=[0, 255, 128, 255])
    scene.add_geometry(plain, transform=trimesh.transformations.translation_matrix([0, 0, 4]))
    mesh = load_mesh(saved(scene, tmp_path))
    assert sorted(mesh.face_texture.tolist()) == [-1, -1, 0, 0]
    untextured = mesh.tint[mesh.faces[mesh.face_texture == -1]].reshape(-1, 3)
    assert untextured == pytest.approx(np.tile([0, 1, (128 / 255) ** (1 / 2.2)], (6, 1)), abs=1e-6)
    assert mesh.adjusted == ()


def test_nested_parts_are_placed_by_all_their_parents(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for name, parent, x in (("a", "world", 1), ("b", "a", 2)):
        shift = trimesh.transformations.translation_matrix([x, 0, 0])
        scene.graph.update(frame_to=name, frame_from=parent, matrix=shift)
    scene.add_geometry(textured_square(), parent_node_name="b")
    scene.add_geometry(textured_square())
    width, height, depth = load_mesh(saved(scene, tmp_path)).extents
    assert (width / height, depth) == pytest.approx((5 / 2, 0))


def test_a_texture_without_coordinates_is_recorded(tmp_path: Path) -> None:
    bare = trimesh.Trimesh(CORNERS + [0, 0, 1], FACES, process=False)
    bare.visual = TextureVisuals(material=PBRMaterial(baseColorTexture=picture()))
    mesh = load_mesh(saved(trimesh.Scene([textured_square(), bare]), tmp_path))
    assert [reason for reason, _ in mesh.adjusted] == ["missing_uv"]


def test_the_detail_of_a_rejection_names_the_missing_texture(tmp_path: Path) -> None:
    (tmp_path / "a.mtl").write_text("newmtl wood\nmap_Kd wood.jpg\n")
    path = tmp_path / "a.obj"
    path.write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl wood\nf 1/1 2/1 3/1\n")
    with pytest.raises(MeshError, match=r"no_texture.*missing_texture: wood\.jpg"):
        load_mesh(path)


def test_real_meshes_load(shared_assets: Path) -> None:
    paths = sorted((shared_assets / "meshes").glob("*/*.glb"))[::60]
    assert len(paths) > 5
    for path in paths:
        mesh = load_mesh(path)
        assert np.linalg.norm(mesh.extents) == pytest.approx(1, abs=1e-5)
        assert mesh.normals[mesh.faces].shape == (len(mesh.faces), 3, 3)
        assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1, abs=1e-4)
        assert (mesh.face_texture == 0).all()
