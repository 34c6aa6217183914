"""What moves before a still background: masks, where they are, and how far they go.

The camera has to stand still, as in the paper's recordings. Whatever moves counts, so a hand that
holds an object is part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SMALLEST = 12
"""Pixels of a spot that is no noise."""
SHARE_OF_LARGEST = 0.25
"""Of the largest spot that another one has at least where it belongs to the object."""
MOST_COVERED = 0.5
"""Of the image by what moves; more is a camera that moves, or a light that changes."""

_STEP = 1.0
"""Pixels that a centre moves at least before it counts: less is noise of the mask's edge."""


def median_frame(frames: Iterable[np.ndarray]) -> np.ndarray:
    """The median of each value, uint8, over frames of one size; of two middle ones the higher."""
    stack = np.stack(list(frames))
    place = len(stack) // 2
    stack.partition(place, axis=0)
    return stack[place].copy()


def spots(frame: np.ndarray, background: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """Where a frame differs from what is behind, spot by spot.

    Args:
        frame, background: uint8 [H, W, 3].
        threshold: difference in 0..1 that the most different colour exceeds.

    Returns:
        int32 [H, W], 0 or the number of the spot from 1 on, holes closed and noise left out, and
        how many numbers there are.
    """
    difference = np.maximum(frame, background) - np.minimum(frame, background)
    differs = difference.max(axis=2) > threshold * 255
    labels, count = ndimage.label(ndimage.binary_fill_holes(differs), np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    is_kept = areas >= SMALLEST
    is_kept[0] = False
    numbers = np.cumsum(is_kept) * is_kept
    return numbers[labels].astype(np.int32), int(is_kept.sum())


def mask_of(frame: np.ndarray, background: np.ndarray, threshold: float) -> np.ndarray:
    """The moving object, bool [H, W]: the largest spot and others of its order; as `spots`."""
    labels, count = spots(frame, background, threshold)
    if count < 2:
        return labels > 0
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    return (areas >= SHARE_OF_LARGEST * areas.max())[labels] & (labels > 0)


@dataclass(frozen=True)
class Motion:
    """What an object does over the frames of an exposure.

    Attributes:
        length: pixels along the way of its centre.
        size: side of a square, in pixels, as large as the object is on average.
        per_frame: pixels from one frame to the next on average, where it is seen; 0 for a single
            frame.
    """

    length: float
    size: float
    per_frame: float

    @property
    def severity(self) -> float:
        """What blur severity would be of an even motion straight on: length / (length + size).

        An object of this size covers a place on its way of length + size for size / (length +
        size) of the exposure, which is its mean opacity (Eq. 4-5).
        """
        return self.length / (self.length + self.size)


class Track:
    """Centre and area of the object in every frame of the longest exposure."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._centres: list[tuple[float, float]] = []
        self._areas: list[int] = []
        self._covered = 0.0

    def add(self, number: int, mask: np.ndarray) -> None:
        """The mask, bool [H, W], of a frame; frames come in their order."""
        area = int(np.count_nonzero(mask))
        self._covered = max(self._covered, area / mask.size)
        if area:
            rows, columns = np.nonzero(mask)
            self._numbers.append(number)
            self._centres.append((float(rows.mean()), float(columns.mean())))
            self._areas.append(area)

    @property
    def is_steady(self) -> bool:
        """Whether the background stood still, as far as can be told."""
        return self._covered <= MOST_COVERED

    def motion(self, first: int, last: int) -> Motion | None:
        """The motion from frame `first` to `last`; None where nothing is seen in any of them."""
        chosen = [place for place, n in enumerate(self._numbers) if first <= n <= last]
        if not chosen:
            return None
        size = float(np.mean([self._areas[place] for place in chosen]) ** 0.5)
        length = _way(np.array([self._centres[place] for place in chosen]))
        # Not those before it came into the picture, in which it would seem to be slow.
        frames = self._numbers[chosen[-1]] - self._numbers[chosen[0]]
        return Motion(length, size, length / max(frames, 1))


def _way(points: np.ndarray) -> float:
    """Length of the way along points [N, 2], leaving out those nearer than `_STEP` to the last."""
    length, anchor = 0.0, points[0]
    for point in points[1:]:
        step = float(np.hypot(*(point - anchor)))
        if step >= _STEP:
            length, anchor = length + step, point
    return length
