"""Compiled last step of the rasteriser: colours of the visible samples, averaged to pixels."""

from __future__ import annotations

import numpy as np

from bridge.simulator.renderers.kernel import kernel

Array = np.ndarray
Box = tuple[int, int, int, int]


@kernel
def shade(
    box: Box,
    depth: Array,
    owner: Array,
    planes: Array,
    plane_mip: Array,
    texels: Array,
    table: Array,
    owners: Array,
    out: Array,
) -> None:
    """Add the pixels' premultiplied RGBA to `out` and empty the depth buffer inside the box.

    Samples of a pixel that show the same triangle share one colour, that of their centre.
    `table` [256] turns texels into colours; `owners` [4] is room to work in.
    """
    top, bottom, left, right = box
    for row in range(top // 2, (bottom + 1) // 2):
        y = np.uint64(2 * row)
        for column in range(left // 2, (right + 1) // 2):
            x = np.uint64(2 * column)
            some = False
            for i in range(4):
                owners[i] = -1
                sy, sx = y + np.uint64(i // 2), x + np.uint64(i % 2)
                if depth[sy, sx] > 0:
                    depth[sy, sx] = 0
                    owners[i] = owner[sy, sx]
                    some = True
            if not some:
                continue
            a = owners[0]
            if a >= 0 and a == owners[1] and a == owners[2] and a == owners[3]:
                centre_x, centre_y = np.float32(2 * column + 1), np.float32(2 * row + 1)
                _add(
                    centre_x, centre_y, np.uint64(a), np.float32(1),
                    planes, plane_mip, texels, table, out, np.uint64(row), np.uint64(column),
                )  # fmt: skip
                continue
            for first in range(4):
                triangle = owners[first]
                if triangle < 0:
                    continue
                across, down, count = 0, 0, 0
                for i in range(first, 4):
                    if owners[i] == triangle:
                        owners[i] = -1
                        across += i % 2
                        down += i // 2
                        count += 1
                share = np.float32(1) / np.float32(count)
                half = np.float32(0.5)
                _add(
                    np.float32(2 * column) + half + np.float32(across) * share,
                    np.float32(2 * row) + half + np.float32(down) * share,
                    np.uint64(triangle), np.float32(count) * np.float32(0.25),
                    planes, plane_mip, texels, table, out, np.uint64(row), np.uint64(column),
                )  # fmt: skip


@kernel
def count_covered(box: Box, depth: Array) -> int:
    """Number of pixels with all samples covered; empties the depth buffer inside the box."""
    top, bottom, left, right = box
    total = 0
    for row in range(top // 2, (bottom + 1) // 2):
        for column in range(left // 2, (right + 1) // 2):
            covered = 0
            for y in range(2 * row, 2 * row + 2):
                for x in range(2 * column, 2 * column + 2):
                    covered += depth[y, x] > 0
                    depth[y, x] = 0
            total += covered == 4
    return total


@kernel
def _add(
    x: np.float32, y: np.float32, triangle: int, weight: np.float32,
    planes: Array, plane_mip: Array, texels: Array, table: Array,
    out: Array, row: int, column: int,
) -> None:  # fmt: skip
    """Add a triangle's colour at a place on the sample grid to a pixel."""
    dx = x - planes[triangle, 0]
    dy = y - planes[triangle, 1]
    distance = np.float32(1) / _at(planes, triangle, 2, dx, dy)
    red, green, blue = np.float32(1), np.float32(1), np.float32(1)
    if plane_mip[triangle, 1] > 0:
        u = _at(planes, triangle, 5, dx, dy) * distance
        v = _at(planes, triangle, 8, dx, dy) * distance
        red, green, blue = _fetch(u, v, triangle, plane_mip, texels, table)
    red = _clip(red * (_at(planes, triangle, 11, dx, dy) * distance))
    green = _clip(green * (_at(planes, triangle, 14, dx, dy) * distance))
    blue = _clip(blue * (_at(planes, triangle, 17, dx, dy) * distance))
    out[row, column, 0] += weight * red
    out[row, column, 1] += weight * green
    out[row, column, 2] += weight * blue
    out[row, column, 3] += weight


@kernel
def _at(planes: Array, triangle: int, first: int, dx: np.float32, dy: np.float32) -> np.float32:
    return (
        planes[triangle, first]
        + planes[triangle, first + 1] * dx
        + planes[triangle, first + 2] * dy
    )


@kernel
def _clip(value: np.float32) -> np.float32:
    value = value if value > np.float32(0) else np.float32(0)
    return value if value < np.float32(1) else np.float32(1)


@kernel
def _fetch(
    u: np.float32, v: np.float32, triangle: int, plane_mip: Array, texels: Array, table: Array
) -> tuple[np.float32, np.float32, np.float32]:
    """Bilinear look-up in a repeating texture; v points up, rows of texels go down."""
    # The comparison is false for NaN too, which a sliver of a triangle can extrapolate to.
    if not abs(u) + abs(v) < np.float32(1e6):
        return np.float32(0), np.float32(0), np.float32(0)
    first = plane_mip[triangle, 0]
    height = np.int32(plane_mip[triangle, 1])
    width = np.int32(plane_mip[triangle, 2])
    one, half = np.float32(1), np.float32(0.5)
    x = (u - np.floor(u)) * np.float32(width) - half
    y = (one - (v - np.floor(v))) * np.float32(height) - half
    left, top = np.floor(x), np.floor(y)
    across, down = x - left, y - top
    column, row = np.int32(left), np.int32(top)
    column_right = column + np.int32(1) if column + 1 < width else np.int32(0)
    row_below = row + np.int32(1) if row + 1 < height else np.int32(0)
    column = column if column >= 0 else width - np.int32(1)
    row = row if row >= 0 else height - np.int32(1)
    # Unsigned, because numba tests every signed index for being negative.
    a, b = np.uint64(first + row * width + column), np.uint64(first + row * width + column_right)
    c = np.uint64(first + row_below * width + column)
    d = np.uint64(first + row_below * width + column_right)
    wa, wb = (one - across) * (one - down), across * (one - down)
    wc, wd = (one - across) * down, across * down
    red = _mix(texels, table, a, b, c, d, wa, wb, wc, wd, 0)
    green = _mix(texels, table, a, b, c, d, wa, wb, wc, wd, 1)
    blue = _mix(texels, table, a, b, c, d, wa, wb, wc, wd, 2)
    return red, green, blue


@kernel
def _mix(
    texels: Array, table: Array, a: int, b: int, c: int, d: int,
    wa: np.float32, wb: np.float32, wc: np.float32, wd: np.float32, k: int,
) -> np.float32:  # fmt: skip
    return (
        table[texels[a, k]] * wa
        + table[texels[b, k]] * wb
        + table[texels[c, k]] * wc
        + table[texels[d, k]] * wd
    )
