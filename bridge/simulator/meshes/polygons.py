"""Triangles of polygons, concave ones included."""

from __future__ import annotations

import numpy as np

from bridge.common.compiled import compiled

MAX_CORNERS = 2000
"""Concave polygons with more are cut as if they were convex: the time grows with the square."""

_FLAT = 1e-12
"""Turns of less than this, in units of the polygon's area, count as straight."""


def triangulate(
    positions: np.ndarray, corners: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cut polygons into triangles, each wound as its polygon.

    Args:
        positions: [V, 3].
        corners: int [C], the position of each corner, polygon by polygon.
        counts: int [F], corners of each polygon; those of fewer than three come to nothing.

    Returns:
        triangles: int64 [T, 3], numbers of corners, in the order of the polygons.
        polygon: int64 [T], where each comes from.
    """
    starts = np.cumsum(counts) - counts
    triangles, polygon = [np.empty((0, 3), np.int64)], [np.empty(0, np.int64)]
    for number in np.unique(counts[counts > 2]).tolist():
        which = np.flatnonzero(counts == number)
        local, owner = _cut(positions, corners[starts[which, None] + np.arange(number)])
        triangles.append(local + starts[which[owner], None])
        polygon.append(which[owner])
    all_triangles, all_polygons = np.concatenate(triangles), np.concatenate(polygon)
    if len(triangles) > 2:
        order = np.argsort(all_polygons, kind="stable")
        return all_triangles[order], all_polygons[order]
    return all_triangles, all_polygons


def _cut(positions: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of the polygons `corners`, [F, N]: numbers of corners, and of the polygon."""
    number = corners.shape[1]
    fan = np.stack([np.zeros(number - 2, int), *np.arange(1, number - 1) + [[0], [1]]], axis=1)
    local = np.broadcast_to(fan, (len(corners), *fan.shape))
    owner = np.repeat(np.arange(len(corners)), number - 2)
    if number == 3:
        return local.reshape(-1, 3), owner
    points = positions[corners]
    points = points - points[:, :1]
    with np.errstate(invalid="ignore", over="ignore"):
        normal = np.cross(points, np.roll(points, -1, axis=1)).sum(axis=1)
        along = points - np.roll(points, 1, axis=1)
        turns = np.einsum("fnc,fc->fn", np.cross(along, np.roll(along, -1, axis=1)), normal)
        concave = (turns < -_FLAT * (normal**2).sum(axis=1, keepdims=True)).any(axis=1)
    if not concave.any() or number > MAX_CORNERS:
        return local.reshape(-1, 3), owner
    local = local.copy()
    for which in np.flatnonzero(concave):
        local[which] = _cut_ears(_flattened(points[which], normal[which]))
    return local.reshape(-1, 3), owner


def _flattened(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Points [N, 3] as seen against the normal, [N, 2], counter-clockwise."""
    axis = int(np.abs(normal).argmax())
    kept = points[:, [(axis + 1) % 3, (axis + 2) % 3]]
    return kept if normal[axis] > 0 else kept[:, ::-1]


@compiled(error_model="numpy")
def _cut_ears(points: np.ndarray) -> np.ndarray:
    """Triangles [N - 2, 3] of a polygon [N, 2] that runs counter-clockwise.

    Where it crosses itself there may be no ear, and some corner is cut off all the same.
    """
    left = np.arange(len(points))
    triangles = np.empty((len(points) - 2, 3), np.int64)
    at = 0
    for done in range(len(triangles)):
        size = len(points) - done
        best = at % size
        for step in range(size):
            middle = (at + step) % size
            before, after = (middle - 1) % size, (middle + 1) % size
            if _is_ear(points, left[:size], left[before], left[middle], left[after]):
                best = middle
                break
        triangles[done, 0] = left[(best - 1) % size]
        triangles[done, 1] = left[best]
        triangles[done, 2] = left[(best + 1) % size]
        left[best : size - 1] = left[best + 1 : size].copy()
        # The next search begins behind it, so that a round shape becomes no fan of splinters.
        at = best + 1
    return triangles


@compiled(error_model="numpy")
def _is_ear(points: np.ndarray, left: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether the corner b can be cut off: it turns left, and no other corner is in the way."""
    if _turn(points[a], points[b], points[c]) <= 0:
        return False
    for i in left:
        if i in (a, b, c):
            continue
        p = points[i]
        if (p == points[a]).all() or (p == points[b]).all() or (p == points[c]).all():
            continue
        if (
            _turn(points[a], points[b], p) >= 0
            and _turn(points[b], points[c], p) >= 0
            and _turn(points[c], points[a], p) >= 0
        ):
            return False
    return True


@compiled(error_model="numpy")
def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
