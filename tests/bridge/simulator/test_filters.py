from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from bridge.simulator.filters import (
    ENDPOINTS,
    TESTED_FRAMES,
    FilterName,
    aligned_iou,
    ends_alike,
    is_kept,
    stays_in_view,
)
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.objects.procedural import FAMILIES, procedural_mesh
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.trajectory import Trajectory, sample_trajectory
from tests.bridge.simulator.scenes import quads, square

SHAPES = arrays(bool, (9, 11)).filter(lambda shape: bool(shape.any()))


def motion(
    start: tuple[float, float, float], end: tuple[float, float, float], turn: float = 0
) -> Trajectory:
    """From start to end, turning by so many degrees in the plane of the image."""
    return Trajectory(np.array([start, end], float), np.deg2rad([[0, 0, 0], [0, 0, turn]]))


def stick() -> Mesh:
    """Eight times as wide as high."""
    return quads(np.array([[-8.0, -1, 0], [8, -1, 0], [8, 1, 0], [-8, 1, 0]]))


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


@pytest.mark.parametrize(
    ("mesh", "trajectory", "kept"),
    [
        (square(), motion((0, 0, -6), (0, 0, -6)), True),
        (square(), motion((-1, 0, -6), (1.2, 0.3, -6)), True),
        # Squares with sides as 1 to 2 overlap by a quarter, as 1 to 2.5 by 16 %.
        (square(), motion((0, 0, -4), (0, 0, -8)), True),
        (square(), motion((0, 0, -4), (0, 0, -10)), False),
        (square(), motion((0, 0, -30), (0, 0, -30)), False),
        (square(), motion((0, 0, -6), (6, 0, -6)), False),
        # Sticks that cross overlap by 1 of 15.
        (stick(), motion((0, 0, -6), (0, 0, -6)), True),
        (stick(), motion((0, 0, -6), (0, 0, -6), turn=90), False),
    ],
)
def test_objects_that_are_small_or_change_their_silhouette_are_refused(
    mesh: Mesh, trajectory: Trajectory, kept: bool
) -> None:
    assert ends_alike(mesh, trajectory, (96, 128)) is kept


def test_the_overlap_of_shapes_is_that_of_the_worked_example() -> None:
    wide, cross = np.zeros((2, 9, 12), bool)
    wide[1:3, 5:11] = True
    assert aligned_iou(wide, np.roll(wide, (5, -4), (0, 1))) == 1
    cross[3:9, 2:4] = True
    # 2x6 and 6x2 share 2x2 of 20 pixels.
    assert aligned_iou(wide, cross) == pytest.approx(4 / 20)
    half = wide & (np.arange(9)[:, None] < 2)
    assert aligned_iou(wide, half) == pytest.approx(6 / 12)


@given(SHAPES, SHAPES)
def test_the_overlap_of_shapes_is_in_range_and_one_for_equal_ones(
    one: np.ndarray, other: np.ndarray
) -> None:
    assert 0 <= aligned_iou(one, other) <= 1
    assert aligned_iou(one, np.pad(one, ((1, 3), (2, 0)))) == 1
    # In a larger image the shapes are the same.
    assert aligned_iou(np.pad(one, 2), other) == aligned_iou(one, other)


def test_where_they_are_no_silhouettes_overlap_as_the_paper_asks() -> None:
    """Why they are laid over each other: no motion at all would pass otherwise."""
    size, canvas = (60, 80), RasterCanvas((60, 80))
    kept = []
    for number, category in enumerate(sorted(FAMILIES)):
        mesh = procedural_mesh(0, category, 0)
        trajectory = sample_trajectory(np.random.default_rng(number), mesh.extents, size)
        one, other = (canvas.silhouette(mesh, *trajectory.pose(frame)) for frame in ENDPOINTS)
        assert (one & other).sum() < 0.2 * (one | other).sum()
        kept.append(ends_alike(mesh, trajectory, size))
    assert np.mean(kept) > 0.7


@pytest.mark.parametrize(("rule", "kept"), [("coverage", False), ("endpoint-iou", True)])
def test_the_rule_decides(rule: FilterName, kept: bool) -> None:
    assert is_kept(square(), motion((0, 0, -4), (0, 0, -8)), (96, 128), rule) is kept
