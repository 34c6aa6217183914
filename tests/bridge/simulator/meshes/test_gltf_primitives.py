from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.simulator.meshes.gltf_file import GltfFile
from bridge.simulator.meshes.gltf_primitives import Shape, read_shape
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.surface import MeshError
from tests.bridge.simulator.meshes.gltf_files import CORNERS, FACES, Gltf, proportions

RIM = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0.5, 1.5, 0], [0, 1, 0]])


def shape_of(folder: Path, gltf: Gltf, primitive: dict, morph: list | None = None) -> Shape | None:
    weights = None if morph is None else np.array(morph)
    return read_shape(GltfFile(gltf.save(folder)), primitive, weights)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", None])
@pytest.mark.parametrize(
    ("mode", "faces"),
    [
        (4, [[0, 1, 2]]),
        (5, [[0, 1, 2], [1, 3, 2], [2, 3, 4]]),
        (6, [[1, 2, 0], [2, 3, 0], [3, 4, 0]]),
    ],
)
def test_triangles_strips_and_fans(
    tmp_path: Path, kind: str | None, mode: int, faces: list
) -> None:
    gltf = Gltf()
    primitive: dict = {"attributes": {"POSITION": gltf.accessor(RIM)}, "mode": mode}
    if kind:
        primitive["indices"] = gltf.accessor(range(5), kind)
    shape = shape_of(tmp_path, gltf, primitive)
    assert shape is not None
    # The two corners left over make no triangle.
    assert shape.faces.tolist() == faces
    assert shape.vertices.tolist() == RIM.tolist()


def test_a_fan_faces_one_way(tmp_path: Path) -> None:
    gltf = Gltf()
    primitive = {"attributes": {"POSITION": gltf.accessor(RIM)}, "mode": 6}
    shape = shape_of(tmp_path, gltf, primitive)
    assert shape is not None
    a, b, c = shape.vertices[shape.faces].swapaxes(0, 1)
    assert np.cross(b - a, c - a)[:, 2].min() > 0
    assert np.cross(b - a, c - a)[:, 2].sum() / 2 == pytest.approx(1.25)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_points_and_lines_are_passed_over(tmp_path: Path, mode: int) -> None:
    gltf = Gltf()
    gltf.mesh(gltf.square(mode=mode), gltf.square())
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 2


def test_a_primitive_without_places_is_passed_over(tmp_path: Path) -> None:
    gltf = Gltf()
    gltf.mesh(gltf.square(), {"attributes": {}})
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 2


def test_quantised_places(tmp_path: Path) -> None:
    gltf = Gltf()
    gltf.header["extensionsRequired"] = ["KHR_mesh_quantization"]
    square = gltf.square()
    square["attributes"]["POSITION"] = gltf.accessor(CORNERS * [100, 50, 0], "i2")
    gltf.scene(gltf.node(mesh=gltf.mesh(square), scale=[0.01, 0.01, 0.01]))
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 0.5, 0])


def morphing(gltf: Gltf) -> dict:
    """A square with a target that makes it 3 high and one that moves its upper edge back."""
    square = gltf.square()
    higher = gltf.accessor([[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0]])
    back = gltf.accessor([[0, 0, 0], [0, 0, 0], [0, 0, -4], [0, 0, -4]])
    return square | {"targets": [{"POSITION": higher}, {"POSITION": back}]}


def test_morph_targets_have_the_weights_of_the_mesh_or_of_the_node(tmp_path: Path) -> None:
    gltf = Gltf()
    mesh = gltf.mesh(morphing(gltf))
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 1, 0])
    gltf.header["meshes"][mesh]["weights"] = [1, 0.25]
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 1.5, 0.5])
    gltf.header["nodes"][0]["weights"] = [0, 0.5]
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 1, 1])


def test_normals_morph_too(tmp_path: Path) -> None:
    gltf = Gltf()
    square = gltf.square()
    square["attributes"]["NORMAL"] = gltf.accessor([[0, 0, 1]] * 4)
    square["targets"] = [{"NORMAL": gltf.accessor([[0.5, 0, 0]] * 4)}]
    shape = shape_of(tmp_path, gltf, square, [2])
    assert shape is not None and shape.normals is not None
    assert shape.normals.tolist() == [[1, 0, 1]] * 4


def test_weights_of_joints_add_up_to_one(tmp_path: Path) -> None:
    gltf = Gltf()
    square = gltf.square()
    joints = [[0, 1, 2, 3]] * 4
    first = [[255, 0, 0, 0], [51, 0, 0, 0], [255, 255, 0, 0], [0, 0, 0, 0]]
    second = [[0, 51, 0, 0]] * 3 + [[0, 0, 0, 0]]
    for number, weights in enumerate((first, second)):
        square["attributes"] |= {
            f"JOINTS_{number}": gltf.accessor(joints, "u1"),
            f"WEIGHTS_{number}": gltf.accessor(weights, "u1", normalized=True),
        }
    shape = shape_of(tmp_path, gltf, square)
    assert shape is not None and shape.joints is not None and shape.weights is not None
    assert shape.joints.tolist() == [[0, 1, 2, 3] * 2] * 4
    assert shape.weights.sum(axis=1) == pytest.approx(1)
    assert shape.weights[1, [0, 5]] == pytest.approx(0.5)
    assert shape.weights[3].tolist() == [1] + [0] * 7


def compressed(gltf: Gltf, *, stored: bool) -> None:
    square = gltf.square(extensions={"KHR_draco_mesh_compression": {"bufferView": 0}})
    if not stored:
        for number in (*square["attributes"].values(), square["indices"]):
            del gltf.header["accessors"][number]["bufferView"]
    gltf.header["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    gltf.mesh(gltf.square(), square)


def test_draco_is_refused_where_nothing_else_is_stored(tmp_path: Path) -> None:
    gltf = Gltf()
    compressed(gltf, stored=True)
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 4
    gltf = Gltf()
    compressed(gltf, stored=False)
    with pytest.raises(MeshError, match="unreadable: it needs .* KHR_draco_mesh_compression"):
        load_mesh(gltf.save(tmp_path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": 7}, "unreadable: 7 is no mode"),
        ({"mode": "4"}, "unreadable: 'mode'"),
        ({"indices": "normals"}, "unreadable: the numbers of its vertices"),
        ({"indices": "beyond"}, "bad_geometry: a triangle names a vertex that does not exist"),
        ({"attributes": "short"}, "unreadable: 4 vertices have 2 values of TEXCOORD_0"),
        ({"attributes": "wide"}, "unreadable: its accessors.* is VEC3, not VEC2"),
        ({"attributes": 5}, "unreadable: 'attributes'"),
    ],
)
def test_damaged_primitives(tmp_path: Path, change: dict, reason: str) -> None:
    gltf = Gltf()
    square = gltf.square()
    bad = {
        "normals": gltf.accessor(FACES.ravel(), "f4"),
        "beyond": gltf.accessor(FACES.ravel() + 1, "u1"),
        "short": square["attributes"] | {"TEXCOORD_0": gltf.accessor([[0, 0], [1, 1]])},
        "wide": square["attributes"] | {"TEXCOORD_0": square["attributes"]["POSITION"]},
    }
    gltf.mesh(square | {name: bad.get(value, value) for name, value in change.items()})
    with pytest.raises(MeshError, match=reason):
        load_mesh(gltf.save(tmp_path))
