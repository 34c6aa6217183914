"""Which trajectories are kept: the object stays in view and looks about the same (paper Sec. 4.1).

`coverage` is the rule of the published code, `endpoint-iou` that of the paper's text. The
rasteriser decides for every renderer, so that all of them make images of the same motions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bridge.simulator.config import FilterName
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.trajectory import NUM_FRAMES, Trajectory

MIN_COVERAGE = 0.015
TESTED_FRAMES = (0, 4, 8, 12, 16, 20)
MAX_SPREAD = 0.8
ENDPOINTS = (0, NUM_FRAMES - 1)
MIN_IOU = 0.2


def is_kept(
    mesh: Mesh, trajectory: Trajectory, image_size: tuple[int, int], rule: FilterName
) -> bool:
    """Whether a trajectory passes the filter of that name."""
    passes = stays_in_view if rule == "coverage" else ends_alike
    return passes(mesh, trajectory, image_size)


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


def ends_alike(mesh: Mesh, trajectory: Trajectory, image_size: tuple[int, int]) -> bool:
    """Whether the object covers enough of the first and the last frame, with similar silhouettes.

    The paper asks for an intersection over union of 20 %, to find objects whose appearance changes
    too much. Silhouettes are laid over each other for it: where they are, they never overlap that
    much, since the ends of a path are at least 2.1 apart and objects are at most 3 wide.
    """
    canvas = _canvas(image_size)
    first, last = (canvas.silhouette(mesh, *trajectory.pose(frame)) for frame in ENDPOINTS)
    if min(first.mean(), last.mean()) < MIN_COVERAGE:
        return False
    return aligned_iou(first, last) >= MIN_IOU


def aligned_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two shapes once the middles of their boxes coincide.

    Args:
        one, other: bool [H, W] of any two sizes, neither of them empty.

    Returns:
        A value in 0..1; shapes are moved by whole pixels.
    """
    shapes = [_cropped(one), _cropped(other)]
    room = np.max([shape.shape for shape in shapes], axis=0)
    both = np.zeros((2, *room), bool)
    for target, shape in zip(both, shapes, strict=True):
        top, left = (room - shape.shape) // 2
        target[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return float(both.all(axis=0).sum() / both.any(axis=0).sum())


def _cropped(shape: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(shape.any(axis=axis)) for axis in (1, 0))
    return shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@lru_cache(maxsize=1)
def _canvas(image_size: tuple[int, int]) -> RasterCanvas:
    """One per process: its buffers are as large as the image."""
    return RasterCanvas(image_size)
