from __future__ import annotations

import numpy as np
import pytest

from bridge.simulator.meshes.obj_geometry import read_geometry

CORNERS = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
COORDINATES = "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


def test_corners_of_every_form_may_stand_side_by_side() -> None:
    geometry = read_geometry(
        CORNERS + COORDINATES + "vn 0 0 1\n"
        "f 1 2 3\nf 1/4 2/3 3/2 4/1\nf 1//1 2//1 3//1\nf 1/1/1 2/2 3\nf 1/ 2/2/ 3/9/7\nF  1  2  3\n"
    )
    assert geometry.counts.tolist() == [3, 4, 3, 3, 3, 3]
    assert geometry.corners.tolist() == [
        *([0, -1, -1], [1, -1, -1], [2, -1, -1]),
        *([0, 3, -1], [1, 2, -1], [2, 1, -1], [3, 0, -1]),
        *([0, -1, 0], [1, -1, 0], [2, -1, 0]),
        *([0, 0, 0], [1, 1, -1], [2, -1, -1]),
        # Numbers of what does not exist are as good as none, but for those of vertices.
        *([0, -1, -1], [1, 1, -1], [2, -1, -1]),
        *([0, -1, -1], [1, -1, -1], [2, -1, -1]),
    ]


def test_relative_numbers_count_from_the_line_they_stand_in() -> None:
    part = CORNERS + COORDINATES + "f -4/-4 -3/-3 -2/-2\n"
    geometry = read_geometry(part + "vt 5 5\n" + part + "f 1/1 -1/-1 6/5\n")
    assert geometry.corners[:, :2].tolist() == [
        *([0, 0], [1, 1], [2, 2]),
        *([4, 5], [5, 6], [6, 7]),
        *([0, 0], [7, 8], [5, 4]),
    ]


def test_numbers_of_vertices() -> None:
    geometry = read_geometry(
        "v 1 2 3\nv 4 5 6 0.5\nv -1.#IND 1e-3 +2\nv 1 2\nvt .5\nvt 1 2 3\nvn 0 0 1\n"
    )
    assert geometry.positions[:2].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.isnan(geometry.positions[2, 0]) and geometry.positions[2, 1:].tolist() == [0.001, 2]
    assert np.isnan(geometry.positions[3, 2])
    assert geometry.coordinates.tolist() == [[0.5, 0], [1, 2]]
    assert geometry.normals.tolist() == [[0, 0, 1]]
    assert geometry.colours is None


def test_control_characters_are_blanks() -> None:
    geometry = read_geometry("v 1\0 2 3\nv 4 5\x0b6\nvt .5\x1f1\n")
    assert geometry.positions.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert geometry.coordinates.tolist() == [[0.5, 1]]


@pytest.mark.parametrize("high", [1.0, 255.0])
def test_colours_of_vertices(high: float) -> None:
    lines = f"v 0 0 0 {high} 0 {high / 2}\nv 1 0 0\nv 0 1 0 0 {high} 0 {high}\n"
    colours = read_geometry(lines).colours
    assert colours is not None
    assert colours.tolist() == [[1, 0, 0.5], [1, 1, 1], [0, 1, 0]]


def test_materials_and_libraries() -> None:
    face = "f 1 2 3\n"
    geometry = read_geometry(
        f"MTLLIB a.mtl b.mtl\nmtllib c d.mtl\nmtllib\n{CORNERS}{face}usemtl x\n{face}{face}"
        f"usemtl\n{face}UseMtl y z\nusemtl x\n{face}"
    )
    assert geometry.libraries == ["a.mtl b.mtl", "c d.mtl"]
    names = [geometry.materials[number] for number in geometry.face_material]
    assert names == [None, "x", "x", "", "x"]


@pytest.mark.parametrize("face", ["f 1 2 c", "f 1 2 3.5", "f 1 2 é", "f 1 2 0x3"])
def test_faces_of_something_else_are_refused(face: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        read_geometry(CORNERS + face)


def test_an_empty_file_is_nothing() -> None:
    geometry = read_geometry("")
    assert not len(geometry.positions) and not len(geometry.corners) and not len(geometry.counts)
