from __future__ import annotations

import numpy as np
import pytest

from bridge.simulator.exposure import added_frame, expose, window
from bridge.simulator.renderers import make_renderer
from bridge.simulator.trajectory import Trajectory

from .scenes import HALF, square

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


def test_moving_square_is_a_box_convolution() -> None:
    """A square of 20.5 px half width that moves 4 px to the right per sub-trajectory."""
    distance = 100 * HALF / 20.5
    speed = 4.0
    reach = speed * 23 * distance / 100
    shift = speed * 12 * distance / 100
    location = np.array([[-shift, 0, -distance], [reach - shift, 0, -distance]])
    trajectory = Trajectory(location, np.zeros((2, 3)))
    images = expose(make_renderer("raster", (72, 72)), square(), trajectory, subframes=16)
    fine = (np.arange(72 * 64) + 0.5) / 64
    for index, (start, end) in enumerate(WINDOWS):
        instants = np.linspace(start, end, 801) if index else np.array([12.0])
        centres = 36 + speed * (instants - 12)
        covered = (np.abs(fine[:, None] - centres) < 20.5).mean(axis=1)
        expected = covered.reshape(72, 64).mean(axis=1)
        assert images[index, 36, :, 3] == pytest.approx(expected, abs=0.02)
        ratio = images[index, 36, :, 0][expected > 0.1] / images[index, 36, :, 3][expected > 0.1]
        assert np.ptp(ratio) < 0.03


def test_resting_object_looks_the_same_in_every_window() -> None:
    location = np.array([[0.2, 0.1, -6]] * 2)
    trajectory = Trajectory(location, np.array([[0.3, 0.4, 0.5]] * 2))
    images = expose(make_renderer("raster", (48, 64)), square(), trajectory, subframes=8)
    for image in images[1:]:
        assert image == pytest.approx(images[0], abs=1e-5)
    full = images[0, ..., 3] == 1
    assert (images[:, full, 3] == 1).all()


def test_more_subframes_converge() -> None:
    location = np.array([[-1.0, 0.3, -6], [1.0, -0.3, -6.8]])
    trajectory = Trajectory(location, np.array([[0.3, 0.4, 0.5], [0.6, 0.2, 0.9]]))
    renderer = make_renderer("raster", (72, 96))
    exact = expose(renderer, square(), trajectory, 64)
    errors = [
        np.abs(expose(renderer, square(), trajectory, n) - exact)[1:].mean() for n in (2, 8, 32)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
