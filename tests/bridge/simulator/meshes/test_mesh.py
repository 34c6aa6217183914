from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator.meshes import mesh as mesh_module
from bridge.simulator.meshes.mesh import MeshError, Surface, build_mesh
from bridge.simulator.meshes.normals import smooth_between_creases
from bridge.simulator.objects.shapes import box, revolve

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


@pytest.mark.parametrize(("distance", "size"), [(30, 0), (1e9, 0), (30, 1e-6)])
def test_what_is_dropped_does_not_count_for_the_box(distance: float, size: float) -> None:
    """A triangle far away, of no area or of less than counts in so large a box."""
    stray = np.array([[0.0, 0, 0], [size, 0, 0], [0, size, 0]]) + [distance, 0, 0]
    sides = box((1, 2, 2))
    mesh = build_mesh([*sides, Surface(stray, TRIANGLE)])
    assert mesh.extents == pytest.approx((1 / 3, 2 / 3, 2 / 3), abs=1e-6)
    assert mesh.vertices == pytest.approx(build_mesh(sides).vertices, abs=1e-6)


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
    assert firsts == [[255, 0, 0, 255], [0, 0, 255, 255]]
    assert mesh.tint[mesh.faces[1]].tolist() == [[0, 1, 0]] * 3


def test_a_shared_texture_is_packed_once() -> None:
    texture = np.zeros((4, 4, 3), np.uint8)
    uv = POINTS[:, :2]
    mesh = build_mesh(
        [Surface(POINTS + [0, 0, z], TRIANGLE, uv, texture=texture) for z in range(3)]
    )
    assert mesh.face_texture.tolist() == [0, 0, 0]
    assert len(mesh.texels) == 16 + 4 + 1


def test_faces_of_textures_with_holes_are_marked() -> None:
    holes = np.full((4, 4, 4), 255, np.uint8)
    solid = holes.copy()
    holes[0, 0, 3] = 127
    parts = [Surface(POINTS, TRIANGLE, POINTS[:, :2], texture=t) for t in (holes, solid, None)]
    assert build_mesh(parts).face_cutout.tolist() == [True, False, False]


def test_bad_normals_are_derived_anew() -> None:
    normals = np.array([[0.0, 0, 1], [0, 0, 1], [np.nan, 0, 0]])
    for bad in (normals, normals * 0):
        mesh = build_mesh([Surface(POINTS, TRIANGLE, normals=bad)])
        assert mesh.normals == pytest.approx(np.tile([0, 0, 1], (3, 1)))


def test_lost_triangles_are_recorded_above_one_percent() -> None:
    def remarks(bad: int) -> tuple:
        faces = np.concatenate([np.tile(TRIANGLE, (200, 1)), np.tile([[0, 0, 1]], (bad, 1))])
        return build_mesh([Surface(POINTS, faces)], [("missing_texture", "a.png")]).adjusted

    assert remarks(2) == (("missing_texture", "a.png"),)
    assert remarks(5) == (("missing_texture", "a.png"), ("dropped_triangles", "5 of 205"))


def test_parts_that_wind_inwards_are_turned() -> None:
    def inside_out(surface: Surface) -> Surface:
        return Surface(surface.vertices, surface.faces[:, ::-1])

    mesh = build_mesh([inside_out(side) for side in box((1, 2, 3))])
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    middle = (a + b + c) / 3
    assert mesh.face_one_sided.all()
    assert (np.cross(b - a, c - a) * middle).sum(axis=1).min() > 0
    assert (mesh.normals[mesh.faces[:, 0]] * middle).sum(axis=1).min() > 0


def test_huge_meshes_are_simplified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_module, "MAX_TRIANGLES", 1000)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 40)
    sphere = revolve(np.stack([np.cos(angle), np.sin(angle)], -1), sides=60)
    mesh = build_mesh([sphere])
    assert 900 <= len(mesh.faces) <= 1000
    (reason, detail), (dropped, _) = reversed(mesh.adjusted)
    assert (reason, dropped) == ("simplified", "dropped_triangles")
    assert detail == f"4,560 to {len(mesh.faces):,} triangles"
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(1 / 12**0.5, abs=0.005)
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1, abs=1e-4)
