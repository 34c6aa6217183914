"""Which triangles never show their back: those of closed parts that wind outwards.

A renderer may leave out such a triangle where it turns away from the camera. Everything that
makes the claim doubtful (an open or shared edge, a hole in the texture, a part that turns itself
inside out somewhere) makes it false for the whole part.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bridge.common.compiled import compiled
from bridge.simulator.meshes.weld import weld

MIN_VOLUME = 1e-10
"""Flatter parts, in units of the object's box diagonal cubed, have no outside worth the name."""

LINES = 256
"""Test lines per length of the object's box diagonal, about one per pixel of a 240 x 320 image."""

LINES_PER_TRIANGLE = 4
"""At least so many test lines run through each triangle of average size, squarely met."""

MAX_CROSSINGS = 4_000_000
"""Room for places where a test line meets a triangle, 24 bytes each, in all parts together."""

# More than the range of a line's number along each axis.
_SPAN = 1 << 20

# Vertices this near are one: a thousandth of a pixel, and a little more than float32 tells apart.
_DIGITS = 6

# A direction in which no edge of a built thing is likely to run, as an orthonormal basis.
_BASIS = np.linalg.qr(np.array([[0.42, 0.83, -0.37], [-0.71, 0.53, 0.46], [0.57, 0.17, 0.81]]))[0]


def closed_parts(
    vertices: np.ndarray, faces: np.ndarray, face_cutout: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the parts of a mesh that are closed, and which of them wind inwards.

    Vertices at one place are one. A part is closed when each of its edges belongs to exactly two
    triangles that run through it in opposite directions, none of which has holes, and when its
    winding number is nowhere negative (nor, winding inwards, positive). The latter is tested
    along parallel lines, as many as `LINES` and `LINES_PER_TRIANGLE` ask for. Where
    `MAX_CROSSINGS` is too little, the parts that need the most are not claimed.

    Args:
        vertices: [V, 3], the box diagonal being 1.
        faces: int [F, 3].
        face_cutout: bool [F], faces whose texture has holes.

    Returns:
        closed: bool [F], the face belongs to a closed part.
        inside_out: bool [F], that part winds inwards.
    """
    place, first = weld(np.round(vertices, _DIGITS))
    corners = place[faces]
    points = vertices[first].astype(np.float64)
    part_of_place = _parts(corners, len(points))
    part = part_of_place[corners[:, 0]]
    usable = np.ones(part_of_place.max() + 1, bool)
    usable[part_of_place[_odd_places(corners, len(points))]] = False
    usable[part[face_cutout]] = False
    a, b, c = points[corners].swapaxes(0, 1)
    volume = np.bincount(part, (a * np.cross(b, c)).sum(axis=1) / 6, len(usable))
    usable &= np.abs(volume) > MIN_VOLUME
    kept = np.flatnonzero(usable[part])
    # Seen from behind, a part that winds inwards winds outwards.
    inwards = volume < 0
    outward = np.where(inwards[part[kept], None], corners[kept][:, ::-1], corners[kept])
    usable[_turned_parts(points, outward, part[kept])] = False
    return usable[part], (usable & inwards)[part]


def _parts(corners: np.ndarray, num_places: int) -> np.ndarray:
    """The connected part of each place, int [P]."""
    start, end = corners[:, :2].ravel(), corners[:, 1:].ravel()
    links = coo_array((np.ones(len(start), bool), (start, end)), (num_places, num_places))
    return connected_components(links, directed=False)[1]


def _odd_places(corners: np.ndarray, num_places: int) -> np.ndarray:
    """Places on an edge that is not one of exactly two opposite runs."""
    start, end = corners.ravel(), np.roll(corners, -1, axis=1).ravel()
    low, high = np.minimum(start, end), np.maximum(start, end)
    run = np.sort((low * num_places + high) * 2 + (start > end))
    edge = run >> 1
    repeats = np.zeros(len(edge) + 1, bool)
    repeats[1:-1] = edge[1:] == edge[:-1]
    pair = repeats[1:] != repeats[:-1]
    pair[1:] &= run[1:] != run[:-1]
    pair &= edge // num_places != edge % num_places
    return edge[~pair] // num_places


def _turned_parts(points: np.ndarray, corners: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Parts with a place of negative winding number on a test line, or too costly to test."""
    a, b, c = points[corners].swapaxes(0, 1)
    area = np.bincount(part, np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = np.fmax(np.sqrt(LINES_PER_TRIANGLE * np.bincount(part) / area), LINES)
    scale = np.zeros(len(points))
    scale[corners] = np.fmin(density, _SPAN / 4)[part, None]
    at = points @ _BASIS.T * scale[:, None]
    plane = at[corners][..., :2]
    low = np.ceil(plane.min(axis=1)).astype(np.int64)
    high = np.floor(plane.max(axis=1)).astype(np.int64)
    room = _most_crossings(plane, low, high)
    costly = _costly_parts(part, room)
    tested = ~np.isin(part, costly)
    part, total = part[tested], int(room[tested].sum())
    crossing, z = np.empty((total, 4), np.int32), np.empty(total)
    count = _cross_lines(at, corners[tested], low[tested], high[tested], crossing, z)
    triangle, x, y, sign = crossing[:count].T
    # In the part's own 32 bits the number of a line would not fit.
    row = part[triangle].astype(np.int64)
    line = (row * _SPAN + x) * _SPAN + y
    # From the far end of +z: a line enters a part where it meets a positive triangle.
    order = np.lexsort((-z[:count], line))
    row, line = row[order], line[order]
    last = np.append(line[1:] != line[:-1], np.ones(min(count, 1), bool))
    # Every line leaves a part as often as it enters, so one sum serves all lines; where rounding
    # spoils that, the part is not claimed.
    winding = np.cumsum(sign[order])
    start = np.concatenate([[0], winding[last]])[np.cumsum(last) - last]
    return np.append(costly, row[(winding < start) | (last & (winding != start))])


def _most_crossings(plane: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Upper bounds, int64 [F], of the lines through the triangles `plane`, [F, 3, 2]."""
    rows, columns = np.maximum(high - low + 1, 0).T
    (x1, y1), (x2, y2) = (plane[:, 1] - plane[:, 0]).T, (plane[:, 2] - plane[:, 0]).T
    area = (np.abs(x1 * y2 - x2 * y1) / 2).astype(np.int64)
    # A row meets the triangle along a length, which holds at most one line more than its whole
    # part; the lengths of all rows together are at most the area and the largest of them.
    return np.minimum(rows * columns, area + rows + columns + 3)


def _costly_parts(part: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Parts that go beyond `MAX_CROSSINGS`, taken in order of the room they need."""
    cost = np.bincount(part, room)
    order = np.argsort(cost, kind="stable")
    return order[np.cumsum(cost[order]) > MAX_CROSSINGS]


@compiled(error_model="numpy")
def _cross_lines(
    at: np.ndarray,
    corners: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    crossing: np.ndarray,
    z: np.ndarray,
) -> int:
    """List where the lines of whole x and y cross triangles.

    Args:
        at: float [P, 3]; corners: int [F, 3].
        low, high: int [F, 2], first and last line of each triangle along x and y.
        crossing: int32 [N, 4], filled with triangle, x, y and sign (1 where the corners run
            counter-clockwise seen from +z, else -1).
        z: float [N], filled with the place along the line.

    Returns:
        How many there are.
    """
    count = 0
    side = np.empty(3)
    for f in range(len(corners)):
        for x in range(low[f, 0], high[f, 0] + 1):
            start_y, end_y = _length(at, corners[f], x)
            if start_y > end_y:
                continue
            # Rounded outwards, since the test below decides.
            first = max(low[f, 1], int(np.floor(start_y)))
            for y in range(first, min(high[f, 1], int(np.ceil(end_y))) + 1):
                for i in range(3):
                    # An edge is read in one direction whichever triangle asks, so that its two
                    # triangles agree on the side.
                    start, end = corners[f, i], corners[f, (i + 1) % 3]
                    a, b = at[min(start, end)], at[max(start, end)]
                    cross = (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
                    side[i] = cross if start < end else -cross
                if min(side) > 0 or max(side) < 0:
                    crossing[count] = f, x, y, 1 if side[0] > 0 else -1
                    # Each corner weighs as much as the triangle between the line and the edge
                    # opposite to it.
                    total = 0.0
                    for i in range(3):
                        total += side[i] * at[corners[f, (i + 2) % 3], 2]
                    z[count] = total / (side[0] + side[1] + side[2])
                    count += 1
    return count


@compiled(error_model="numpy")
def _length(at: np.ndarray, corners: np.ndarray, x: int) -> tuple[float, float]:
    """From where to where along y a triangle lies over the row x; backwards if nowhere."""
    start, end = np.inf, -np.inf
    for i in range(3):
        a, b = at[corners[i]], at[corners[(i + 1) % 3]]
        if a[0] != b[0] and min(a[0], b[0]) <= x <= max(a[0], b[0]):
            y = a[1] + (x - a[0]) / (b[0] - a[0]) * (b[1] - a[1])
            start, end = min(start, y), max(end, y)
    return start, end
