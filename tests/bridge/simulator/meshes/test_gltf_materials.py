from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.meshes.surface import MeshError
from tests.bridge.simulator.meshes.gltf_files import (
    BLUE,
    GREEN,
    QUARTERS,
    RED,
    YELLOW,
    Gltf,
    colour_at,
    proportions,
)

INWARDS = 1e-3


def corner_colours(mesh: Mesh) -> list[list[int]]:
    """Texels just within the corners: below left, below right, above right, above left."""
    order = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    found = []
    for x, y in order:
        (vertex, *_) = np.flatnonzero((np.sign(mesh.vertices[:, :2]) == (x, y)).all(axis=1))
        found.append(colour_at(mesh, int(vertex), (-INWARDS * x, -INWARDS * y)))
    return found


def one(material: dict | None = None, **square: object) -> Gltf:
    """A textured square whose material says more."""
    gltf = Gltf()
    gltf.mesh(gltf.square(gltf.material(**(material or {}))) | square)
    return gltf


def test_textures_are_the_right_way_up(tmp_path: Path) -> None:
    assert corner_colours(load_mesh(one().save(tmp_path))) == [BLUE, YELLOW, GREEN, RED]


@pytest.mark.parametrize(("kind", "top"), [("u1", 255), ("u2", 65535)])
def test_coordinates_may_be_whole_numbers(tmp_path: Path, kind: str, top: int) -> None:
    gltf = Gltf()
    square = gltf.square()
    coordinates = np.array([[0, 1], [1, 1], [1, 0], [0, 0]]) * top
    square["attributes"]["TEXCOORD_0"] = gltf.accessor(coordinates, kind, normalized=True)
    gltf.mesh(square)
    mesh = load_mesh(gltf.save(tmp_path))
    assert corner_colours(mesh) == [BLUE, YELLOW, GREEN, RED]
    assert sorted(mesh.uv.ravel().tolist()) == [0] * 4 + [1] * 4


def test_quantised_coordinates_have_their_transform(tmp_path: Path) -> None:
    gltf = Gltf()
    scale = {"KHR_texture_transform": {"scale": [1 / 200, 1 / 100]}}
    material = gltf.material()
    reference = gltf.header["materials"][material]["pbrMetallicRoughness"]["baseColorTexture"]
    reference["extensions"] = scale
    square = gltf.square(material)
    coordinates = [[0, 100], [200, 100], [200, 0], [0, 0]]
    square["attributes"]["TEXCOORD_0"] = gltf.accessor(coordinates, "u1")
    gltf.mesh(square)
    assert corner_colours(load_mesh(gltf.save(tmp_path))) == [BLUE, YELLOW, GREEN, RED]


@pytest.mark.parametrize(
    ("code", "far", "corners"),
    [
        (10497, 0.45, [GREEN, RED, BLUE, YELLOW]),
        (10497, 0.6, [BLUE, YELLOW, GREEN, RED]),
        (33648, 0.45, [BLUE, YELLOW, GREEN, RED]),
        (33648, 0.6, [GREEN, RED, BLUE, YELLOW]),
        (33071, 0.45, [BLUE, YELLOW, GREEN, RED]),
        (33071, 0.6, [BLUE, YELLOW, GREEN, RED]),
    ],
)
def test_textures_go_on_beyond_their_edges_as_the_sampler_says(
    tmp_path: Path, code: int, far: float, corners: list
) -> None:
    gltf = Gltf()
    sampler = gltf.add("samplers", {"wrapS": code, "wrapT": code})
    square = gltf.square(gltf.material(gltf.texture(sampler=sampler)))
    coordinates = [[-far, 1 + far], [1 + far, 1 + far], [1 + far, -far], [-far, -far]]
    square["attributes"]["TEXCOORD_0"] = gltf.accessor(coordinates)
    gltf.mesh(square)
    assert corner_colours(load_mesh(gltf.save(tmp_path))) == corners
    gltf.header["samplers"][sampler]["wrapT"] = 5
    with pytest.raises(MeshError, match="unreadable: 5 is no wrapping mode"):
        load_mesh(gltf.save(tmp_path))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[0, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]], "f4"),
        ([[0, 0, 255, 255]] * 2 + [[0, 255, 0, 0]] * 2, "u1"),
        ([[0, 0, 65535]] * 2 + [[0, 65535, 0]] * 2, "u2"),
    ],
)
def test_vertex_colours_of_every_type(tmp_path: Path, values: list, kind: str) -> None:
    gltf = Gltf()
    square = gltf.square(gltf.plain(1, 1, 0.5, 1))
    square["attributes"]["COLOR_0"] = gltf.accessor(values, kind, normalized=kind != "f4")
    gltf.mesh(square)
    mesh = load_mesh(gltf.save(tmp_path))
    below = mesh.vertices[:, 1] < 0
    assert mesh.tint[below] == pytest.approx(np.tile([0, 0, 0.5 ** (1 / 2.2)], (2, 1)))
    assert mesh.tint[~below] == pytest.approx(np.tile([0, 1, 0], (2, 1)))


def shelled(shell: dict, colours: list | None = None) -> Gltf:
    """A square in front of which another, twice as large, has a material of its own."""
    gltf = Gltf()
    front = gltf.square(gltf.add("materials", shell))
    if colours:
        front["attributes"]["COLOR_0"] = gltf.accessor(colours)
    meshes = gltf.mesh(), gltf.mesh(front)
    gltf.scene(
        gltf.node(mesh=meshes[0]),
        gltf.node(mesh=meshes[1], translation=[0, 0, 1], scale=[2, 2, 2]),
    )
    return gltf


def glass(opacity: float, mode: str = "BLEND", **more: object) -> dict:
    colour = {"baseColorFactor": [1, 1, 1, opacity]}
    return {"pbrMetallicRoughness": colour, "alphaMode": mode} | more


@pytest.mark.parametrize(
    ("shell", "faces"),
    [
        (glass(0), 2),
        (glass(0.001), 2),
        (glass(0.1), 4),
        (glass(0, "OPAQUE"), 4),
        (glass(0.4, "MASK"), 2),
        (glass(0.6, "MASK"), 4),
        (glass(0.4, "MASK", alphaCutoff=0.3), 4),
        (glass(0.4, "MASK", alphaCutoff=0), 4),
    ],
)
def test_what_has_no_opacity_hides_nothing(tmp_path: Path, shell: dict, faces: int) -> None:
    mesh = load_mesh(shelled(shell).save(tmp_path))
    assert len(mesh.faces) == faces
    assert proportions(mesh)[2] == pytest.approx(0 if faces == 2 else 0.25)
    assert mesh.adjusted == ()


def test_opacity_of_vertices_counts(tmp_path: Path) -> None:
    colours = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]]
    assert len(load_mesh(shelled(glass(1), colours).save(tmp_path)).faces) == 4
    colours[2][3] = 0
    assert len(load_mesh(shelled(glass(1), colours).save(tmp_path)).faces) == 2
    assert len(load_mesh(shelled(glass(1, "OPAQUE"), colours).save(tmp_path)).faces) == 4


@pytest.mark.parametrize(
    ("alphas", "mode", "faces", "holes"),
    [
        ([0, 0], "BLEND", 2, False),
        ([90, 90], "BLEND", 4, False),
        ([0, 90], "BLEND", 4, True),
        ([0, 255], "BLEND", 4, True),
        ([90, 90], "MASK", 2, False),
        ([90, 200], "MASK", 4, True),
    ],
)
def test_opacity_of_textures_counts(
    tmp_path: Path, alphas: list, mode: str, faces: int, holes: bool
) -> None:
    gltf = shelled(glass(1, mode))
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[:4, :, 3], pixels[4:, :, 3] = alphas
    reference = {"index": gltf.texture(pixels)}
    gltf.header["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = reference
    mesh = load_mesh(gltf.save(tmp_path))
    assert len(mesh.faces) == faces
    assert mesh.face_cutout.any() == holes


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(QUARTERS).save(file, kind, quality=100)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["webp", "avif"])
@pytest.mark.parametrize("damaged", [False, True])
def test_pictures_of_extensions_and_their_fallbacks(
    tmp_path: Path, kind: str, damaged: bool
) -> None:
    if not features.check(kind):
        pytest.skip(f"Pillow was built without {kind}")
    gltf = one()
    data = b"not a picture" if damaged else encoded(kind)
    image = gltf.add("images", {"bufferView": gltf.view(data), "name": "bark"})
    gltf.header["textures"][0]["extensions"] = {f"EXT_texture_{kind}": {"source": image}}
    gltf.header["extensionsRequired"] = [f"EXT_texture_{kind}"]
    expected = np.array([BLUE, YELLOW, GREEN, RED])
    found = np.array(corner_colours(load_mesh(gltf.save(tmp_path))))
    assert np.abs(found - expected).max() < 40
    del gltf.header["textures"][0]["source"]
    if damaged:
        with pytest.raises(MeshError, match=r"no_texture: .*\(missing_texture: bark\)"):
            load_mesh(gltf.save(tmp_path))
    else:
        assert load_mesh(gltf.save(tmp_path)).adjusted == ()


def test_textures_for_graphics_cards_alone_are_named(tmp_path: Path) -> None:
    gltf = one()
    texture = gltf.header["textures"][0]
    texture["extensions"] = {"KHR_texture_basisu": {"source": 0}}
    assert load_mesh(gltf.save(tmp_path)).adjusted == ()
    del texture["source"]
    with pytest.raises(MeshError, match=r"missing_texture: texture 0 \(KHR_texture_basisu\)"):
        load_mesh(gltf.save(tmp_path))


def test_pictures_beside_the_file_may_have_percent_signs(tmp_path: Path) -> None:
    for name in ("a%20b.png", "a b.png"):
        gltf = one()
        gltf.header["images"][0] = {"uri": "a%20b.png"}
        Image.fromarray(QUARTERS).save(tmp_path / name)
        mesh = load_mesh(gltf.save(tmp_path))
        assert corner_colours(mesh) == [BLUE, YELLOW, GREEN, RED]
        (tmp_path / name).unlink()


def test_a_missing_picture_leaves_the_colour(tmp_path: Path) -> None:
    gltf = Gltf()
    lost = gltf.material()
    gltf.header["materials"][lost]["pbrMetallicRoughness"]["baseColorFactor"] = [0, 1, 0, 1]
    gltf.mesh(gltf.square(lost), gltf.square(gltf.material()))
    gltf.header["images"][0] = {"uri": "lost%20one.png"}
    mesh = load_mesh(gltf.save(tmp_path))
    assert sorted(mesh.face_texture.tolist()) == [-1, -1, 0, 0]
    assert mesh.adjusted == (("missing_texture", "lost one.png"),)
    assert mesh.tint[mesh.faces[mesh.face_texture < 0]].reshape(-1, 3).tolist() == [[0, 1, 0]] * 6


def test_parts_without_a_material_are_white(tmp_path: Path) -> None:
    gltf = Gltf()
    bare = gltf.square()
    del bare["material"]
    gltf.mesh(gltf.square(), bare)
    mesh = load_mesh(gltf.save(tmp_path))
    assert sorted(mesh.face_texture.tolist()) == [-1, -1, 0, 0]
    assert (mesh.tint == 1).all()


def test_a_colour_without_numbers_is_refused(tmp_path: Path) -> None:
    gltf = one()
    colour = gltf.header["materials"][0]["pbrMetallicRoughness"]
    for factor in ([1, 1, 1], "white", [1, 1, 1, float("nan")]):
        colour["baseColorFactor"] = factor
        with pytest.raises(MeshError, match="unreadable: 'baseColorFactor'"):
            load_mesh(gltf.save(tmp_path))
