"""Pictures as a page can show them: their bytes as they are where that is possible, else JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from bridge.common.images import (
    UnreadableImage,
    decode,
    encode,
    is_upright,
    without_addresses,
)
from bridge.common.picture_options import MAX_PIXELS

_SHOWN = ("JPEG", "MPO", "PNG", "WEBP")
"""Formats of every browser; MPO is JPEG with more pictures behind it."""
_MODES = ("RGB", "L", "P", "RGBA", "LA", "1")
"""8 bits or fewer, and no inks."""

_PNG_DEPTH = 24
"""The byte of a PNG that tells the bits of a channel; Pillow shows 16 of a colour as 8."""


def servable(data: bytes, max_side: int | None = None) -> bytes:
    """The same bytes where browsers show them upright and in 8 bits, else the picture as JPEG.

    Bytes that stay are looked at, but not decoded where their end is that of a whole file.

    Args:
        data: an encoded picture of any format that Pillow reads.
        max_side: a picture with a longer side, in pixels, is made smaller.

    Raises:
        UnreadableImage: truncated, not a picture, or more than `MAX_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            kind, mode, size = picture.format, picture.mode, picture.size
            shallow = mode in _MODES and not (kind == "PNG" and data[_PNG_DEPTH] > 8)
            stays = kind in _SHOWN and shallow and is_upright(picture)
    except Exception as error:
        # Pillow's parsers raise whatever they run into.
        why = without_addresses(f"{type(error).__name__}: {error}")
        raise UnreadableImage(why) from error
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(f"more than {MAX_PIXELS} pixels")
    if max_side is not None and max(size) > max_side:
        return encode(_smaller(data, max_side))
    if stays and _is_whole(data, kind or ""):
        return data
    pixels = decode(data)
    return data if stays else encode(pixels)


def _is_whole(data: bytes, kind: str) -> bool:
    """Whether the end of a file is there; False where that takes decoding to know."""
    if kind == "PNG":
        return data[-8:-4] == b"IEND"
    if kind == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return data.endswith(b"\xff\xd9")


def _smaller(data: bytes, max_side: int) -> np.ndarray:
    """uint8 RGB [H, W, 3] whose longer side has `max_side` pixels."""
    # A JPEG may be decoded smaller as long as neither side gets below what is wanted.
    pixels = decode(data, at_least=(max_side, max_side))
    height, width = pixels.shape[:2]
    scale = max_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
