from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh, Surface, build_mesh
from bridge.simulator.objects.procedural import FAMILIES, procedural_mesh
from bridge.simulator.renderers.gl import GLCanvas
from bridge.simulator.renderers.lighting import GAMMA, Lamp, Lighting
from bridge.simulator.renderers.protocol import Canvas, Subframe
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.renderers.subframes import SubframeRenderer
from bridge.simulator.trajectory import euler_matrix, sample_trajectory
from tests.bridge.simulator.scenes import square

SIZE = (96, 128)
LIGHT = Lighting()
UPRIGHT = np.eye(3)


@pytest.fixture(scope="module")
def gl() -> GLCanvas:
    try:
        return GLCanvas(SIZE)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def raster() -> RasterCanvas:
    return RasterCanvas(SIZE)


def at(
    x: float, y: float, z: float, turn: np.ndarray = UPRIGHT, offset: tuple[float, float] = (0, 0)
) -> Subframe:
    return Subframe(turn, np.array([x, y, z]), offset)


def render(
    canvas: Canvas,
    mesh: Mesh,
    *subframes: Subframe,
    lighting: Lighting = LIGHT,
    linear: bool = False,
) -> np.ndarray:
    out = np.zeros((*SIZE, 4), np.float32)
    canvas.accumulate(mesh, subframes, lighting, linear, out)
    return out


def check_agreement(ours: np.ndarray, theirs: np.ndarray, colour: float) -> None:
    """Mean errors over the pixels that either image covers."""
    covered = (ours[..., 3] > 0) | (theirs[..., 3] > 0)
    assert covered.sum() > 50
    error = np.abs(ours - theirs)[covered]
    assert error[:, 3].mean() < 0.002
    assert error[:, :3].mean() < colour


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("category", sorted(FAMILIES))
def test_procedural_objects_look_as_the_raster_draws_them(
    gl: GLCanvas, raster: RasterCanvas, category: str, linear: bool
) -> None:
    mesh = procedural_mesh(0, category, 1)
    rng = np.random.default_rng(len(category))
    subframes = [
        at(x, y, z, euler_matrix(rng.uniform(-3, 3, 3)), tuple(rng.uniform(-0.5, 0.5, 2)))
        for x, y, z in rng.uniform([-1, -1, -8], [1, 1, -4], (3, 3))
    ]
    lighting = Lighting(0.3, (Lamp((-3, 2, 1), 700.0), Lamp((4, 1, 6), 1000.0)))
    images = [
        render(canvas, mesh, *subframes, lighting=lighting, linear=linear) / 3
        for canvas in (gl, raster)
    ]
    check_agreement(*images, colour=0.01)


def test_real_objects_look_as_the_raster_draws_them(
    gl: GLCanvas, raster: RasterCanvas, shared_assets: Path
) -> None:
    for path in sorted((shared_assets / "meshes").glob("*/*.glb"))[::150]:
        mesh = load_mesh(path)
        trajectory = sample_trajectory(np.random.default_rng(0), mesh.extents, SIZE)
        pose = Subframe(*trajectory.pose(12))
        check_agreement(render(gl, mesh, pose), render(raster, mesh, pose), colour=0.006)


def test_exposures_agree_with_those_of_the_raster(gl: GLCanvas, raster: RasterCanvas) -> None:
    mesh = procedural_mesh(0, "knot", 0)
    trajectory = sample_trajectory(np.random.default_rng(1), mesh.extents, SIZE)
    ours, theirs = (
        SubframeRenderer(canvas, 2.0).expose(mesh, trajectory, LIGHT, linear=False)
        for canvas in (gl, raster)
    )
    # The raster gives the samples of a pixel one colour, which shows where the texture has edges.
    for window, colour in ((0, 0.012), (1, 0.008), (10, 0.004)):
        check_agreement(ours[window], theirs[window], colour)


def test_offset_moves_the_image_right_and_down(gl: GLCanvas) -> None:
    turn = euler_matrix(np.array([0.3, 0.4, 0.5]))
    still = render(gl, square(), at(0, 0, -6, turn))
    moved = render(gl, square(), at(0, 0, -6, turn, offset=(3, 2)))
    assert moved[..., 3] == pytest.approx(np.roll(still[..., 3], (2, 3), (0, 1)), abs=0.26)
    assert np.abs(moved - np.roll(still, (2, 3), (0, 1))).mean() < 1e-4


def test_sums_of_many_subframes_are_exact_and_added_to_what_is_there(gl: GLCanvas) -> None:
    pose = at(0.2, 0.1, -6, euler_matrix(np.array([0.3, 0.4, 0.5])))
    one = render(gl, square(tint=(0.3, 0.6, 0.9)), pose)
    out = np.full_like(one, 5)
    gl.accumulate(square(tint=(0.3, 0.6, 0.9)), [pose] * 200, LIGHT, False, out)
    assert (out[..., 3] == 5 + 200 * one[..., 3]).all()
    assert out == pytest.approx(5 + 200 * one, rel=1e-5)


def test_linear_light_is_display_value_to_the_power_of_gamma(gl: GLCanvas) -> None:
    pose = at(0.2, 0.1, -6)
    mesh = square(tint=(0.3, 0.6, 0.9))
    display, linear = render(gl, mesh, pose), render(gl, mesh, pose, linear=True)
    full = display[..., 3] == 1
    assert (linear[..., 3] == display[..., 3]).all()
    assert linear[full, :3] == pytest.approx(display[full, :3] ** GAMMA, abs=1e-3)


def test_light_is_that_of_the_formula_at_the_sample(gl: GLCanvas) -> None:
    lamp = Lamp((0.5, 0.25, -5.0), 60.0)
    image = render(gl, square(tint=(1, 0.5, 0)), at(0, 0, -6), lighting=Lighting(0.1, (lamp,)))
    row, column = 30, 90
    focal = 128 * 50 / 36
    place = np.array([(column + 0.5 - 64) / focal * 6, -(row + 0.5 - 48) / focal * 6, -6])
    towards = np.array(lamp.position) - place
    factor = (0.1 + 60 / (4 * np.pi**2) * towards[2] / np.linalg.norm(towards) ** 3) ** (1 / GAMMA)
    assert image[row, column] == pytest.approx(
        [min(factor, 1), min(0.5 * factor, 1), 0, 1], abs=2e-3
    )


def test_light_without_lamps_is_the_ambient(gl: GLCanvas) -> None:
    image = render(gl, square(), at(0, 0, -6), lighting=Lighting(0.5, ()))
    assert image[48, 64] == pytest.approx([0.5 ** (1 / GAMMA)] * 3 + [1], abs=1e-4)


def test_both_sides_are_lit_the_same(gl: GLCanvas) -> None:
    mesh = square(tint=(0.3, 0.6, 0.9))
    back = replace(mesh, faces=mesh.faces[:, ::-1].copy(), normals=-mesh.normals)
    pose = at(0.1, 0.2, -6)
    assert render(gl, back, pose) == pytest.approx(render(gl, mesh, pose), abs=1e-6)


def test_back_of_a_one_sided_face_is_left_out(gl: GLCanvas) -> None:
    mesh = square()
    front = replace(mesh, face_one_sided=np.ones(len(mesh.faces), bool))
    back = replace(front, faces=mesh.faces[:, ::-1].copy())
    assert (render(gl, front, at(0, 0, -6)) == render(gl, mesh, at(0, 0, -6))).all()
    assert not render(gl, back, at(0, 0, -6)).any()


def test_holes_show_what_is_behind(gl: GLCanvas, raster: RasterCanvas) -> None:
    front = np.array([[-1.0, -1, 0.5], [1, -1, 0.5], [1, 1, 0.5], [-1, 1, 0.5]])
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[2:6, 2:6, 3] = 0
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = build_mesh(
        [
            Surface(front, faces, uv, tint=np.array([1, 0, 0]), texture=texture),
            Surface(front * 1.5 - [0, 0, 1.25], faces, tint=np.array([0, 1, 0])),
        ]
    )
    image = render(gl, mesh, at(0, 0, -5))
    assert (image[48, 64, :3] > 0).tolist() == [False, True, False]
    assert (image[48, 44, :3] > 0).tolist() == [True, False, False]
    check_agreement(image, render(raster, mesh, at(0, 0, -5)), colour=0.01)


def test_near_plane_cuts_a_floor_below_the_camera(gl: GLCanvas, raster: RasterCanvas) -> None:
    floor = at(0, -0.11, 0, euler_matrix(np.array([-np.pi / 2, 0, 0])))
    check_agreement(render(gl, square(), floor), render(raster, square(), floor), colour=0.02)


@pytest.mark.parametrize("place", [(0, 0, 5), (30, 0, -5), (0, -30, -5)])
def test_nothing_is_drawn_behind_the_camera_or_outside_the_picture(
    gl: GLCanvas, place: tuple[float, float, float]
) -> None:
    assert not render(gl, square(), at(*place)).any()


def test_nothing_of_one_mesh_or_subframe_remains_for_the_next(gl: GLCanvas) -> None:
    meshes = [procedural_mesh(0, category, 1) for category in sorted(FAMILIES)[:2]] * 2
    rng = np.random.default_rng(0)
    for mesh in meshes:
        pose = at(*rng.uniform([-2, -2, -7], [2, 2, -2]), euler_matrix(rng.uniform(-3, 3, 3)))
        render(gl, mesh, at(0, 0, -3), pose)
        assert (render(gl, mesh, pose) == render(GLCanvas(SIZE), mesh, pose)).all()


def test_more_lamps_than_there_is_room_for_are_refused(gl: GLCanvas) -> None:
    lamps = (Lamp((1, 2, 3), 10.0),) * 9
    with pytest.raises(ValueError, match="8 lamps"):
        render(gl, square(), at(0, 0, -6), lighting=Lighting(0.5, lamps))


def test_device_can_be_told(gl: GLCanvas) -> None:
    assert gl.describe().strip()
