"""Exposures of a video: means over consecutive frames, nested and centred as simulated ones are.

All of them are made in one pass over the frames. What the longest exposure has and the next
shorter one has not is a ring around it, so a frame belongs to one ring, and an exposure is the sum
of the rings inside. Memory is that of the rings at the size of the images, and of one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np


def lengths(most: int, images: int) -> tuple[int, ...]:
    """Frames of up to `images` exposures, from 1 to `most`, in even steps as simulated ones."""
    return tuple(np.unique(np.rint(np.linspace(1, most, images)).astype(int)).tolist())


def window(centre: int, frames: int) -> tuple[int, int]:
    """First and last frame of an exposure, both included; a single frame is the centre."""
    first = centre - frames // 2
    return first, first + frames - 1


def fits(centre: int, frames: int, first: int, stop: int) -> bool:
    """Whether an exposure lies within the frames `first` to `stop` - 1."""
    start, end = window(centre, frames)
    return first <= start and end < stop


class Exposures:
    """Adds up frames, or masks, that are given in their order.

    Args:
        centre: number of the frame in the middle.
        lengths: frames of each exposure, ascending.
        shrink: brings a sum of frames to the size of the images; sums are shrunk rather than
            frames, which comes to the same and is done less often.
    """

    def __init__(
        self,
        centre: int,
        lengths: Sequence[int],
        shrink: Callable[[np.ndarray], np.ndarray] = np.asarray,
    ) -> None:
        self._centre, self._shrink = centre, shrink
        self._lengths = np.asarray(lengths)
        self._rings: list[np.ndarray | None] = [None] * len(lengths)
        self._sum: np.ndarray | None = None
        self._ring = 0

    def add(self, number: int, values: np.ndarray) -> None:
        """Add frame `number`, float32 [H, W, ...], which the longest exposure has."""
        before = self._centre - number
        shortest = max(1, 2 * before if before > 0 else 1 - 2 * before)
        ring = int(np.searchsorted(self._lengths, shortest))
        if self._sum is not None and ring == self._ring:
            self._sum += values
            return
        self._close_ring()
        self._sum, self._ring = values.astype(np.float32), ring

    def _close_ring(self) -> None:
        if self._sum is None:
            return
        shrunk = self._shrink(self._sum)
        inner = self._rings[self._ring]
        self._rings[self._ring] = shrunk if inner is None else inner + shrunk
        self._sum = None

    def means(self) -> Iterator[np.ndarray]:
        """The exposures, shortest first: float32 means of their frames."""
        self._close_ring()
        total: np.ndarray | float = 0.0
        for ring, frames in zip(self._rings, self._lengths.tolist(), strict=True):
            total = total if ring is None else total + ring
            yield np.asarray(total / np.float32(frames))
