"""Small videos for tests, written with PyAV: what is drawn is known to the pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")

SIZE = (48, 64)
GREY = 60


def ball(
    x: float, y: float = 24, side: int = 10, size: tuple[int, int] = SIZE, colour: int = 200
) -> np.ndarray:
    """A bright square whose middle is at (x, y), cut at the edges of a grey frame."""
    frame = np.full((*size, 3), GREY, np.uint8)
    top, left = round(y - side / 2), round(x - side / 2)
    frame[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = colour
    return frame


def moving(count: int, speed: float, start: float = 5, **drawn: int) -> list[np.ndarray]:
    """A square that moves to the right by so many pixels from frame to frame."""
    return [ball(start + speed * number, **drawn) for number in range(count)]


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    rate: int = 240,
    codec: str = "ffv1",
    times: Sequence[int] | None = None,
    key_every: int = 12,
    turned: float = 0,
) -> Path:
    """Write frames, uint8 RGB [H, W, 3]; with ffv1 into .mkv they come back to the value.

    `times` are those of the frames, in units of the usual interval; `turned` is by how many degrees
    a player is to turn them counter-clockwise.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
                stream.codec_context.gop_size = key_every
                stream.set_display_rotation(turned)
                stream.codec_context.time_base = Fraction(1, rate)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return path
