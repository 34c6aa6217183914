from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.meshes.polygons import triangulate

L_SHAPE = np.array([[0, 0], [2, 0], [2, 2], [1, 2], [1, 1], [0, 1]], float)
ARROW = np.array([[0, 0], [2, 1], [0, 2], [0.5, 1]], float)
STAR = np.array(
    [
        (r * np.cos(t), r * np.sin(t))
        for r, t in zip([3, 1] * 8, np.arange(16) * np.pi / 8, strict=True)
    ]
)
TURN = np.linalg.qr(np.array([[0.42, 0.83, -0.37], [-0.71, 0.53, 0.46], [0.57, 0.17, 0.81]]))[0]


def area(points: np.ndarray) -> float:
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def cut(points: np.ndarray) -> np.ndarray:
    """Signed areas of the triangles of one polygon, in space and looked at in its plane."""
    space = np.column_stack([points, np.full(len(points), 0.3)]) @ TURN.T
    triangles, polygon = triangulate(space, np.arange(len(points)), np.array([len(points)]))
    assert triangles.shape == (len(points) - 2, 3) and not polygon.any()
    return np.array([area(points[t]) for t in triangles])


@pytest.mark.parametrize("shape", [L_SHAPE, ARROW, STAR])
@pytest.mark.parametrize("mirrored", [False, True])
def test_concave_polygons_keep_their_notches(shape: np.ndarray, mirrored: bool) -> None:
    points = shape[::-1] if mirrored else shape
    for start in range(len(points)):
        areas = cut(np.roll(points, start, axis=0))
        assert areas.sum() == pytest.approx(area(points))
        # None lies outside, which would take away as much as another adds.
        assert np.abs(areas).sum() == pytest.approx(abs(area(points)))


def test_a_hole_that_is_cut_open_stays_a_hole() -> None:
    outer = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], float)
    inner = np.array([[1, 1], [1, 3], [3, 3], [3, 1], [1, 1]], float)
    areas = cut(np.concatenate([outer, inner]))
    assert areas.sum() == pytest.approx(12)
    assert np.abs(areas).sum() == pytest.approx(12)


@given(st.lists(st.floats(0.2, 3), min_size=4, max_size=24))
def test_shapes_around_a_point_are_covered_once(radii: list[float]) -> None:
    turns = np.arange(len(radii)) * 2 * np.pi / len(radii)
    points = np.array(radii)[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    areas = cut(points)
    assert areas.sum() == pytest.approx(area(points))
    assert np.abs(areas).sum() == pytest.approx(area(points))


def test_polygons_keep_their_order_and_lines_come_to_nothing() -> None:
    corners = np.tile([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [-1, 0.5, 0]], (4, 1)).astype(
        float
    )
    counts = np.array([5, 3, 2, 4, 0, 3, 1])
    triangles, polygon = triangulate(corners, np.arange(counts.sum()), counts)
    assert polygon.tolist() == [0, 0, 0, 1, 3, 3, 5]
    starts = np.cumsum(counts) - counts
    assert all(
        starts[p] <= t.min() and t.max() < starts[p] + counts[p]
        for t, p in zip(triangles, polygon, strict=True)
    )
    nothing = triangulate(corners, np.empty(0, int), np.empty(0, int))
    assert nothing[0].shape == (0, 3) and nothing[1].shape == (0,)


def test_crossing_and_flat_polygons_end() -> None:
    bow = np.array([[0, 0], [1, 1], [1, 0], [0, 1], [0.5, 3]], float)
    assert len(cut(bow)) == 3
    line = np.column_stack([np.arange(6.0), np.zeros(6)])
    assert not cut(line).any()
    broken = np.full((5, 3), np.nan)
    assert len(triangulate(broken, np.arange(5), np.array([5]))[0]) == 3
