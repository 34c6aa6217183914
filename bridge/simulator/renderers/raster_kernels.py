"""Compiled steps of the rasteriser: vertices, visibility of samples, colour of pixels.

There are 2x2 samples per pixel. Visibility comes first, so that attributes are worked out only
for triangles that show: `depth` holds 1/distance (0 = empty), `owner` the row in `planes`.
No step uses fast-math, so that images are equal on every processor. What is compiled together
stays in one file: numba's cache on disk notices changes to the caller's file only.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

NEAR = 0.1

# A corner of a triangle: screen position in samples, 1/distance, and what is interpolated.
X, Y, INVERSE_DEPTH, U, V, RED = range(6)
CORNER_SIZE = 8

# A row of `planes`: the anchor's position, then value, d/dx and d/dy of 1/distance and of the
# five attributes divided by the distance, which (unlike the attributes) are linear on the screen.
PLANE_SIZE = 2 + 3 * 6

Array = np.ndarray

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def transform_vertices(
    vertices: Array,
    normals: Array,
    rotation: Array,
    translation: Array,
    scale: float,
    lamps: Array,
    ambient: float,
    exponent: float,
    camera: Array,
    light: Array,
) -> None:
    """Camera-space positions [V, 3] and light ** exponent on front and back [V, 2].

    `lamps` [L, 4] holds positions and watts.
    """
    place = np.empty(3)
    normal = np.empty(3)
    for i in range(len(vertices)):
        for k in range(3):
            place[k] = translation[k]
            normal[k] = 0.0
            for j in range(3):
                place[k] += rotation[k, j] * vertices[i, j] * scale
                normal[k] += rotation[k, j] * normals[i, j]
            camera[i, k] = place[k]
        front, back = ambient, ambient
        for lamp in lamps:
            direct = 0.0
            squared = 0.0
            for k in range(3):
                towards = lamp[k] - place[k]
                direct += normal[k] * towards
                squared += towards * towards
            strength = lamp[3] / (4 * math.pi**2) * direct / (squared * math.sqrt(squared))
            if strength > 0:
                front += strength
            else:
                back -= strength
        light[i, 0] = front**exponent
        light[i, 1] = back**exponent


@_jit
def draw_triangles(
    faces: Array,
    face_texture: Array,
    mips: Array,
    uv: Array,
    tint: Array,
    camera: Array,
    light: Array,
    focal: float,
    centre_x: float,
    centre_y: float,
    depth: Array,
    owner: Array,
    planes: Array,
    plane_mip: Array,
) -> tuple[int, int, int, int]:
    """Settle which triangle owns each sample.

    Returns:
        (top, bottom, left, right): half-open range of the samples that may be covered.
    """
    height, width = depth.shape
    box = np.array([height, 0, width, 0])
    corners = np.empty((4, CORNER_SIZE))
    ends = np.empty((4, 2), np.int64)
    shares = np.empty(4)
    used = 0
    for f in range(len(faces)):
        count = _clip(faces[f], camera, ends, shares)
        for k in range(count):
            _project(ends[k], shares[k], camera, focal, centre_x, centre_y, corners[k])
        painted = False
        for k in range(1, count - 1):
            if _fill(corners, k, used, depth, owner, box):
                if not painted:
                    _paint(faces[f], count, ends, shares, uv, tint, camera, light, corners)
                    painted = True
                _write_planes(corners, k, planes[used])
                _choose_mip(corners, k, mips, face_texture[f], plane_mip[used])
                used += 1
    return box[0], box[1], box[2], box[3]


@_jit
def _clip(face: Array, camera: Array, ends: Array, shares: Array) -> int:
    """Cut a triangle at the near plane.

    Corner k of the result lies at `shares[k]` of the way between the vertices `ends[k]`.
    Returns the number of corners, 0 to 4.
    """
    count = 0
    for k in range(3):
        i, j = face[k], face[(k + 1) % 3]
        distance_i, distance_j = -camera[i, 2], -camera[j, 2]
        if distance_i > NEAR:
            ends[count] = i
            shares[count] = 0
            count += 1
        if (distance_i > NEAR) != (distance_j > NEAR):
            ends[count, 0], ends[count, 1] = i, j
            shares[count] = (distance_i - NEAR) / (distance_i - distance_j)
            count += 1
    return count


@_jit
def _between(values: Array, ends: Array, share: float, column: int) -> float:
    start = values[ends[0], column]
    return start + share * (values[ends[1], column] - start)


@_jit
def _project(
    ends: Array, share: float, camera: Array, focal: float, x: float, y: float, corner: Array
) -> None:
    inverse = -1 / _between(camera, ends, share, 2)
    corner[X] = x + focal * _between(camera, ends, share, 0) * inverse
    corner[Y] = y - focal * _between(camera, ends, share, 1) * inverse
    corner[INVERSE_DEPTH] = inverse


@_jit
def _paint(
    face: Array,
    count: int,
    ends: Array,
    shares: Array,
    uv: Array,
    tint: Array,
    camera: Array,
    light: Array,
    corners: Array,
) -> None:
    """Write what a visible triangle interpolates besides its distance."""
    side = 0 if _faces_camera(camera[face[0]], camera[face[1]], camera[face[2]]) else 1
    for k in range(count):
        corners[k, U] = _between(uv, ends[k], shares[k], 0)
        corners[k, V] = _between(uv, ends[k], shares[k], 1)
        bright = _between(light, ends[k], shares[k], side)
        for c in range(3):
            corners[k, RED + c] = bright * _between(tint, ends[k], shares[k], c)


@_jit
def _faces_camera(a: Array, b: Array, c: Array) -> bool:
    """Whether the triangle turns its counter-clockwise side to the camera at the origin."""
    return (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        + a[1] * (b[2] * c[0] - b[0] * c[2])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    ) < 0


@_jit
def _fill(corners: Array, k: int, number: int, depth: Array, owner: Array, box: Array) -> bool:
    """Give triangle (0, k, k + 1) of a fan the samples on which it is nearest; True if any.

    An edge is walked from its upper end whichever triangle it belongs to, so that neighbours
    agree on every sample: none is left out and none is drawn twice.
    """
    height, width = depth.shape
    top, middle, bottom = _sorted_by_row(corners, 0, k, k + 1)
    x0, y0, x1, y1 = corners[top, X], corners[top, Y], corners[middle, X], corners[middle, Y]
    x2, y2 = corners[bottom, X], corners[bottom, Y]
    first = max(0, math.ceil(max(y0, -1.0) - 0.5))
    last = min(height, math.ceil(min(y2, height + 1.0) - 0.5))
    doubled_area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if first >= last or abs(doubled_area) < 1e-9:
        return False
    z0 = corners[top, INVERSE_DEPTH]
    z1, z2 = corners[middle, INVERSE_DEPTH] - z0, corners[bottom, INVERSE_DEPTH] - z0
    z_by_x = (z1 * (y2 - y0) - z2 * (y1 - y0)) / doubled_area
    z_by_y = (z2 * (x1 - x0) - z1 * (x2 - x0)) / doubled_area
    visible = False
    for row in range(first, last):
        y = row + 0.5
        long = x0 + (y - y0) * ((x2 - x0) / (y2 - y0))
        if y < y1:
            short = x0 + (y - y0) * ((x1 - x0) / (y1 - y0))
        else:
            short = x1 + (y - y1) * ((x2 - x1) / (y2 - y1))
        start = max(0, math.ceil(max(min(long, short), -1.0) - 0.5))
        stop = min(width, math.ceil(min(max(long, short), width + 1.0) - 0.5))
        if start >= stop:
            continue
        box[2], box[3] = min(box[2], start), max(box[3], stop)
        at_zero = z0 + (y - y0) * z_by_y + (0.5 - x0) * z_by_x
        for column in range(start, stop):
            z = np.float32(at_zero + column * z_by_x)
            if z > depth[row, column]:
                depth[row, column] = z
                owner[row, column] = number
                visible = True
    box[0], box[1] = min(box[0], first), max(box[1], last)
    return visible


@_jit
def _sorted_by_row(corners: Array, a: int, b: int, c: int) -> tuple[int, int, int]:
    if _is_above(corners, b, a):
        a, b = b, a
    if _is_above(corners, c, b):
        b, c = c, b
    if _is_above(corners, b, a):
        a, b = b, a
    return a, b, c


@_jit
def _is_above(corners: Array, a: int, b: int) -> bool:
    if corners[a, Y] != corners[b, Y]:
        return corners[a, Y] < corners[b, Y]
    return corners[a, X] < corners[b, X]


@_jit
def _write_planes(corners: Array, k: int, plane: Array) -> None:
    """Equations, over the screen, of what triangle (0, k, k + 1) interpolates."""
    x0, y0, z0 = corners[0, X], corners[0, Y], corners[0, INVERSE_DEPTH]
    x1, y1, z1 = corners[k, X] - x0, corners[k, Y] - y0, corners[k, INVERSE_DEPTH]
    x2, y2, z2 = corners[k + 1, X] - x0, corners[k + 1, Y] - y0, corners[k + 1, INVERSE_DEPTH]
    scale = 1 / (x1 * y2 - x2 * y1)
    plane[0] = x0
    plane[1] = y0
    for a in range(6):
        value, step1, step2 = z0, z1, z2
        if a > 0:
            column = INVERSE_DEPTH + a
            value *= corners[0, column]
            step1 *= corners[k, column]
            step2 *= corners[k + 1, column]
        step1 -= value
        step2 -= value
        plane[2 + 3 * a] = value
        plane[3 + 3 * a] = (step1 * y2 - step2 * y1) * scale
        plane[4 + 3 * a] = (step2 * x1 - step1 * x2) * scale


@_jit
def _choose_mip(corners: Array, k: int, mips: Array, texture: int, mip: Array) -> None:
    """The version of the texture with about one texel per sample; height 0 without texture."""
    mip[1] = 0
    if texture < 0:
        return
    height, width = mips[texture, 0, 1], mips[texture, 0, 2]
    texels = height * width * abs(_cross(corners, k, U))
    level = 0
    if texels > 0:
        level = int(0.5 * math.log2(texels / abs(_cross(corners, k, X))) + 0.5)
    mip[:] = mips[texture, min(max(level, 0), mips.shape[1] - 1)]


@_jit
def _cross(corners: Array, k: int, column: int) -> float:
    """Doubled signed area of triangle (0, k, k + 1) in the plane of two of its columns."""
    a, b = corners[k, column] - corners[0, column], corners[k, column + 1] - corners[0, column + 1]
    c = corners[k + 1, column] - corners[0, column]
    d = corners[k + 1, column + 1] - corners[0, column + 1]
    return a * d - b * c
