"""Which trajectories are kept: the object stays in view and about the same size (paper Sec. 4).

The rasteriser decides for every renderer, so that all of them make images of the same motions.
"""

from __future__ import annotations

from functools import lru_cache

from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.trajectory import Trajectory

TESTED_FRAMES = (0, 4, 8, 12, 16, 20)
MIN_COVERAGE = 0.015
MAX_SPREAD = 0.8


def stays_in_view(mesh: Mesh, trajectory: Trajectory, image_size: tuple[int, int]) -> bool:
    """Whether the object covers enough of every tested frame, and a similar share of each."""
    canvas = _canvas(image_size)
    largest, smallest = 0.0, 1.0
    for frame in TESTED_FRAMES:
        coverage = canvas.coverage(mesh, *trajectory.pose(frame))
        largest, smallest = max(largest, coverage), min(smallest, coverage)
        # More frames can only make either bound worse.
        if smallest <= MIN_COVERAGE or (largest - smallest) / smallest >= MAX_SPREAD:
            return False
    return True


@lru_cache(maxsize=1)
def _canvas(image_size: tuple[int, int]) -> RasterCanvas:
    """One per process: its buffers are as large as the image."""
    return RasterCanvas(image_size)
