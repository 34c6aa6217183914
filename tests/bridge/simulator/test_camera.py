from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator import camera
from bridge.simulator.camera import PixelBox, project, touched_pixels
from bridge.simulator.renderers.gl import _to_camera, _to_screen
from bridge.simulator.renderers.protocol import Subframe
from bridge.simulator.renderers.raster_kernels import transform_vertices
from bridge.simulator.trajectory import euler_matrix
from tests.bridge.simulator.scenes import square

SIZE = (240, 320)
ALL = PixelBox(0, 0, 320, 240)


def test_the_worked_example() -> None:
    seen = project(np.array([1, 0.5, -6]), SIZE)
    assert seen == pytest.approx([160 + 4000 / 9 / 6, 120 - 2000 / 9 / 6, 6])
    assert seen.round(2).tolist() == [234.07, 82.96, 6.0]


def test_the_longer_side_is_that_of_the_sensor() -> None:
    assert camera.focal_length(SIZE) == camera.focal_length((320, 240)) == 320 * 50 / 36
    # Half the sensor, seen through the lens.
    edge = np.array([18 / 50, 0, -1])
    assert project(edge, SIZE)[0] == pytest.approx(320)
    assert project(edge[[1, 0, 2]], (320, 240))[1] == pytest.approx(0)


def test_an_offset_moves_the_image_right_and_down() -> None:
    point = np.array([[0.3, 0.2, -4.0]])
    moved = project(point, SIZE, offset=(3, 2)) - project(point, SIZE)
    assert moved == pytest.approx(np.array([[3, 2, 0]]))


def test_objects_are_scaled_turned_and_moved_at_one_pose_or_several() -> None:
    rng = np.random.default_rng(0)
    points, translations = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    rotations = np.stack([euler_matrix(angles) for angles in rng.uniform(-3, 3, (4, 3))])
    poses = camera.to_camera(points, rotations, translations)
    for rotation, translation, pose in zip(rotations, translations, poses, strict=True):
        expected = [rotation @ (3 * point) + translation for point in points]
        assert pose == pytest.approx(np.array(expected))
        assert camera.to_camera(points, rotation, translation) == pytest.approx(pose)


def test_corners_are_those_of_the_box() -> None:
    corners = camera.box_corners(np.array([[0, 5, 2], [1, 4, 3], [0.5, 4.5, 2.5]]))
    assert {tuple(c) for c in corners} == {
        (x, y, z) for x in (0, 1) for y in (4, 5) for z in (2, 3)
    }


def test_touched_pixels_of_a_square() -> None:
    # Corners at 160 +- 100 and 120 +- 100 pixels, and a bit.
    half = 100.5 * 6 / (320 * 50 / 36)
    corners = np.array([[x * half, y * half, -6] for x in (-1, 1) for y in (-1, 1)])
    box = touched_pixels(project(corners, SIZE), SIZE, margin=0)
    assert box == (59, 19, 261, 221) and not box.is_empty
    assert touched_pixels(project(corners, SIZE), SIZE, margin=2) == (57, 17, 263, 223)
    assert touched_pixels(project(corners, SIZE), SIZE, margin=50) == (9, 0, 311, 240)
    assert np.zeros(SIZE)[box.slices].shape == (202, 202)


@pytest.mark.parametrize("x", [-50, 50])
def test_nothing_outside_the_picture_is_touched(x: float) -> None:
    assert touched_pixels(project(np.array([[x, 0, -6.0]]), SIZE), SIZE, 3).is_empty


def test_what_reaches_the_near_plane_may_touch_everything_and_what_is_behind_nothing() -> None:
    far, near, behind = ([0.0, 0.0, z] for z in (-6, -0.1, 2))
    assert touched_pixels(project(np.array([far, near]), SIZE), SIZE, 1) == ALL
    assert touched_pixels(project(np.array([far, behind]), SIZE), SIZE, 1) == ALL
    assert touched_pixels(project(np.array([near, behind]), SIZE), SIZE, 1).is_empty


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_the_box_holds_every_visible_point_of_the_hull(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(8, 3)) + [0, 0, -rng.uniform(0, 6)]
    hull = rng.dirichlet(np.ones(8), 200) @ corners
    seen = project(hull[hull[:, 2] < -camera.NEAR], SIZE)
    shown = seen[((seen[:, :2] >= 0) & (seen[:, :2] < [320, 240])).all(axis=1), :2].astype(int)
    left, top, right, bottom = touched_pixels(project(corners, SIZE), SIZE, 0)
    assert ((shown >= [left, top]) & (shown < [right, bottom])).all()


def test_the_raster_and_opengl_show_points_where_the_camera_does() -> None:
    rng = np.random.default_rng(1)
    mesh, pose = square(cells=2), (euler_matrix(rng.uniform(-3, 3, 3)), np.array([0.5, -0.3, -5]))
    expected = project(camera.to_camera(mesh.vertices, *pose), SIZE, (0.25, -0.125))
    room, screen, light = np.empty((9, 3)), np.empty((9, 3)), np.empty((9, 2))
    view = camera.focal_length(SIZE), 160.25, 119.875
    lamps = np.empty((0, 4))
    transform_vertices(
        mesh.vertices, mesh.normals, *pose, camera.OBJECT_SCALE, lamps, 1.0, 1.0, *view,
        room, screen, light,
    )  # fmt: skip
    assert screen[:, :2] == pytest.approx(expected[:, :2])
    assert 1 / screen[:, 2] == pytest.approx(expected[:, 2])
    subframe = Subframe(*pose, (0.25, -0.125))
    whole = np.concatenate([mesh.vertices, np.ones((9, 1))], axis=1)
    clip = whole @ (_to_screen(subframe, SIZE) @ _to_camera(subframe)).T
    assert (clip[:, :2] / clip[:, 3:] + 1) / 2 * [320, 240] == pytest.approx(expected[:, :2])
    assert clip[:, 3] == pytest.approx(expected[:, 2])
