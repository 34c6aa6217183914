"""How videos become images, as data.

Nothing here needs NumPy, so that commands can read their options before it is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bridge.common.picture_options import ImageFormat

Layout = Literal["folders", "fmo"]
Response = Literal["srgb", "gamma2.2", "linear"]
Truth = Literal["median", "plate", "none"]

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".wmv",
)  # fmt: skip
"""Of the files in a folder that are taken for videos."""

SHARPEST, LONGEST = 1, 200
"""Frames that the paper averages at least and at most, of 240 in a second."""
MOST_IMAGES = 128
"""Of a trajectory: `window` is a number of 8 bits."""


@dataclass(frozen=True)
class VideoConfig:
    """What decides the images of a video.

    Attributes:
        image_size: (H, W) in pixels.
        image_format: how images are encoded.
        response: what display values are of light: sRGB, a power of 2.2, or the same.
        truth: what the moving object is told from: the median of the video's frames, a clean
            plate, or nothing; then there are no boxes, severities and levels.
        most_frames: frames of the longest exposure; None: `LONGEST`, or what the layout says.
        images: exposures of a trajectory.
        threshold: by how much of the range a pixel of a moving object differs from what is behind.
        erosion_pixels: as `blur_value` has it.
    """

    image_size: tuple[int, int] = (240, 320)
    image_format: ImageFormat = "jpeg"
    response: Response = "srgb"
    truth: Truth = "median"
    most_frames: int | None = None
    images: int = 11
    threshold: float = 0.1
    erosion_pixels: int = 1
