from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.simulator.meshes.mesh import Mesh, Surface, build_mesh
from bridge.simulator.objects.procedural import FAMILIES, procedural_mesh
from bridge.simulator.renderers.choice import make_renderer
from bridge.simulator.renderers.lighting import Lamp, Lighting
from bridge.simulator.renderers.protocol import Subframe
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.trajectory import euler_matrix
from tests.bridge.simulator.scenes import HALF, quads, square

SIZE = 72
FOCAL = 100.0  # 72 px * 50 mm / 36 mm
UPRIGHT = np.eye(3)
PUBLISHED = Lighting()


def render(
    mesh: Mesh,
    position: tuple[float, float, float],
    rotation: np.ndarray = UPRIGHT,
    size: tuple[int, int] = (SIZE, SIZE),
    lighting: Lighting = PUBLISHED,
    linear: bool = False,
    offset: tuple[float, float] = (0, 0),
) -> np.ndarray:
    out = np.zeros((*size, 4), np.float32)
    subframe = Subframe(rotation, np.array(position, float), offset)
    RasterCanvas(size).accumulate(mesh, [subframe], lighting, linear, out)
    return out


def distance_for(half_pixels: float) -> float:
    """How far a `square` must be for half its side to have that many pixels."""
    return FOCAL * HALF / half_pixels


def test_square_covers_the_predicted_pixels() -> None:
    expected = np.zeros(SIZE)
    expected[16:56] = 1
    expected[[15, 56]] = 0.5
    # 20.25 px is where samples lie; a hair more takes them in on all four sides.
    alpha = render(square(), (0, 0, -distance_for(20.3)))[..., 3]
    assert alpha == pytest.approx(np.outer(expected, expected))


def test_silhouettes_are_the_pixels_that_are_covered_fully() -> None:
    canvas, mesh = RasterCanvas((48, 64)), procedural_mesh(0, "knot", 0)
    for x in (0.0, 2.0):
        pose = (euler_matrix(np.array([0.4, 0.5, 0.6])), np.array([x, 0.1, -6]))
        out = np.zeros((48, 64, 4), np.float32)
        shape = canvas.silhouette(mesh, *pose)
        canvas.accumulate(mesh, [Subframe(*pose)], PUBLISHED, False, out)
        assert shape.any() and (shape == (out[..., 3] == 1)).all()
        assert canvas.coverage(mesh, *pose) == shape.mean()


def test_longer_side_sets_the_focal_length() -> None:
    wide = render(square(), (0, 0, -8), size=(48, 72))[..., 3]
    tall = render(square(), (0, 0, -8), size=(72, 48))[..., 3]
    assert (wide == tall.T).all()
    assert (wide == render(square(), (0, 0, -8))[12:60, :, 3]).all()


def test_object_moves_right_and_up() -> None:
    alpha = render(square(), (0.8, 0.4, -8))[..., 3]
    rows, columns = np.nonzero(alpha)
    centre = (SIZE - 1) / 2
    assert columns.mean() == pytest.approx(centre + 0.8 * FOCAL / 8, abs=0.3)
    assert rows.mean() == pytest.approx(centre - 0.4 * FOCAL / 8, abs=0.3)


def test_texture_is_perspective_correct_on_a_tilted_square() -> None:
    ramp = np.zeros((256, 256, 3), np.uint8)
    ramp[..., 0] = np.arange(256)
    ramp[..., 1] = 255
    turn = np.deg2rad(65)
    distance = 4.0
    image = render(square(ramp), (0, 0, -distance), euler_matrix(np.array([0, turn, 0])))
    row = image[SIZE // 2]
    inside = np.flatnonzero(row[:, 3] == 1)[1:-1]
    slope = (inside + 0.5 - SIZE / 2) / FOCAL
    # The ray (slope, -1) * t meets the square's line (s cos, -s sin - distance).
    along = slope * distance / (np.cos(turn) - slope * np.sin(turn))
    assert len(inside) > 10
    expected = (along / HALF + 1) / 2
    assert row[inside, 0] / row[inside, 1] == pytest.approx(expected, abs=0.03)
    assert np.abs(expected - np.linspace(expected[0], expected[-1], len(inside))).max() > 0.05


def test_light_is_ambient_plus_lambert_of_the_point_lamp() -> None:
    position = np.array([0.3, -0.2, -6.0])
    image = render(square(tint=(1, 0.5, 0)), tuple(position))
    column, row = 36 + 100 * 0.05, 36 + 100 * 0.2 / 6
    towards = np.array([4.08, 1.01, 5.90]) - position
    distance = np.linalg.norm(towards)
    lamp = 1000 / (4 * np.pi**2 * distance**2) * towards[2] / distance
    factor = (0.6 + lamp) ** (1 / 2.2)
    pixel = image[int(row), int(column)]
    assert pixel == pytest.approx([factor, 0.5 * factor, 0, 1], abs=2e-3)


def test_both_sides_are_lit_the_same() -> None:
    mesh = square(tint=(0.3, 0.6, 0.9))
    back = build_mesh([Surface(mesh.vertices, mesh.faces[:, ::-1], tint=mesh.tint)])
    place = (0.1, 0.2, -6)
    assert render(back, place) == pytest.approx(render(mesh, place), abs=1e-6)


def test_nearer_surface_wins_in_any_order() -> None:
    near = np.array([[-1.0, -1, 0.5], [1, -1, 0.5], [1, 1, 0.5], [-1, 1, 0.5]])
    far = near * 1.5 - [0, 0, 1.25]
    one, other = quads(near, far), quads(far, near)
    image, swapped = render(one, (0, 0, -5)), render(other, (0, 0, -5))
    assert image[36, 36, 0] > 0
    assert image[36, 36, 1] == 0
    assert image[19, 36, 1] > 0
    assert swapped[..., [1, 0, 3]] == pytest.approx(image[..., [0, 1, 3]], abs=1e-6)


def test_intersecting_surfaces_divide_where_they_meet() -> None:
    rising = np.array([[-1.0, -1, -1], [1, -1, 1], [1, 1, 1], [-1, 1, -1]])
    image = render(quads(rising, rising * [1, 1, -1]), (0, 0, -5))
    assert image[36, 45:48, 0].min() > 0.5
    assert image[36, 25:28, 1].min() > 0.5
    assert image[36, 45:48, 1].max() == 0


def test_near_plane_cuts_a_floor_below_the_camera() -> None:
    floor = square()
    flat = euler_matrix(np.array([-np.pi / 2, 0, 0]))
    image = render(floor, (0, -0.11, 0), flat)
    x = (np.arange(SIZE) + 0.5 - SIZE / 2) / FOCAL
    depth = 0.11 / np.where(x > 0, x, np.nan)
    hit = (depth[:, None] < HALF) & (np.abs(x[None, :] * depth[:, None]) < HALF)
    assert hit.sum() > 300
    assert (image[..., 3] >= 0.5).astype(int) == pytest.approx(hit.astype(int))
    assert np.isfinite(image).all()


def test_nothing_is_drawn_behind_the_camera_or_outside_the_picture() -> None:
    for place in ((0, 0, 5), (30, 0, -5), (0, -30, -5)):
        assert not render(square(), place).any()


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.floats(-3.2, 3.2)] * 3), st.integers(2, 9), st.floats(3, 9))
def test_neighbouring_triangles_leave_no_gap_and_no_overlap(
    angles: tuple[float, float, float], cells: int, distance: float
) -> None:
    rotation = euler_matrix(np.array(angles))
    coarse = render(square(), (0.1, 0.2, -distance), rotation)
    fine = render(square(cells=cells), (0.1, 0.2, -distance), rotation)
    # Vertices on the outline may be rounded to either side of a sample.
    assert np.abs(coarse[..., 3] - fine[..., 3]).sum() <= 1.0
    inside = fine[..., 3] > 0
    surrounded = inside.copy()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
        surrounded &= np.roll(coarse[..., 3] == 1, shift, (0, 1))
    assert (fine[surrounded, 3] == 1).all()


def test_fine_texture_far_away_becomes_its_mean() -> None:
    checker = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = render(square(np.repeat(checker[..., None], 3, 2)), (0, 0, -10))
    inside = image[..., 3] == 1
    values = image[inside, 0]
    assert values.std() < 0.02
    assert values.mean() == pytest.approx(0.5 * 0.65 ** (1 / 2.2), abs=0.03)


def test_coverage_counts_the_full_pixels() -> None:
    canvas = RasterCanvas((48, 64))
    pose = (euler_matrix(np.array([0.4, 0.5, 0.6])), np.array([0.2, 0.1, -6]))
    mesh = procedural_mesh(0, "knot", 0)
    out = np.zeros((48, 64, 4), np.float32)
    share = canvas.coverage(mesh, *pose)
    canvas.accumulate(mesh, [Subframe(*pose)], PUBLISHED, False, out)
    assert share == (out[..., 3] == 1).mean()
    assert 0.05 < share < 0.5


def test_one_pose_leaves_nothing_behind_for_the_next() -> None:
    canvas = RasterCanvas((48, 64))
    rng = np.random.default_rng(0)
    for category in sorted(FAMILIES):
        mesh = procedural_mesh(0, category, 1)
        place = np.array([*rng.uniform(-2, 2, 2), rng.uniform(-7, -1)])
        pose = (euler_matrix(rng.uniform(-3, 3, 3)), place)
        canvas.coverage(mesh, pose[0], place + [0, 0, 1])
        out, alone = np.zeros((2, 48, 64, 4), np.float32)
        canvas.accumulate(mesh, [Subframe(*pose)], PUBLISHED, False, out)
        RasterCanvas((48, 64)).accumulate(mesh, [Subframe(*pose)], PUBLISHED, False, alone)
        assert (out == alone).all()
        assert out.min() >= 0
        assert (out[..., :3] <= out[..., 3:]).all()


def test_an_offset_shifts_the_picture() -> None:
    place = (0.3, 0.2, -6.0)
    still, shifted = render(square(), place), render(square(), place, offset=(3, -2))
    assert shifted == pytest.approx(np.roll(still, (-2, 3), (0, 1)), abs=1e-5)
    half = render(square(), (0, 0, -distance_for(20.3)), offset=(0.5, 0))[36, :, 3]
    assert half[16:57] == pytest.approx(1) and half[[15, 57]] == pytest.approx(0)


def test_lamps_add_up_on_the_side_they_shine_on() -> None:
    mesh, place = square(tint=(0.5, 0.5, 0.5), cells=16), (0.0, 0.0, -6.0)

    def light(*lamps: Lamp) -> float:
        lighting = Lighting(0.1, lamps)
        return float(render(mesh, place, lighting=lighting, linear=True)[36, 36, 0])

    front, other, behind = (
        Lamp((x, 0, z), 900) for x, z in ((0.0, 0.0), (3.0, -2.0), (0.0, -12.0))
    )
    dark = light()
    assert dark == pytest.approx(0.1 * 0.5**2.2, rel=1e-5)
    assert light(front) == pytest.approx(dark + 900 / (4 * np.pi**2 * 36) * 0.5**2.2, rel=1e-3)
    assert light(front, other) - dark == pytest.approx(light(front) + light(other) - 2 * dark)
    assert light(behind) == dark


def test_linear_and_display_colours_are_the_same_light() -> None:
    ramp = np.full((4, 4, 3), (30, 120, 220), np.uint8)
    place = (0.1, 0.2, -6.0)
    display, linear = (render(square(ramp), place, linear=linear) for linear in (False, True))
    inside = display[..., 3] == 1
    assert display[inside, :3] ** 2.2 == pytest.approx(linear[inside, :3], rel=2e-3)


def test_holes_of_a_texture_show_what_is_behind() -> None:
    texture = np.zeros((64, 64, 4), np.uint8)
    texture[..., 0] = 255
    texture[:, 32:, 3] = 255
    front = square(texture)
    assert front.face_cutout.all()
    image = render(front, (0, 0, -distance_for(20.3)))
    assert image[36, 38:55, 3] == pytest.approx(1)
    assert not image[:, 17:35].any()


def test_backs_of_closed_objects_are_not_needed() -> None:
    for category in ("box", "knot", "chair"):
        mesh = procedural_mesh(0, category, 0)
        both = dataclasses.replace(mesh, face_one_sided=np.zeros(len(mesh.faces), bool))
        rotation = euler_matrix(np.array([0.4, 0.5, 0.6]))
        assert (render(mesh, (0, 0, -6), rotation) == render(both, (0, 0, -6), rotation)).all()


def test_unknown_renderer_is_refused() -> None:
    with pytest.raises(InputError, match="opengl"):
        make_renderer("opengl", (48, 64))  # type: ignore[arg-type]
