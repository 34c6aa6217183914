from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.simulator.meshes.closed_parts import closed_parts
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.objects.shapes import box, revolve

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float) - 0.5
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
    + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)


def find(vertices: np.ndarray, faces: np.ndarray, holes: object = False) -> tuple[list, list]:
    scaled = (vertices / np.linalg.norm(np.ptp(vertices, axis=0))).astype(np.float32)
    closed, inside_out = closed_parts(scaled, faces, np.broadcast_to(holes, len(faces)))
    return closed.tolist(), inside_out.tolist()


def joined(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts])
    return (
        np.concatenate([vertices for vertices, _ in parts]),
        np.concatenate([faces + start for (_, faces), start in zip(parts, starts, strict=False)]),
    )


def test_a_cube_is_closed() -> None:
    assert find(CUBE, CUBE_FACES) == ([True] * 12, [False] * 12)


def test_seams_between_vertices_do_not_open_a_part() -> None:
    sides = [(side.vertices, side.faces) for side in box((1, 2, 3))]
    assert all(find(*joined(*sides))[0])
    angle = np.linspace(-np.pi / 2, np.pi / 2, 20)
    ball = revolve(np.stack([np.cos(angle) * (np.abs(angle) < 1.57), np.sin(angle)], -1))
    corners = ball.vertices[ball.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    assert all(find(ball.vertices, ball.faces[area > 1e-9])[0])


def test_a_cube_that_winds_inwards_is_told() -> None:
    assert find(CUBE, CUBE_FACES[:, ::-1]) == ([True] * 12, [True] * 12)


@pytest.mark.parametrize("gone", range(12))
def test_an_open_cube_is_not_closed(gone: int) -> None:
    assert not any(find(CUBE, np.delete(CUBE_FACES, gone, axis=0))[0])


def test_one_turned_triangle_spoils_its_part() -> None:
    faces = CUBE_FACES.copy()
    faces[3] = faces[3, ::-1]
    assert not any(find(CUBE, faces)[0])


def test_an_edge_of_four_triangles_is_odd() -> None:
    assert not any(find(*joined((CUBE, CUBE_FACES), (CUBE + [1, 1, 0], CUBE_FACES)))[0])


def test_a_hole_in_the_texture_spoils_its_part_only() -> None:
    holes = np.zeros(24, bool)
    holes[5] = True
    both = joined((CUBE, CUBE_FACES), (CUBE * 2 + 3, CUBE_FACES))
    assert find(*both, holes)[0] == [False] * 12 + [True] * 12


def bow_tie() -> tuple[np.ndarray, np.ndarray]:
    """Two cones that meet in a point, one of which winds inwards; the larger one decides."""
    turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns), np.ones(16)], -1)
    vertices = np.concatenate([ring, -0.6 * ring, [[0, 0, 1], [0, 0, -0.6]]])
    i = np.arange(16)
    j = (i + 1) % 16
    wall = np.concatenate([np.stack([i, j + 16, j], -1), np.stack([i, i + 16, j + 16], -1)])
    caps = [np.stack([i, j, i * 0 + 32], -1), np.stack([j + 16, i + 16, i * 0 + 33], -1)]
    return vertices, np.concatenate([wall, *caps])


def test_a_part_that_turns_itself_inside_out_is_odd() -> None:
    vertices, faces = bow_tie()
    assert not any(find(vertices, faces)[0])
    straight = vertices.copy()
    straight[16:32, :2] *= -1
    assert all(find(straight, faces)[0])


def tube(sides: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A closed cylinder of length 1, whose wall is slivers of that length."""
    turns = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns), turns * 0], -1) * radius
    vertices = np.concatenate([ring, ring + [0, 0, 1], [[0, 0, 0], [0, 0, 1]]])
    i = np.arange(sides)
    j = (i + 1) % sides
    wall = [np.stack([i, j, j + sides], -1), np.stack([i, j + sides, i + sides], -1)]
    bottom, top = i * 0 + 2 * sides, i * 0 + 2 * sides + 1
    caps = [np.stack([j, i, bottom], -1), np.stack([i + sides, j + sides, top], -1)]
    # One of the test lines runs through the origin, where no vertex may lie.
    return vertices + [0.31, 0.17, 0.23], np.concatenate([*wall, *caps])


def test_slivers_across_the_lines_need_little_room() -> None:
    assert all(find(*tube(1000, 0.2))[0])


def test_what_needs_too_much_room_is_not_claimed() -> None:
    """The boxes of a needle's slivers hold billions of lines."""
    needle = tube(3000, 0.002)
    assert not any(find(*needle)[0])
    claimed = find(*joined((CUBE + 2, CUBE_FACES), needle))[0]
    assert claimed == [True] * 12 + [False] * len(needle[1])


def test_parts_far_apart_in_number_share_no_lines() -> None:
    """A part that turns inside out, number 4096, in the cube number 0."""
    bow, faces = bow_tie()
    along = np.linspace(-1, 1, 4095)[:, None] * [0.414, -0.618, 0] - [0, 0, 0.68]
    corners = (along[:, None] + 1e-4 * np.eye(3)).reshape(-1, 3)
    between = corners, np.arange(len(corners)).reshape(-1, 3)
    claimed = find(*joined((CUBE, CUBE_FACES), between, (bow * 0.2, faces)))[0]
    assert claimed == [True] * 12 + [False] * (4095 + len(faces))


def test_a_flat_part_has_no_outside() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1e-12]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    assert not any(find(points, faces)[0])
    points[3, 2] = 1
    assert all(find(points, faces)[0])


def test_parts_of_real_meshes(shared_assets: Path) -> None:
    paths = sorted((shared_assets / "meshes").glob("*/*.glb"))[::60]
    shares = [load_mesh(path).face_one_sided.mean() for path in paths]
    assert np.mean(shares) > 0.3
