"""Which trajectories are kept: the object stays in view and about the same size (paper Sec. 4)."""

from __future__ import annotations

from bridge.simulator.mesh import Mesh
from bridge.simulator.renderers import Renderer
from bridge.simulator.trajectory import Trajectory

TESTED_FRAMES = (0, 4, 8, 12, 16, 20)
MIN_COVERAGE = 0.015
MAX_SPREAD = 0.8


def stays_in_view(renderer: Renderer, mesh: Mesh, trajectory: Trajectory) -> bool:
    """Whether the object covers enough of every tested frame, and a similar share of each."""
    largest, smallest = 0.0, 1.0
    for frame in TESTED_FRAMES:
        coverage = renderer.coverage(mesh, trajectory.pose(frame))
        largest, smallest = max(largest, coverage), min(smallest, coverage)
        # More frames can only make either bound worse.
        if smallest <= MIN_COVERAGE or (largest - smallest) / smallest >= MAX_SPREAD:
            return False
    return True
