"""How blurred an image is: blur severity, blur level and bounding box (paper Sec. 3.2, Eq. 3-6).

Everything follows from the opacity of the moving object, alpha = P * M in the paper's notation:
the share of the exposure during which the object covers a pixel, in 0..1.
"""

from __future__ import annotations

import numpy as np

NUM_LEVELS = 10
NUM_WINDOWS = 10
"""Blurred images of a trajectory, of 1 to so many sub-trajectories; window 0 is sharp (Sec. 4)."""

_EDGE_TOLERANCE = 1e-6
"""Values this close to the edge of a level count as on it, so float32 storage moves no level."""


def composite(premultiplied: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Place the blurred object over a background (Eq. 3).

    Args:
        premultiplied: float32 [H, W, 4], display-space RGB times opacity, and opacity, in 0..1.
        background: uint8 RGB [H, W, 3].

    Returns:
        uint8 RGB [H, W, 3], rounded to nearest.
    """
    transparency = 1 - premultiplied[..., 3:]
    mixed = premultiplied[..., :3] * 255 + background * transparency
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def eight_bit(alpha: np.ndarray) -> np.ndarray:
    """Opacity as a picture file holds it: the labels of the published data come from such masks.

    Args:
        alpha: opacity of any shape, in 0..1.

    Returns:
        float32 of that shape, multiples of 1/255; less than half of one counts as nothing.
    """
    return (np.rint(alpha * np.float32(255)) / np.float32(255)).astype(np.float32)


def blur_value(alpha: np.ndarray, erosion: int = 1) -> float:
    """Mean opacity over the eroded silhouette: 1 - BS (Eq. 4-5).

    Args:
        alpha: opacity [H, W] in 0..1.
        erosion: pixels that the silhouette alpha > 0 loses on each side: n passes of a 3x3
            square kernel, which are one of (2n + 1) x (2n + 1). What lies outside the image does
            not erode. The published code erodes by 1 pixel, the paper's text by 3.

    Returns:
        A value in 0..1; 0.0 where nothing is left of the silhouette.
    """
    box = _mask_box(alpha)
    if box is None:
        return 0.0
    top, bottom, left, right = box
    opacity = alpha[top : bottom + 1, left : right + 1]
    height, width = alpha.shape
    at_border = ((top == 0, bottom == height - 1), (left == 0, right == width - 1))
    mask = opacity > 0
    for _ in range(erosion):
        mask = _erode(mask, at_border)
    return float(opacity[mask].mean(dtype=np.float64)) if mask.any() else 0.0


def blur_severity(alpha: np.ndarray, erosion: int = 1) -> float:
    """Blur severity BS in 0..1 (Eq. 5), 0 for a sharp image; arguments as `blur_value`."""
    return 1.0 - blur_value(alpha, erosion)


def blur_level(severity: float) -> int:
    """Blur level BL in 1..10 = ceil(10 BS) (Eq. 6); an image with BS = 0 counts as level 1."""
    value = 1.0 - severity
    level = NUM_LEVELS - int(np.floor(NUM_LEVELS * value + _EDGE_TOLERANCE))
    return min(max(level, 1), NUM_LEVELS)


def bounding_box(alpha: np.ndarray) -> tuple[float, float, float, float] | None:
    """Box of alpha > 0 as (cx, cy, w, h) in units of the image size; None for an empty mask.

    Width and height are last minus first pixel index, as in the published labels: a single
    pixel has w = h = 0.
    """
    box = _mask_box(alpha)
    if box is None:
        return None
    top, bottom, left, right = box
    height, width = alpha.shape
    return (
        (left + right) / 2 / width,
        (top + bottom) / 2 / height,
        (right - left) / width,
        (bottom - top) / height,
    )


def _mask_box(alpha: np.ndarray) -> tuple[int, int, int, int] | None:
    """First and last row and column with alpha > 0, all inclusive."""
    mask = alpha > 0
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def _erode(mask: np.ndarray, at_border: tuple[tuple[bool, bool], tuple[bool, bool]]) -> np.ndarray:
    """One pass of the 3x3 kernel; `at_border` tells which sides of the mask end the image."""
    for axis, (before, after) in enumerate(at_border):
        shape = list(mask.shape)
        shape[axis] = 1
        padded = np.concatenate(
            [np.full(shape, before), mask, np.full(shape, after)], axis=axis
        ).swapaxes(0, axis)
        mask = (padded[:-2] & padded[1:-1] & padded[2:]).swapaxes(0, axis)
    return mask
