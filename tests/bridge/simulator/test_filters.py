from __future__ import annotations

import numpy as np
import pytest

from bridge.simulator.filters import TESTED_FRAMES, stays_in_view
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.trajectory import Trajectory
from tests.bridge.simulator.scenes import square


def motion(start: tuple[float, float, float], end: tuple[float, float, float]) -> Trajectory:
    return Trajectory(np.array([start, end], float), np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        ((0, 0, -6), (0, 0, -6), True),
        ((0, 0, -6), (0, 0, -7), True),
        ((0, 0, -30), (0, 0, -30), False),
        ((0, 0, -4), (0, 0, -8), False),
        ((-1, 0, -6), (1, 0, -7), True),
        ((0, 0, -6), (6, 0, -6), False),
    ],
)
def test_small_leaving_and_shrinking_objects_are_refused(
    start: tuple[float, float, float], end: tuple[float, float, float], kept: bool
) -> None:
    assert stays_in_view(square(), motion(start, end), (48, 64)) is kept


@pytest.mark.parametrize("end", [-6.5, -7.0, -7.5, -8.0, -8.5, -9.0, -11.0])
def test_decision_follows_the_published_formula(end: float) -> None:
    canvas = RasterCanvas((96, 128))
    trajectory = motion((0, 0, -6), (0, 0, end))
    shares = [canvas.coverage(square(), *trajectory.pose(frame)) for frame in TESTED_FRAMES]
    expected = min(shares) > 0.015 and (max(shares) - min(shares)) / min(shares) < 0.8
    assert stays_in_view(square(), trajectory, (96, 128)) is expected
