"""Images of one trajectory under eleven exposures (paper Sec. 4, Eq. 3).

The exposures are nested, so one pass of sub-frames serves them all: each is a running sum.
"""

from __future__ import annotations

import numpy as np

from bridge.simulator.mesh import Mesh
from bridge.simulator.renderers import Renderer
from bridge.simulator.trajectory import Trajectory

CENTRE_FRAME = 12
NUM_WINDOWS = 10


def window(index: int) -> tuple[int, int]:
    """First and last frame of an exposure of `index` sub-trajectories, 0 (sharp) to 10."""
    start = CENTRE_FRAME - (index + 1) // 2
    return start, start + index


def added_frame(index: int) -> int:
    """First frame of the sub-trajectory that window `index` (1..10) has and `index` - 1 has not."""
    start, end = window(index)
    return start if start < window(index - 1)[0] else end - 1


def expose(renderer: Renderer, mesh: Mesh, trajectory: Trajectory, subframes: int) -> np.ndarray:
    """Render the sharp image and the ten blurred ones.

    Args:
        renderer: decides the image size [H, W].
        mesh: the object.
        trajectory: its motion.
        subframes: instants per sub-trajectory, at the middles of equal parts of it.

    Returns:
        float32 [11, H, W, 4]: display-space RGB times opacity, and opacity, in 0..1.
    """
    images = np.zeros((NUM_WINDOWS + 1, *renderer.image_size, 4), np.float32)
    renderer.accumulate(mesh, [trajectory.pose(CENTRE_FRAME)], images[0])
    total = np.zeros_like(images[0])
    for index in range(1, NUM_WINDOWS + 1):
        frames = added_frame(index) + (np.arange(subframes) + 0.5) / subframes
        renderer.accumulate(mesh, [trajectory.pose(frame) for frame in frames], total)
        np.multiply(total, 1 / (index * subframes), out=images[index])
    # A sum of equal shares may exceed 1 in the last bit; opacity 1 must stay exact.
    return np.minimum(images, 1, out=images)
