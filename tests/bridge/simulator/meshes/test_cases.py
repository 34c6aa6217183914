"""Small glTF files that many readers get wrong, with their right values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.meshes.surface import MeshError
from tests.bridge.simulator.meshes.gltf_files import colour_at, proportions

RED, GREEN, BLUE, YELLOW = [220, 40, 40], [40, 180, 40], [50, 80, 230], [240, 220, 40]
"""Of the picture that every case has: above left and right, below left and right."""


def read(cases: Path, name: str) -> Mesh:
    (path,) = (path for path in (cases / name).iterdir() if path.stem == "model")
    return load_mesh(path)


def front_corners(mesh: Mesh) -> list[list[int]]:
    """Texels just within the front's corners: below left and right, above right and left."""
    front = np.flatnonzero(mesh.normals[:, 2] > 0.99)
    found = []
    for x, y in [(-1, -1), (1, -1), (1, 1), (-1, 1)]:
        (vertex,) = (i for i in front if (np.sign(mesh.vertices[i, :2]) == (x, y)).all())
        found.append(colour_at(mesh, int(vertex), (-1e-3 * x, -1e-3 * y)))
    return found


@pytest.mark.parametrize(
    ("name", "shape", "faces"),
    [
        ("skin_two_parts", [1, 1 / 2.6, 1 / 2.6], 24),
        ("skin_cm_body_m_hat", [1, 1.75, 1], 24),
        ("zero_scale_node", [1, 1, 1], 12),
        ("stray_degenerate_obj", [1, 1, 1], 240),
        ("invisible_shell", [1, 1, 1], 12),
        ("tri_fan_mixed", [1, 1, 1], 12),
        ("sparse_over_base", [1, 1, 1], 12),
        ("gpu_instancing", [1, 1 / 4, 1 / 4], 36),
        ("wrap_mirror", [1, 1, 1], 12),
        ("wrap_clamp", [1, 1, 1], 12),
        ("gltf_literal_percent", [1, 1, 1], 12),
        ("camera_parent", [1, 1 / 3, 6 / 3], 24),
        ("uv_norm_uint8", [1, 1, 1], 12),
        ("no_scenes", [1, 1, 1], 12),
    ],
)
def test_shape_and_size(shared_cases: Path, name: str, shape: list, faces: int) -> None:
    mesh = read(shared_cases, name)
    assert proportions(mesh) == pytest.approx(shape, rel=1e-5)
    assert len(mesh.faces) == faces
    assert (mesh.face_texture >= 0).all()
    assert mesh.adjusted == ()


def test_draco_is_refused_by_name(shared_cases: Path) -> None:
    with pytest.raises(MeshError, match="unreadable: .*KHR_draco_mesh_compression"):
        read(shared_cases, "draco_used_mixed")


@pytest.mark.parametrize(
    "name", ["gltf_literal_percent", "uv_norm_uint8", "no_scenes", "wrap_clamp", "tri_fan_mixed"]
)
def test_pictures_stand_upright(shared_cases: Path, name: str) -> None:
    corners = front_corners(read(shared_cases, name))
    assert corners == [BLUE, YELLOW, GREEN, RED]


def test_the_narrowed_top(shared_cases: Path) -> None:
    mesh = read(shared_cases, "sparse_over_base")
    top = mesh.vertices[mesh.vertices[:, 1] > 0]
    bottom = mesh.vertices[mesh.vertices[:, 1] < 0]
    assert np.ptp(top, axis=0)[[0, 2]] == pytest.approx(0.4 * np.ptp(bottom, axis=0)[[0, 2]])


@pytest.mark.parametrize(("name", "colour"), [("wrap_mirror", [0, 0, 0]), ("wrap_clamp", BLUE)])
def test_beyond_the_edge(shared_cases: Path, name: str, colour: list) -> None:
    # Half a picture beyond its corner a mirror is almost back at the black sign in the middle.
    mesh = read(shared_cases, name)
    front = np.flatnonzero(mesh.normals[:, 2] > 0.99)
    corner = next(i for i in front if (np.sign(mesh.vertices[i, :2]) == (-1, -1)).all())
    assert colour_at(mesh, int(corner), (0.02, 0.02)) == colour
