"""Where in a video an object may be: boxes of what moves, or those that a table names."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.dataset.videos.foreground import median_frame, spots
from bridge.dataset.videos.frames import Frames, sampled
from bridge.dataset.videos.pixels import resized

Box = tuple[float, float, float, float]
"""cx, cy, w, h in units of the frame's size."""

SIDE = 320
"""Pixels of the longer side at which motion is looked for."""
MOST = 12
"""Boxes of a frame at most, the largest."""

_COLUMNS = ("frame", "cx", "cy", "w", "h")
_NEAR = 3
"""Pixels between spots that are one object, which blur has torn."""


def background_of(frames: Frames) -> np.ndarray:
    """The median frame, uint8, its longer side `SIDE`; InputError where no frame is readable."""
    small = [_small(frame) for _, frame in sampled(frames)]
    if not small:
        raise InputError("Not one frame of the video can be decoded.")
    return median_frame(small)


def moving_boxes(frame: np.ndarray, background: np.ndarray, threshold: float) -> list[Box]:
    """Boxes of what moves in a frame, uint8 RGB [H, W, 3], the largest first.

    `background` and `threshold` are those of `background_of` and `spots`.
    """
    small = _small(frame)
    labels, count = spots(small, background, threshold)
    near = ndimage.binary_dilation(labels > 0, np.ones((3, 3)), _NEAR) if count else labels > 0
    joined, count = ndimage.label(near)
    joined[labels == 0] = 0
    height, width = small.shape[:2]
    found = [
        (
            (columns.start + columns.stop) / 2 / width,
            (rows.start + rows.stop) / 2 / height,
            (columns.stop - columns.start) / width,
            (rows.stop - rows.start) / height,
        )
        for rows, columns in filter(None, ndimage.find_objects(joined, count))
    ]
    return sorted(found, key=lambda box: -box[2] * box[3])[:MOST]


def crop(frame: np.ndarray, box: Box, context: float, size: tuple[int, int]) -> np.ndarray:
    """What is in a box and around it, uint8 RGB of the size (h, w).

    Args:
        frame: uint8 RGB [H, W, 3].
        box: what is wanted.
        context: how many times as large as the box the picture is, and more along one side, so
            that it has the proportions of `size`; at the edges of the frame it is moved inwards.
    """
    height, width = frame.shape[:2]
    cx, cy, w, h = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    columns = max(w * context, h * context * size[1] / size[0], 2)
    rows = columns * size[0] / size[1]
    shrink = min(1, width / columns, height / rows)
    columns, rows = max(round(columns * shrink), 1), max(round(rows * shrink), 1)
    left = min(max(round(cx - columns / 2), 0), width - columns)
    top = min(max(round(cy - rows / 2), 0), height - rows)
    return resized(frame[top : top + rows, left : left + columns], size)


def read_boxes(path: str, length: int) -> Mapping[int, Sequence[Box]]:
    """Boxes by frame, from a CSV file with the columns frame, cx, cy, w, h.

    Raises:
        InputError: it cannot be read, has other columns, or names a frame or a box that there is
            not in a video of `length` frames; names the line.
    """
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    reader = csv.DictReader(io.StringIO(text))
    if not set(_COLUMNS) <= set(reader.fieldnames or ()):
        raise InputError(f"{path} must have the columns {', '.join(_COLUMNS)}.")
    boxes: dict[int, list[Box]] = {}
    for row in reader:
        try:
            number = int(row["frame"])
            cx, cy, w, h = (float(row[name]) for name in _COLUMNS[1:])
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}, line {reader.line_num}: a value is no number.") from error
        if not 0 <= number < length:
            raise InputError(
                f"{path}, line {reader.line_num}: there is no frame {number} among {length}."
            )
        check_box((cx, cy, w, h), f"{path}, line {reader.line_num}: the box")
        boxes.setdefault(number, []).append((cx, cy, w, h))
    if not boxes:
        raise InputError(f"{path} has no boxes.")
    return boxes


def check_box(box: Box, name: str) -> None:
    """InputError for a box that has no place in a frame; `name` begins the sentence."""
    cx, cy, w, h = box
    inside = all(map(math.isfinite, box)) and 0 <= cx <= 1 and 0 <= cy <= 1
    if not (inside and 0 < w <= 1 and 0 < h <= 1):
        raise InputError(f"{name} must be cx cy w h in 0..1 of the frame, not {box}.")


def _small(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    return resized(frame, (max(round(height * scale), 1), max(round(width * scale), 1)))
