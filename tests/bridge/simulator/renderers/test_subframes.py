from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge.blur import blur_severity, eight_bit
from bridge.simulator.objects.procedural import procedural_mesh
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Subframe
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.renderers.subframes import SubframeRenderer
from bridge.simulator.trajectory import Trajectory
from bridge.simulator.windows import added_frame, window
from tests.bridge.simulator.scenes import HALF, quads, square

WINDOWS = [
    (12, 12),
    (11, 12),
    (11, 13),
    (10, 13),
    (10, 14),
    (9, 14),
    (9, 15),
    (8, 15),
    (8, 16),
    (7, 16),
    (7, 17),
]


def test_windows_are_those_of_the_published_data() -> None:
    assert [window(k) for k in range(11)] == WINDOWS


def test_each_window_adds_one_sub_trajectory() -> None:
    covered: set[int] = set()
    for index in range(1, 11):
        covered.add(added_frame(index))
        assert covered == set(range(*WINDOWS[index]))


def renderer(size: tuple[int, int], step: float = 1.0) -> SubframeRenderer:
    return SubframeRenderer(RasterCanvas(size), step)


def sideways(speed: float, half: float, size: int = 72) -> Trajectory:
    """A `square` of so many pixels moves `speed` px to the right per sub-trajectory."""
    distance = size * 50 / 36 * HALF / half
    pixel = distance / (size * 50 / 36)
    location = [[-12 * speed * pixel, 0, -distance], [11 * speed * pixel, 0, -distance]]
    return Trajectory(np.array(location), np.zeros((2, 3)))


def exact_row(speed: float, half: float, frames: tuple[int, int]) -> NDArray[np.float64]:
    """Opacity of a row of 72 pixels through the middle of such a square."""
    fine = (np.arange(72 * 64) + 0.5) / 64
    instants = np.linspace(*frames, 1601) if frames[0] < frames[1] else np.array([12.0])
    centres = 36 + speed * (instants - 12)
    covered = (np.abs(fine[:, None] - centres) < half).mean(axis=1)
    return covered.reshape(72, 64).mean(axis=1)


@pytest.mark.parametrize("speed", [0.3, 4.0, 9.0])
def test_moving_square_is_a_box_convolution(speed: float) -> None:
    images = renderer((72, 72)).expose(square(), sideways(speed, 12.5), Lighting(), linear=False)
    for index, frames in enumerate(WINDOWS):
        expected = exact_row(speed, 12.5, frames)
        assert images[index, 36, :, 3] == pytest.approx(expected, abs=0.08)
        assert np.abs(images[index, 36, :, 3] - expected).mean() < 0.006
        inside = expected > 0.1
        ratio = images[index, 36, inside, 0] / images[index, 36, inside, 3]
        assert np.ptp(ratio) < 0.03


@pytest.mark.parametrize("speed", [3.0, 8.0])
def test_blur_severity_is_not_biased(speed: float) -> None:
    """The whole band that the square sweeps counts, as far as an 8-bit mask can tell."""
    half = 12.5
    layers = renderer((72, 72)).expose(square(), sideways(speed, half), Lighting(), linear=False)
    for index, frames in list(enumerate(WINDOWS))[1:]:
        row = exact_row(speed, half, frames)
        exact = np.outer(exact_row(0, half, (12, 12)), row)
        severity = blur_severity(eight_bit(layers[index, ..., 3]))
        assert severity == pytest.approx(blur_severity(eight_bit(exact)), abs=0.006)


def test_resting_object_looks_the_same_in_every_window() -> None:
    location = np.array([[0.2, 0.1, -6]] * 2)
    trajectory = Trajectory(location, np.array([[0.3, 0.4, 0.5]] * 2))
    images = renderer((48, 64)).expose(square(), trajectory, Lighting(), linear=False)
    alpha = images[0, ..., 3]
    full, empty = (
        np.all([np.roll(alpha == value, s, (0, 1)) for s in ((0, 0), (0, 1), (1, 0), (-1, -1))], 0)
        for value in (1, 0)
    )
    assert full.sum() > 100 and (images[:, full, 3] == 1).all()
    assert images[:, full] == pytest.approx(images[0, full][None].repeat(11, 0), abs=2e-3)
    assert not images[:, empty].any()


@pytest.mark.parametrize("linear", [False, True])
def test_smaller_steps_converge(linear: bool) -> None:
    mesh = procedural_mesh(0, "knot", 0)
    location = np.array([[-1.0, 0.3, -6], [1.0, -0.3, -6.8]])
    trajectory = Trajectory(location, np.array([[0.3, 0.4, 0.5], [0.6, 0.2, 0.9]]))
    size = (72, 96)
    exact = renderer(size, 0.02).expose(mesh, trajectory, Lighting(), linear=linear)
    errors = []
    for step in (1.0, 0.25, 0.0625):
        images = renderer(size, step).expose(mesh, trajectory, Lighting(), linear=linear)
        assert (images >= 0).all() and (images <= 1).all()
        assert (images[..., :3] <= images[..., 3:] + 1e-5).all()
        errors.append(np.abs(images - exact)[1:].mean())
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_nothing_outside_the_swept_box_is_lost() -> None:
    """An object that leaves the picture on one side."""
    trajectory = Trajectory(np.array([[1.0, 0.9, -6], [3.0, 1.4, -6.5]]), np.zeros((2, 3)))
    one = renderer((48, 64))
    images = one.expose(square(), trajectory, Lighting(), linear=False)
    assert images[10, :, -1, 3].any() and images[10, 0, :, 3].any()
    whole = np.zeros((48, 64, 4), np.float32)
    for frame in (7, 12, 17):
        one.canvas.accumulate(
            square(), [Subframe(*trajectory.pose(frame))], Lighting(), False, whole
        )
    assert images[10][whole[..., 3] > 0, 3].all()


def test_what_reaches_past_the_camera_is_whole() -> None:
    """A strip past the camera reaches further to the right than its corners seem to."""
    strip = quads(np.array([[0, -0.05, 1], [0.3, -0.05, -1], [0.3, 0.05, -1], [0, 0.05, 1]]))
    resting = Trajectory(np.array([[0.078, 0, 0.48]] * 2), np.zeros((2, 3)))
    images = renderer((72, 96)).expose(strip, resting, Lighting(), linear=False)
    # It begins at 48 + 0.3 * 96 * 50 / 36 pixels and leaves the picture.
    assert (images[:, 36, 89:, 3] > 0.99).all()
    assert not images[:, 36, :86].any()


def test_sub_frames_follow_the_motion() -> None:
    one = renderer((72, 72), step=1.0)
    counts = [one.parts(6.0, index) for index in range(1, 11)]
    assert counts == [24, 12, 8, 6, 5, 4, 4, 4, 4, 4]
    assert [one.parts(0.0, index) for index in (1, 2, 10)] == [8, 4, 1]
    assert renderer((72, 72), step=2.0).parts(6.0, 1) == 12
