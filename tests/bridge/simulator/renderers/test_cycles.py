from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh, build_mesh
from bridge.simulator.meshes.surface import Surface
from bridge.simulator.objects.procedural import procedural_mesh
from bridge.simulator.renderers.choice import make_renderer
from bridge.simulator.renderers.cycles import (
    PYTHON_VARIABLE,
    BlenderDied,
    CyclesRenderer,
    find_python,
)
from bridge.simulator.renderers.lighting import GAMMA, Lamp, Lighting
from bridge.simulator.trajectory import Trajectory, sample_trajectory
from bridge.simulator.windows import window
from tests.bridge.simulator.scenes import HALF, quads, square
from tests.factories import dying_blender
from tests.waiting import wait_until

SIZE = (72, 96)
FOCAL = 96 * 50 / 36
WHITE = Lighting(ambient=1.0, lamps=())


@pytest.fixture(scope="module")
def renderer() -> Iterator[CyclesRenderer]:
    try:
        find_python()
    except InputError as error:
        pytest.skip(str(error))
    cycles = CyclesRenderer(SIZE)
    yield cycles
    cycles.close()


class Recorder:
    """Stands in for Blender and keeps what it is asked."""

    version = "0"

    def __init__(self, _: Path) -> None:
        self.request: dict[str, Any] = {}

    def ask(self, request: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
        self.request = request
        return np.zeros(shape, np.float32)


def asked(trajectory: Trajectory, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Blender is asked for the exposures 0 and 10 of a square."""
    monkeypatch.setattr("bridge.simulator.renderers.cycles._Blender", Recorder)
    cycles = CyclesRenderer(SIZE, python="python")
    cycles.render(square(), trajectory, WHITE, [0, 10])
    return cycles._blender.request  # type: ignore[attr-defined]


def test_blender_gets_the_camera_and_the_part_of_the_picture_that_is_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distance = distance_for(20.25)
    # 2 pixels to the right and 1 down between two frames.
    step = np.array([2, -1, 0]) * distance / FOCAL
    ends = np.array([0, 0, -distance]) + np.outer([-12, 11], step)
    request = asked(Trajectory(ends, np.zeros((2, 3))), monkeypatch)
    assert request["camera"].tolist() == [50, 36, 0.1]
    assert request["scale"] == 3
    sharp, long = request["borders"] * [96, 96, 72, 72]
    # 20.25 pixels to each side of (48, 36), and 2 or 3 more; y grows upwards.
    assert sharp == pytest.approx([25, 71, 13, 59])
    assert long == pytest.approx([25 - 10, 71 + 10, 13 - 5, 59 + 5])


@pytest.mark.parametrize(
    ("z", "border"), [(-0.1, [0, 1, 0, 1]), (3.0, [0, 0, 1, 1])], ids=["near", "behind"]
)
def test_blender_draws_all_of_what_is_near_and_nothing_of_what_is_behind(
    z: float, border: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(resting(0, 0, z, (0.5, 0, 0)), monkeypatch)
    assert request["borders"].tolist() == [border, border]


def resting(x: float, y: float, z: float, angles: tuple[float, ...] = (0, 0, 0)) -> Trajectory:
    return Trajectory(np.array([[x, y, z]] * 2, float), np.array([angles] * 2, float))


def distance_for(half_pixels: float) -> float:
    """How far a `square` must be for half its side to have that many pixels."""
    return FOCAL * HALF / half_pixels


class Bent(Trajectory):
    """A motion that leaves the straight line and turns on its way."""

    def pose(self, frame: float) -> tuple[np.ndarray, np.ndarray]:
        share = frame / 23
        rotation, location = super().pose(23 * share**2)
        return rotation, location + 4 * share * (1 - share) * np.array([0.0, 0.6, 0.2])


def test_opacity_is_the_covered_area(renderer: CyclesRenderer) -> None:
    place = resting(0, 0, -distance_for(20.25))
    image = renderer.render(square(), place, WHITE, [0], samples=256)[0]
    expected = np.zeros(96)
    expected[28:68] = 1
    expected[[27, 68]] = 0.25
    assert image[..., 3] == pytest.approx(np.outer(expected[12:84], expected), abs=0.02)
    assert image[..., :3] == pytest.approx(np.repeat(image[..., 3:], 3, 2), abs=1e-4)


def test_texture_lies_the_right_way_round(renderer: CyclesRenderer) -> None:
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 0], texture[0, 1], texture[1, 0] = (255, 0, 0), (0, 128, 0), (0, 0, 64)
    texture = texture.repeat(8, 0).repeat(8, 1)
    image = renderer.render(square(texture), resting(0, 0, -8), WHITE, [0])[0]
    half = int(FOCAL * HALF / 8 / 2)
    rows, columns = (36 - half, 36 + half), (48 - half, 48 + half)
    assert image[rows[0], columns[0]] == pytest.approx([1, 0, 0, 1], abs=0.01)
    assert image[rows[0], columns[1]] == pytest.approx([0, 128 / 255, 0, 1], abs=0.01)
    assert image[rows[1], columns[0]] == pytest.approx([0, 0, 64 / 255, 1], abs=0.01)


def test_light_is_the_formula_of_lighting_on_both_sides(renderer: CyclesRenderer) -> None:
    lighting = Lighting(0.1, (Lamp((4.08, 1.01, 5.90), 700.0), Lamp((-3.0, 2.0, 1.0), 90.0)))
    position = np.array([0.3, -0.2, -6.0])
    light = lighting.ambient
    for lamp in lighting.lamps:
        towards = np.array(lamp.position) - position
        light += lamp.watts / (4 * np.pi**2) * towards[2] / np.linalg.norm(towards) ** 3
    mesh = square(tint=(1, 0.5, 0))
    back = build_mesh([Surface(mesh.vertices, mesh.faces[:, ::-1], tint=mesh.tint)])
    row, column = int(36 + FOCAL * 0.2 / 6), int(48 + FOCAL * 0.3 / 6)
    display = light ** (1 / GAMMA)
    for side in (mesh, back):
        image = renderer.render(side, resting(*position), lighting, [0], samples=256)[0]
        assert image[row, column] == pytest.approx([display, display / 2, 0, 1], abs=0.01)
    straight = renderer.render(back, resting(*position), lighting, [0], samples=256, linear=True)
    assert straight[0, row, column, 0] == pytest.approx(light, abs=0.015)


def test_moving_square_is_a_box_convolution(renderer: CyclesRenderer) -> None:
    """A square of 20.5 px half width that moves 3 px to the right per sub-trajectory."""
    distance, speed = distance_for(20.5), 3.0
    scale = speed * distance / FOCAL
    ends = np.array([[-12 * scale, 0, -distance], [11 * scale, 0, -distance]])
    moving = Trajectory(ends, np.zeros((2, 3)))
    windows = [1, 4, 7, 10]
    images = renderer.render(square(), moving, WHITE, windows, samples=256)
    fine = (np.arange(96 * 32) + 0.5) / 32
    for index, image in zip(windows, images, strict=True):
        centres = 48 + speed * (np.linspace(*window(index), 801) - 12)
        covered = (np.abs(fine[:, None] - centres) < 20.5).mean(axis=1)
        expected = covered.reshape(96, 32).mean(axis=1)
        assert image[20:52, :, 3].mean(axis=0) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("kind", [Trajectory, Bent])
def test_agrees_with_the_default_renderer(renderer: CyclesRenderer, kind: type[Trajectory]) -> None:
    knot = procedural_mesh(0, "knot", 0)
    # Smooth colours: Cycles averages fine textures in linear light, mip maps in display space.
    no_texture = np.full_like(knot.face_texture, -1)
    mesh = replace(knot, face_texture=no_texture, tint=knot.vertices + np.float32(0.5))
    ends = np.array([[-0.8, -0.3, -6.0], [1.0, 0.3, -5.2]])
    trajectory = kind(ends, np.array([[0.4, 0.5, 0.6], [0.9, 0.1, 1.0]]))
    windows = [0, 2, 7, 10]
    images = renderer.render(mesh, trajectory, Lighting(), windows, samples=256, linear=True)
    others = make_renderer("raster", SIZE).expose(mesh, trajectory, Lighting(), linear=True)
    for image, expected in zip(images, others[windows], strict=True):
        difference = (image - expected)[(image[..., 3] > 0) | (expected[..., 3] > 0)]
        assert np.abs(difference[:, 3]).mean() < 0.015
        assert np.abs(difference[:, :3]).mean() < 0.01
        assert np.abs(difference.mean(axis=0)).max() < 0.003


def test_exposes_all_windows_in_display_space(renderer: CyclesRenderer) -> None:
    mesh = procedural_mesh(0, "knot", 0)
    moving = Trajectory(np.array([[-1, 0, -5], [1, 0.2, -6]]), np.array([[0.0, 1, 2], [1, 1, 2]]))
    images = renderer.expose(mesh, moving, Lighting())
    linear = renderer.expose(mesh, moving, Lighting(), linear=True)
    assert images.shape == (11, *SIZE, 4)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert (images[..., :3] <= images[..., 3:]).all()
    assert (images[..., 3] == linear[..., 3]).all()
    seen = images[..., 3] > 0
    straight = images[seen][:, :3] / images[seen][:, 3:]
    assert straight**GAMMA * images[seen][:, 3:] == pytest.approx(linear[seen][:, :3], abs=1e-5)


def test_agrees_with_the_default_renderer_on_a_real_object(
    renderer: CyclesRenderer, shared_assets: Path
) -> None:
    mesh = load_mesh(sorted((shared_assets / "meshes").glob("*/*.glb"))[0])
    trajectory = sample_trajectory(np.random.default_rng(0), mesh.extents, SIZE)
    image = renderer.render(mesh, trajectory, Lighting(), [0], samples=256)[0]
    expected = make_renderer("raster", SIZE).expose(mesh, trajectory, Lighting(), linear=False)[0]
    seen = (image[..., 3] > 0) | (expected[..., 3] > 0)
    error = np.abs(image - expected)[seen]
    assert error[:, 3].mean() < 0.012
    assert error[:, :3].mean() < 0.02


def test_holes_show_what_is_behind(renderer: CyclesRenderer) -> None:
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[:, 4:, 3] = 0
    points = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    faces, uv = np.array([[0, 1, 2], [0, 2, 3]]), (points[:, :2] + 1) / 2
    behind = Surface(points * [1, 0.5, 1] - [0, 0.5, 0.2], faces, tint=np.array([0.0, 1.0, 0.0]))
    mesh = build_mesh([Surface(points, faces, uv, texture=texture), behind])
    image = renderer.render(mesh, resting(0, 0, -8), WHITE, [0])[0]
    assert image[25, 40] == pytest.approx([1, 1, 1, 1], abs=0.01)
    assert not image[25, 56].any()
    assert image[44, 56] == pytest.approx([0, 1, 0, 1], abs=0.01)


def test_shadows_fall_only_where_they_are_asked_for(renderer: CyclesRenderer) -> None:
    wall = np.array([[-2.0, -2, 0], [2, -2, 0], [2, 2, 0], [-2, 2, 0]])
    mesh = quads(wall, wall * [0.5, 0.5, 1] + [0, 0, 1.5])
    lamp = Lighting(0.0, (Lamp((4.0, 0.0, -4.0), 300.0),))
    place, beside = resting(0, 0, -8), 33
    lit = renderer.render(mesh, place, lamp, [0], samples=256)[0]
    assert lit[36, beside, 0] > 0.2
    shadowed = CyclesRenderer(SIZE, shadows=True)
    dark = shadowed.render(mesh, place, lamp, [0])[0]
    assert dark[36, beside, 0] < 0.02
    assert dark[36, 48, 1] == pytest.approx(lit[36, 48, 1], abs=0.01)
    open_sky = shadowed.render(square(), place, WHITE, [0])[0]
    assert open_sky[36, 48] == pytest.approx([1, 1, 1, 1], abs=0.01)
    covered_sky = shadowed.render(mesh, place, WHITE, [0], samples=1024)[0]
    assert 0.3 < covered_sky[36, beside, 0] < 0.97
    shadowed.close()


def test_seed_decides_the_noise(renderer: CyclesRenderer) -> None:
    mesh, place = procedural_mesh(0, "knot", 0), resting(0, 0, -6)
    first, again, other = (
        renderer.render(mesh, place, Lighting(), [0], samples=4, seed=seed) for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_objects_can_alternate(renderer: CyclesRenderer) -> None:
    place = resting(0.1, 0.2, -6)
    meshes: list[Mesh] = [procedural_mesh(0, name, 0) for name in ("knot", "vase")]
    first = [renderer.render(mesh, place, Lighting(), [0], samples=4) for mesh in meshes]
    again = [renderer.render(mesh, place, Lighting(), [0], samples=4) for mesh in meshes]
    assert (np.array(first) == np.array(again)).all()


def test_nothing_is_drawn_behind_the_camera_or_outside_the_picture(
    renderer: CyclesRenderer,
) -> None:
    for place in ((0, 0, 5), (30, 0, -5), (0, -30, -5)):
        assert not renderer.expose(square(), resting(*place), WHITE).any()


def test_python_without_blender_is_refused() -> None:
    with pytest.raises(InputError, match=r"make cycles.*No module named 'bpy'"):
        CyclesRenderer(SIZE, python=sys.executable)
    with pytest.raises(InputError, match="does not run"):
        CyclesRenderer(SIZE, python="/nowhere/python")


def test_variable_names_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, "/nowhere/python")
    assert find_python() == Path("/nowhere/python")
    with pytest.raises(InputError, match="/nowhere/python"):
        make_renderer("cycles", SIZE)


def test_failures_of_blender_are_told(renderer: CyclesRenderer) -> None:
    doomed = CyclesRenderer(SIZE)
    with pytest.raises(RuntimeError, match=r"(?s)Blender failed.*samples"):
        doomed.render(square(), resting(0, 0, -6), WHITE, [0], samples=2**40)
    assert doomed.render(square(), resting(0, 0, -6), WHITE, [0], samples=1).any()
    doomed.close()
    with pytest.raises(RuntimeError, match="closed"):
        doomed.render(square(), resting(0, 0, -6), WHITE, [0])


def test_blender_that_dies_is_started_again(renderer: CyclesRenderer) -> None:
    cycles, mesh, place = CyclesRenderer(SIZE, samples=4), square(), resting(0, 0, -6)
    image = cycles.render(mesh, place, WHITE, [0])
    first = cycles.pid
    os.kill(first, signal.SIGKILL)
    assert (cycles.render(mesh, place, WHITE, [0]) == image).all()
    assert cycles.pid != first
    cycles.close()


def test_blender_that_dies_twice_costs_these_images_alone(tmp_path: Path) -> None:
    cycles, mesh = CyclesRenderer(SIZE, python=dying_blender(tmp_path, deaths=3)), square()
    with pytest.raises(BlenderDied, match="died twice: it ended with code 9"):
        cycles.render(mesh, resting(0, 0, -6), WHITE, [0])
    # The third death is the first at these images.
    assert not cycles.render(mesh, resting(0, 0, -6), WHITE, [0]).any()
    cycles.close()


def test_killed_blender_leaves_no_files(
    renderer: CyclesRenderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cycles = CyclesRenderer(SIZE)
    assert cycles.render(square(), resting(0, 0, -6), WHITE, [0, 1], samples=1).any()
    os.kill(cycles.pid, signal.SIGKILL)
    cycles.close()
    assert not list(tmp_path.iterdir())


def test_process_ends_with_its_parent(renderer: CyclesRenderer) -> None:
    code = (
        "import os, signal\n"
        "from bridge.simulator.renderers.cycles import CyclesRenderer\n"
        f"renderer = CyclesRenderer({SIZE})\n"
        "print(renderer.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    pid = int(output.stdout)
    wait_until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Nobody may collect an orphan, as in a container whose first process does not.
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
