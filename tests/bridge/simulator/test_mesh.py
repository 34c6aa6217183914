from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator.mesh import MeshError, Surface, build_mesh, pack_textures
from bridge.simulator.normals import smooth_between_creases
from bridge.simulator.shapes import box, revolve

TRIANGLE = np.array([[0, 1, 2]])
POINTS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])


@settings(deadline=None)
@given(st.floats(1e-3, 1e3), st.tuples(*[st.floats(-100, 100)] * 3))
def test_size_and_place_are_normalised(scale: float, offset: tuple[float, float, float]) -> None:
    parts = [Surface(s.vertices * scale + offset, s.faces) for s in box((1, 2, 2))]
    mesh = build_mesh(parts)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert low + high == pytest.approx(0, abs=1e-4)
    assert np.linalg.norm(high - low) == pytest.approx(1, abs=1e-4)
    assert mesh.extents == pytest.approx((1 / 3, 2 / 3, 2 / 3), abs=1e-4)


def test_box_keeps_its_edges_and_a_sphere_is_smooth() -> None:
    flat = build_mesh(box((1, 1, 1)))
    assert np.sort(np.abs(flat.normals), axis=1) == pytest.approx(
        np.tile([0, 0, 1], (len(flat.normals), 1)), abs=1e-6
    )
    angle = np.linspace(-np.pi / 2, np.pi / 2, 40)
    sphere = build_mesh([revolve(np.stack([np.cos(angle), np.sin(angle)], -1))])
    outwards = sphere.vertices / np.linalg.norm(sphere.vertices, axis=1, keepdims=True)
    assert (sphere.normals * outwards).sum(axis=1).min() > 0.99


def test_normals_average_over_a_texture_seam() -> None:
    bend = np.deg2rad(20)
    fold = np.array([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [-np.cos(bend), np.sin(bend), 0]])
    joined = np.array([[0, 1, 2], [0, 3, 1]])
    seam = (fold[[0, 1, 2, 0, 3, 1]], np.arange(6).reshape(2, 3))
    _, whole, faces = smooth_between_creases(fold, joined)
    _, split, split_faces = smooth_between_creases(*seam)
    assert whole[faces] == pytest.approx(split[split_faces])
    assert len(whole) == 4
    assert len(split) == 6


def test_triangles_without_area_and_broken_vertices_are_dropped() -> None:
    points = np.concatenate([POINTS, [[np.nan, 0, 0], [0.5, 0, 0], [1e9, 0, 0]]])
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 4, 1], [2, 2, 1]])
    mesh = build_mesh([Surface(points, faces)])
    assert len(mesh.faces) == 1
    assert mesh.extents == pytest.approx((0.5**0.5, 0.5**0.5, 0))


@pytest.mark.parametrize(
    ("points", "faces", "reason"),
    [
        (POINTS, np.empty((0, 3), int), "no_faces"),
        (POINTS * 0, TRIANGLE, "bad_geometry"),
        (POINTS * np.nan, TRIANGLE, "bad_geometry"),
        (POINTS * [1, 0, 0], TRIANGLE, "bad_geometry"),
        (POINTS, TRIANGLE + 1, "bad_geometry"),
    ],
)
def test_hopeless_geometry_has_a_reason(points: np.ndarray, faces: np.ndarray, reason: str) -> None:
    with pytest.raises(MeshError) as caught:
        build_mesh([Surface(points, faces)])
    assert caught.value.reason == reason


def test_given_normals_decide_the_winding() -> None:
    normals = np.tile([0.0, 0, -1], (3, 1))
    mesh = build_mesh([Surface(POINTS, TRIANGLE, normals=normals)])
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a)[2] < 0


def test_surfaces_keep_their_own_texture() -> None:
    red, blue = (np.full((4, 4, 3), c, np.uint8) for c in ([255, 0, 0], [0, 0, 255]))
    uv = POINTS[:, :2]
    parts = [
        Surface(POINTS, TRIANGLE, uv, texture=red),
        Surface(POINTS + [0, 0, 1], TRIANGLE, tint=np.array([0, 1, 0])),
        Surface(POINTS + [0, 0, 2], TRIANGLE, uv, texture=blue),
    ]
    mesh = build_mesh(parts)
    assert mesh.face_texture.tolist() == [0, -1, 1]
    firsts = [mesh.texels[mesh.mips[t, 0, 0]].tolist() for t in (0, 1)]
    assert firsts == [[255, 0, 0], [0, 0, 255]]
    assert mesh.tint[mesh.faces[1]].tolist() == [[0, 1, 0]] * 3


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 5))
def test_texture_versions_halve_down_to_one_texel(height: int, width: int, seed: int) -> None:
    texture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    texels, mips = pack_textures([texture, np.zeros((1, 1, 3), np.uint8)])
    assert (texels[: height * width].reshape(texture.shape) == texture).all()
    for finer, coarser in zip(mips[0][:-1], mips[0][1:], strict=True):
        assert coarser[1:].tolist() == [max(finer[1] // 2, 1), max(finer[2] // 2, 1)]
        assert coarser[0] == finer[0] + finer[1] * finer[2]
    assert mips[0, -1, 1:].tolist() == [1, 1]
    assert (mips[1, :, 1:] == 1).all()
    assert mips[1, 0, 0] + 1 == len(texels)


def test_large_textures_are_reduced() -> None:
    _, mips = pack_textures([np.zeros((1500, 3000, 3), np.uint8)])
    assert mips[0, 0, 1:].tolist() == [512, 1024]
