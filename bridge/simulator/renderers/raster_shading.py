"""Compiled last step of the rasteriser: colours of the visible samples, averaged to pixels."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

Array = np.ndarray
Box = tuple[int, int, int, int]

_jit = njit(cache=True, nogil=True, error_model="numpy")


@_jit
def shade(
    box: Box,
    depth: Array,
    owner: Array,
    planes: Array,
    plane_mip: Array,
    texels: Array,
    table: Array,
    out: Array,
) -> None:
    """Add the pixels' premultiplied RGBA to `out` and empty the depth buffer inside the box.

    Samples of a pixel that show the same triangle share one colour, that of their centre.
    `table` [256] turns texels into colours.
    """
    top, bottom, left, right = box
    owners = np.empty(4, np.int64)
    colour = np.empty(3, np.float32)
    for row in range(top // 2, (bottom + 1) // 2):
        for column in range(left // 2, (right + 1) // 2):
            if not _take_owners(row, column, depth, owner, owners):
                continue
            for first in range(4):
                triangle = owners[first]
                if triangle < 0:
                    continue
                x, y, count = 0.0, 0.0, 0
                for i in range(first, 4):
                    if owners[i] == triangle:
                        owners[i] = -1
                        x += i % 2
                        y += i // 2
                        count += 1
                x = 2 * column + 0.5 + x / count
                y = 2 * row + 0.5 + y / count
                _sample(x, y, planes[triangle], plane_mip[triangle], texels, table, colour)
                weight = np.float32(0.25 * count)
                for k in range(3):
                    out[row, column, k] += weight * colour[k]
                out[row, column, 3] += weight


@_jit
def _take_owners(row: int, column: int, depth: Array, owner: Array, owners: Array) -> bool:
    """Move a pixel's samples into `owners`, -1 where empty; False if all are."""
    some = False
    for i in range(4):
        y, x = 2 * row + i // 2, 2 * column + i % 2
        owners[i] = -1
        if depth[y, x] > 0:
            depth[y, x] = 0
            owners[i] = owner[y, x]
            some = True
    return some


@_jit
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


@_jit
def _sample(
    x: float, y: float, plane: Array, mip: Array, texels: Array, table: Array, colour: Array
) -> None:
    """Colour, 0..1, at a place on the sample grid."""
    dx = np.float32(x) - plane[0]
    dy = np.float32(y) - plane[1]
    distance = np.float32(1) / (plane[2] + plane[3] * dx + plane[4] * dy)
    if mip[1] > 0:
        u = (plane[5] + plane[6] * dx + plane[7] * dy) * distance
        v = (plane[8] + plane[9] * dx + plane[10] * dy) * distance
        _fetch(u, v, mip, texels, table, colour)
    else:
        colour[:] = 1
    for k in range(3):
        a = 11 + 3 * k
        value = colour[k] * (plane[a] + plane[a + 1] * dx + plane[a + 2] * dy) * distance
        value = value if value > 0 else np.float32(0)
        colour[k] = value if value < 1 else np.float32(1)


@_jit
def _fetch(u: float, v: float, mip: Array, texels: Array, table: Array, colour: Array) -> None:
    """Bilinear look-up in a repeating texture; v points up, rows of texels go down."""
    first, height, width = mip
    # The comparison is false for NaN too, which a sliver of a triangle can extrapolate to.
    if not abs(u) + abs(v) < 1e6:
        colour[:] = 0
        return
    x = (u - math.floor(u)) * width - 0.5
    y = (1 - (v - math.floor(v))) * height - 0.5
    left, top = math.floor(x), math.floor(y)
    across, down = np.float32(x - left), np.float32(y - top)
    right = left + 1 if left + 1 < width else 0
    below = top + 1 if top + 1 < height else 0
    left = left if left >= 0 else width - 1
    top = top if top >= 0 else height - 1
    # Unsigned, because numba tests every signed index for being negative.
    a, b = np.uint64(first + top * width + left), np.uint64(first + top * width + right)
    c, d = np.uint64(first + below * width + left), np.uint64(first + below * width + right)
    one = np.float32(1)
    for k in range(3):
        upper = table[texels[a, k]] * (one - across) + table[texels[b, k]] * across
        lower = table[texels[c, k]] * (one - across) + table[texels[d, k]] * across
        colour[k] = upper * (one - down) + lower * down
