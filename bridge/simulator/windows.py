"""The eleven nested exposures of a trajectory (Sec. 4): which frames each of them spans."""

from __future__ import annotations

CENTRE_FRAME = 12
"""The frame of the sharp image, in the middle of every exposure."""


def window(index: int) -> tuple[int, int]:
    """First and last frame of an exposure of `index` sub-trajectories, 0 (sharp) to 10."""
    start = CENTRE_FRAME - (index + 1) // 2
    return start, start + index


def added_frame(index: int) -> int:
    """First frame of the sub-trajectory that window `index` (1..10) has and `index` - 1 has not."""
    start, end = window(index)
    return start if start < window(index - 1)[0] else end - 1
