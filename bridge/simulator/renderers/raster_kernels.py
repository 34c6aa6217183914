"""Compiled steps of the rasteriser: vertices, visibility of samples, colour of pixels.

There are 2x2 samples per pixel. Visibility comes first, so that attributes are worked out only
for triangles that show: `depth` holds 1/distance (0 = empty), `owner` the row in `planes`.
What is compiled together stays in one file, and what comes from others are arguments: numba's
cache on disk notices changes to the caller's file only.
"""

from __future__ import annotations

import math

import numpy as np

from bridge.simulator.renderers.kernel import kernel

# A corner of a triangle: screen position in samples, 1/distance, and what is interpolated.
X, Y, INVERSE_DEPTH, U, V, RED = range(6)
CORNER_SIZE = 8

# A row of `planes`: the anchor's position, then value, d/dx and d/dy of 1/distance and of the
# five attributes divided by the distance, which (unlike the attributes) are linear on the screen.
PLANE_SIZE = 2 + 3 * 6

Array = np.ndarray


@kernel
def transform_vertices(
    vertices: Array,
    normals: Array,
    rotation: Array,
    translation: Array,
    scale: float,
    lamps: Array,
    ambient: float,
    exponent: float,
    focal: float,
    centre_x: float,
    centre_y: float,
    camera: Array,
    screen: Array,
    light: Array,
) -> None:
    """Camera-space positions [V, 3], the same on the screen, light ** exponent on both sides.

    `lamps` [L, 4] holds positions and watts. `screen` [V, 3] gets x, y and 1/distance (of use
    in front of the camera only), `light` [V, 2] front and back.
    """
    dark = ambient**exponent
    for i in range(len(vertices)):
        for k in range(3):
            place = translation[k]
            for j in range(3):
                place += rotation[k, j] * vertices[i, j] * scale
            camera[i, k] = place
        _project(camera[i, 0], camera[i, 1], camera[i, 2], focal, centre_x, centre_y, screen, i)
        front, back = ambient, ambient
        for n in range(len(lamps)):
            direct = 0.0
            squared = 0.0
            for k in range(3):
                normal = 0.0
                for j in range(3):
                    normal += rotation[k, j] * normals[i, j]
                towards = lamps[n, k] - camera[i, k]
                direct += normal * towards
                squared += towards * towards
            strength = lamps[n, 3] / (4 * math.pi**2) * direct / (squared * math.sqrt(squared))
            if strength > 0:
                front += strength
            else:
                back -= strength
        light[i, 0] = dark if front == ambient else front**exponent
        light[i, 1] = dark if back == ambient else back**exponent


@kernel
def draw_triangles(
    faces: Array,
    one_sided: Array,
    cutout: Array,
    face_texture: Array,
    mips: Array,
    texels: Array,
    uv: Array,
    tint: Array,
    camera: Array,
    screen: Array,
    light: Array,
    focal: float,
    centre_x: float,
    centre_y: float,
    near: float,
    depth: Array,
    owner: Array,
    planes: Array,
    plane_mip: Array,
    corners: Array,
    ends: Array,
    shares: Array,
    box: Array,
) -> tuple[int, int, int, int]:
    """Settle which triangle owns each sample; the last four arguments are room to work in.

    Returns:
        (top, bottom, left, right): half-open range of the samples that may be covered.
    """
    box[0], box[1], box[2], box[3] = depth.shape[0], 0, depth.shape[1], 0
    used = 0
    for f in range(len(faces)):
        side = 0 if _faces_camera(faces, f, camera) else 1
        count = 3
        if _is_near(faces, f, camera, near):
            count = _clip(faces, f, camera, near, ends, shares)
            for k in range(count):
                x = _between(camera, k, ends, shares, 0)
                y = _between(camera, k, ends, shares, 1)
                z = _between(camera, k, ends, shares, 2)
                _project(x, y, z, focal, centre_x, centre_y, corners, k)
        elif side == 1 and one_sided[f]:
            continue
        else:
            for k in range(3):
                ends[k, 0] = ends[k, 1] = faces[f, k]
                shares[k] = 0
                for i in range(3):
                    corners[k, i] = screen[faces[f, k], i]
        painted = False
        for k in range(1, count - 1):
            if cutout[f]:
                _paint(count, ends, shares, side, uv, tint, light, corners)
                _write_planes(corners, k, used, planes)
                _choose_mip(corners, k, mips, face_texture[f], used, plane_mip)
                used += _fill(corners, k, used, True, planes, plane_mip, texels, depth, owner, box)
            elif _fill(corners, k, used, False, planes, plane_mip, texels, depth, owner, box):
                if not painted:
                    _paint(count, ends, shares, side, uv, tint, light, corners)
                    painted = True
                _write_planes(corners, k, used, planes)
                _choose_mip(corners, k, mips, face_texture[f], used, plane_mip)
                used += 1
    return box[0], box[1], box[2], box[3]


@kernel
def _faces_camera(faces: Array, f: int, camera: Array) -> bool:
    """Whether the triangle turns its counter-clockwise side to the camera at the origin."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    return (
        camera[a, 0] * (camera[b, 1] * camera[c, 2] - camera[b, 2] * camera[c, 1])
        + camera[a, 1] * (camera[b, 2] * camera[c, 0] - camera[b, 0] * camera[c, 2])
        + camera[a, 2] * (camera[b, 0] * camera[c, 1] - camera[b, 1] * camera[c, 0])
    ) < 0


@kernel
def _is_near(faces: Array, f: int, camera: Array, near: float) -> bool:
    """Whether the near plane cuts a triangle or has it behind."""
    return (
        camera[faces[f, 0], 2] > -near
        or camera[faces[f, 1], 2] > -near
        or camera[faces[f, 2], 2] > -near
    )


@kernel
def _clip(faces: Array, f: int, camera: Array, near: float, ends: Array, shares: Array) -> int:
    """Cut a triangle at the near plane.

    Corner k of the result lies at `shares[k]` of the way between the vertices `ends[k]`.
    Returns the number of corners, 0 to 4.
    """
    count = 0
    for k in range(3):
        i, j = faces[f, k], faces[f, (k + 1) % 3]
        distance_i, distance_j = -camera[i, 2], -camera[j, 2]
        if distance_i > near:
            ends[count, 0] = ends[count, 1] = i
            shares[count] = 0
            count += 1
        if (distance_i > near) != (distance_j > near):
            ends[count, 0], ends[count, 1] = i, j
            shares[count] = (distance_i - near) / (distance_i - distance_j)
            count += 1
    return count


@kernel
def _between(values: Array, k: int, ends: Array, shares: Array, column: int) -> float:
    """A quantity of the vertices at corner k."""
    start = values[ends[k, 0], column]
    return start + shares[k] * (values[ends[k, 1], column] - start)


@kernel
def _project(
    x: float,
    y: float,
    z: float,
    focal: float,
    centre_x: float,
    centre_y: float,
    screen: Array,
    row: int,
) -> None:
    """`camera.project` of one point, with 1/distance in place of the distance."""
    inverse = -1 / z
    screen[row, X] = centre_x + focal * x * inverse
    screen[row, Y] = centre_y - focal * y * inverse
    screen[row, INVERSE_DEPTH] = inverse


@kernel
def _paint(
    count: int,
    ends: Array,
    shares: Array,
    side: int,
    uv: Array,
    tint: Array,
    light: Array,
    corners: Array,
) -> None:
    """Write what a triangle interpolates besides its distance."""
    for k in range(count):
        corners[k, U] = _between(uv, k, ends, shares, 0)
        corners[k, V] = _between(uv, k, ends, shares, 1)
        bright = _between(light, k, ends, shares, side)
        for c in range(3):
            corners[k, RED + c] = bright * _between(tint, k, ends, shares, c)


@kernel
def _fill(
    corners: Array,
    k: int,
    number: int,
    cutout: bool,
    planes: Array,
    plane_mip: Array,
    texels: Array,
    depth: Array,
    owner: Array,
    box: Array,
) -> bool:
    """Give triangle (0, k, k + 1) of a fan the samples on which it is nearest; True if any.

    With `cutout`, samples that fall into holes of its texture are left alone.

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
        at_start = z0 + (y - y0) * z_by_y + (start + 0.5 - x0) * z_by_x
        if cutout:
            for column in range(start, stop):
                z = np.float32(at_start + (column - start) * z_by_x)
                if z > depth[row, column] and not _is_hole(
                    column + 0.5, y, number, planes, plane_mip, texels
                ):
                    depth[row, column] = z
                    owner[row, column] = number
                    visible = True
            continue
        # Unsigned indices and no branches, so that several samples are settled at once.
        line = np.uint64(row)
        for i in range(stop - start):
            place = np.uint64(start) + np.uint64(i)
            z = np.float32(at_start + i * z_by_x)
            nearer = z > depth[line, place]
            depth[line, place] = z if nearer else depth[line, place]
            owner[line, place] = np.int32(number) if nearer else owner[line, place]
            visible |= nearer
    box[0], box[1] = min(box[0], first), max(box[1], last)
    return visible


@kernel
def _is_hole(
    x: float, y: float, number: int, planes: Array, plane_mip: Array, texels: Array
) -> bool:
    """Whether the nearest texel at a place on the sample grid is more transparent than not."""
    height, width = plane_mip[number, 1], plane_mip[number, 2]
    dx, dy = x - planes[number, 0], y - planes[number, 1]
    distance = 1 / (planes[number, 2] + planes[number, 3] * dx + planes[number, 4] * dy)
    u = (planes[number, 5] + planes[number, 6] * dx + planes[number, 7] * dy) * distance
    v = (planes[number, 8] + planes[number, 9] * dx + planes[number, 10] * dy) * distance
    if height == 0 or not abs(u) + abs(v) < 1e6:
        return False
    column = min(int((u - math.floor(u)) * width), width - 1)
    row = min(int((1 - (v - math.floor(v))) * height), height - 1)
    return texels[plane_mip[number, 0] + row * width + column, 3] < 128


@kernel
def _sorted_by_row(corners: Array, a: int, b: int, c: int) -> tuple[int, int, int]:
    if _is_above(corners, b, a):
        a, b = b, a
    if _is_above(corners, c, b):
        b, c = c, b
    if _is_above(corners, b, a):
        a, b = b, a
    return a, b, c


@kernel
def _is_above(corners: Array, a: int, b: int) -> bool:
    if corners[a, Y] != corners[b, Y]:
        return corners[a, Y] < corners[b, Y]
    return corners[a, X] < corners[b, X]


@kernel
def _write_planes(corners: Array, k: int, number: int, planes: Array) -> None:
    """Equations, over the screen, of what triangle (0, k, k + 1) interpolates."""
    x0, y0, z0 = corners[0, X], corners[0, Y], corners[0, INVERSE_DEPTH]
    x1, y1, z1 = corners[k, X] - x0, corners[k, Y] - y0, corners[k, INVERSE_DEPTH]
    x2, y2, z2 = corners[k + 1, X] - x0, corners[k + 1, Y] - y0, corners[k + 1, INVERSE_DEPTH]
    scale = 1 / (x1 * y2 - x2 * y1)
    planes[number, 0] = x0
    planes[number, 1] = y0
    for a in range(6):
        value, step1, step2 = z0, z1, z2
        if a > 0:
            column = INVERSE_DEPTH + a
            value *= corners[0, column]
            step1 *= corners[k, column]
            step2 *= corners[k + 1, column]
        step1 -= value
        step2 -= value
        planes[number, 2 + 3 * a] = value
        planes[number, 3 + 3 * a] = (step1 * y2 - step2 * y1) * scale
        planes[number, 4 + 3 * a] = (step2 * x1 - step1 * x2) * scale


@kernel
def _choose_mip(
    corners: Array, k: int, mips: Array, texture: int, number: int, plane_mip: Array
) -> None:
    """The version of the texture with about one texel per sample; height 0 without texture."""
    plane_mip[number, 1] = 0
    if texture < 0:
        return
    texels = mips[texture, 0, 1] * mips[texture, 0, 2] * abs(_cross(corners, k, U))
    level = 0
    if texels > 0:
        level = int(0.5 * math.log2(texels / abs(_cross(corners, k, X))) + 0.5)
    level = min(max(level, 0), mips.shape[1] - 1)
    for i in range(3):
        plane_mip[number, i] = mips[texture, level, i]


@kernel
def _cross(corners: Array, k: int, column: int) -> float:
    """Doubled signed area of triangle (0, k, k + 1) in the plane of two of its columns."""
    a, b = corners[k, column] - corners[0, column], corners[k, column + 1] - corners[0, column + 1]
    c = corners[k + 1, column] - corners[0, column]
    d = corners[k + 1, column + 1] - corners[0, column + 1]
    return a * d - b * c
