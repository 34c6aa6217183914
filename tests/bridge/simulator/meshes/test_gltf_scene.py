from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.simulator.meshes import gltf as gltf_module
from bridge.simulator.meshes.gltf_file import GltfFile
from bridge.simulator.meshes.gltf_scene import placed_meshes
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.surface import MeshError
from tests.bridge.simulator.meshes.gltf_files import Gltf, proportions

TURNED = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]
"""By a right angle around z."""


def test_nodes_are_scaled_turned_and_moved_within_their_parents(tmp_path: Path) -> None:
    gltf = Gltf()
    mesh = gltf.mesh()
    inner = gltf.node(mesh=mesh, translation=[2, 0, 0], rotation=TURNED, scale=[3, 1, 1])
    matrix = np.array([[2.0, 0, 0, 0], [0, 2, 0, 1], [0, 0, 2, 0], [0, 0, 0, 1]])
    gltf.scene(gltf.node(children=[inner], matrix=matrix.T.ravel().tolist()))
    (placed,) = placed_meshes(GltfFile(gltf.save(tmp_path)))
    expected = [[0, -2, 0, 4], [6, 0, 0, 1], [0, 0, 2, 0], [0, 0, 0, 1]]
    assert placed.matrices == pytest.approx(np.array([expected]), abs=1e-12)
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 3, 0])


def two_squares(gltf: Gltf, **second: object) -> Gltf:
    """A square, and another 4 to its right that is said more of."""
    mesh = gltf.mesh()
    other = gltf.node(mesh=mesh, translation=[4, 0, 0], **second)
    gltf.scene(gltf.node(mesh=mesh), other)
    return gltf


def test_cameras_may_have_children(tmp_path: Path) -> None:
    gltf = Gltf()
    mesh = gltf.mesh()
    child = gltf.node(mesh=mesh, translation=[2, 0, 0])
    gltf.add("cameras", {"type": "perspective", "perspective": {"yfov": 0.7, "znear": 0.1}})
    gltf.scene(gltf.node(camera=0, translation=[0, 0, 5], children=[child]), gltf.node(mesh=mesh))
    mesh_read = load_mesh(gltf.save(tmp_path))
    assert proportions(mesh_read) == pytest.approx([1, 0.5, 1.25])


@pytest.mark.parametrize("scale", [[0, 0, 0], [1, 0, 0]])
def test_a_scale_of_zero_hides(tmp_path: Path, scale: list) -> None:
    gltf = two_squares(Gltf(), scale=scale)
    mesh = load_mesh(gltf.save(tmp_path))
    assert proportions(mesh) == pytest.approx([1, 1, 0])
    assert mesh.adjusted == ()


def test_flattened_parts_are_drawn(tmp_path: Path) -> None:
    gltf = Gltf()
    square = gltf.square()
    square["attributes"]["NORMAL"] = gltf.accessor([[0, 0, 1]] * 4)
    gltf.scene(gltf.node(mesh=gltf.mesh(square), scale=[2, 1, 0]))
    mesh = load_mesh(gltf.save(tmp_path))
    assert proportions(mesh) == pytest.approx([1, 0.5, 0])
    assert np.abs(mesh.normals) == pytest.approx(np.tile([0, 0, 1], (4, 1)))


def test_invisible_nodes_hide_their_children(tmp_path: Path) -> None:
    gltf = Gltf()
    mesh = gltf.mesh()
    child = gltf.node(mesh=mesh, translation=[8, 0, 0])
    hidden = gltf.node(
        mesh=mesh, children=[child], extensions={"KHR_node_visibility": {"visible": False}}
    )
    gltf.scene(hidden, gltf.node(mesh=mesh))
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 2
    gltf.header["nodes"][hidden]["extensions"]["KHR_node_visibility"]["visible"] = True
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 6


def test_without_scenes_every_root_is_shown(tmp_path: Path) -> None:
    gltf = two_squares(Gltf())
    for name in ("scene", "scenes"):
        del gltf.header[name]
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 1 / 3, 0])


def test_the_named_scene_is_shown(tmp_path: Path) -> None:
    gltf = two_squares(Gltf())
    gltf.scene(0)
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 1, 0])
    gltf.header["scene"] = 0
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 1 / 3, 0])


def test_instances(tmp_path: Path) -> None:
    gltf = Gltf()
    gltf.header["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    attributes = {
        "TRANSLATION": gltf.accessor([[-3, 0, 0], [3, 0, 0], [0, 0, 9]]),
        "ROTATION": gltf.accessor(
            np.round(np.array([[0, 0, 0, 1], TURNED, TURNED]) * 127), "i1", normalized=True
        ),
        "SCALE": gltf.accessor([[1, 1, 1], [2, 1, 1], [0, 0, 0]]),
    }
    instancing = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    node = gltf.node(mesh=gltf.mesh(), extensions=instancing, scale=[1, 1, 5])
    gltf.scene(node)
    mesh = load_mesh(gltf.save(tmp_path))
    assert len(mesh.faces) == 4
    assert proportions(mesh) == pytest.approx([1, 0.5, 0], abs=1e-3)
    del attributes["ROTATION"], attributes["SCALE"]
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 2 / 8, 45 / 8])
    attributes["SCALE"] = gltf.accessor([[1, 1, 1]])
    with pytest.raises(MeshError, match="unreadable: the instances"):
        load_mesh(gltf.save(tmp_path))


def test_too_many_instances_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gltf_module, "MAX_COPIED_TRIANGLES", 1000)
    gltf = Gltf()
    attributes = {"TRANSLATION": gltf.accessor([[2, 0, 0], [4, 0, 0], [6, 0, 0]])}
    instancing = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    gltf.scene(gltf.node(mesh=gltf.mesh(), extensions=instancing))
    with pytest.raises(MeshError, match="unreadable: 3 instances of a mesh are too many"):
        load_mesh(gltf.save(tmp_path))


def skinned(gltf: Gltf, joint: int) -> dict:
    """A square that one joint moves."""
    square = gltf.square()
    square["attributes"] |= {
        "JOINTS_0": gltf.accessor([[joint, 0, 0, 0]] * 4, "u1"),
        "WEIGHTS_0": gltf.accessor([[1, 0, 0, 0]] * 4),
    }
    return square


def test_joints_place_what_they_move_and_nodes_do_not(tmp_path: Path) -> None:
    gltf = Gltf()
    joints = [gltf.node(translation=[x, 0, 0]) for x in (-0.8, 2.2)]
    arm = gltf.node(children=joints, scale=[2, 2, 2])
    skin = gltf.add("skins", {"joints": joints})
    nodes = [
        gltf.node(mesh=gltf.mesh(skinned(gltf, joint)), skin=skin, translation=[0, 0, 99 * joint])
        for joint in (0, 1)
    ]
    gltf.scene(arm, *nodes)
    # Squares of 4 whose middles are 6 apart.
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 0.4, 0])
    bind = np.tile(np.eye(4), (2, 1, 1))
    bind[1, :3, 3] = -3, 4, 0
    gltf.header["skins"][skin]["inverseBindMatrices"] = gltf.accessor(bind.swapaxes(1, 2))
    assert proportions(load_mesh(gltf.save(tmp_path))) == pytest.approx([1, 3, 0])


def test_vertices_between_joints_are_between_their_places(tmp_path: Path) -> None:
    gltf = Gltf()
    joints = [gltf.node(), gltf.node(translation=[0, 4, 0], rotation=[0, 0, 0, 1])]
    square = gltf.square()
    square["attributes"] |= {
        "NORMAL": gltf.accessor([[0, 0, 1]] * 4),
        "JOINTS_0": gltf.accessor([[0, 1, 0, 0]] * 4, "u2"),
        "WEIGHTS_0": gltf.accessor([[1, 0, 0, 0]] * 2 + [[0.75, 0.25, 0, 0]] * 2),
    }
    skin = gltf.add("skins", {"joints": joints})
    gltf.scene(*joints, gltf.node(mesh=gltf.mesh(square), skin=skin))
    mesh = load_mesh(gltf.save(tmp_path))
    assert proportions(mesh) == pytest.approx([1, 1.5, 0])
    assert mesh.normals == pytest.approx(np.tile([0, 0, 1], (4, 1)))


def test_a_mirroring_skin_turns_faces_and_normals(tmp_path: Path) -> None:
    gltf = Gltf()
    joint = gltf.node(scale=[-1, 1, 1])
    skin = gltf.add("skins", {"joints": [joint]})
    for with_normals in (False, True):
        square = skinned(gltf, 0)
        if with_normals:
            square["attributes"]["NORMAL"] = gltf.accessor([[0, 0, 1]] * 4)
        gltf.header.pop("scenes", None)
        gltf.scene(joint, gltf.node(mesh=gltf.mesh(square), skin=skin))
        mesh = load_mesh(gltf.save(tmp_path))
        a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
        assert np.cross(b - a, c - a)[:, 2].min() > 0
        assert mesh.normals[:, 2] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"joints": [9]}, "a joint of its skin is no node"),
        ({"joints": [0]}, "a vertex names a joint that its skin does not have"),
        ({"inverseBindMatrices": "short"}, "more joints than inverse bind matrices"),
        ({"inverseBindMatrices": 0}, "is VEC3, not MAT4"),
    ],
)
def test_damaged_skins(tmp_path: Path, change: dict, reason: str) -> None:
    gltf = Gltf()
    mesh = gltf.mesh(skinned(gltf, 1))
    short = gltf.accessor([np.eye(4)])
    joints = [gltf.node(), gltf.node()]
    positions = gltf.header["meshes"][mesh]["primitives"][0]["attributes"]["POSITION"]
    named = {"short": short, 0: positions}
    skin = {"joints": joints} | {
        name: named[value] if name == "inverseBindMatrices" else value
        for name, value in change.items()
    }
    gltf.scene(*joints, gltf.node(mesh=mesh, skin=gltf.add("skins", skin)))
    with pytest.raises(MeshError, match=f"unreadable: .*{reason}"):
        load_mesh(gltf.save(tmp_path))


@pytest.mark.parametrize(
    ("children", "roots", "reason"),
    [
        ({0: [1], 1: [0]}, [0], "a node of it is within itself"),
        ({0: [0]}, [], "a node of it is within itself"),
        ({0: [2], 1: [2]}, [0, 1], r"its nodes\[2\] has two parents"),
        ({0: [1]}, [0, 1], r"its nodes\[1\] stands in two places"),
        ({}, [0, 0], r"its nodes\[0\] stands in two places"),
        ({0: [7]}, [0], r"it has no nodes\[7\]"),
    ],
)
def test_scenes_that_are_no_trees(tmp_path: Path, children: dict, roots: list, reason: str) -> None:
    gltf = Gltf()
    mesh = gltf.mesh()
    for number in range(3):
        gltf.node(mesh=mesh, children=children.get(number, []))
    gltf.scene(*roots)
    with pytest.raises(MeshError, match=f"unreadable: {reason}"):
        load_mesh(gltf.save(tmp_path))


def test_deep_scenes_need_no_deep_stack(tmp_path: Path) -> None:
    gltf = Gltf()
    mesh = gltf.mesh()
    for number in range(5000):
        gltf.node(children=[number + 1])
    gltf.node(mesh=mesh)
    gltf.scene(0)
    assert len(load_mesh(gltf.save(tmp_path)).faces) == 2
