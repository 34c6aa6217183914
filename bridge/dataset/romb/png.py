"""PNG files as they are: whether they are whole, and the opacity of the object in one."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from bridge.common.images import UnreadableImage
from bridge.common.picture_options import MAX_PIXELS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = 13


def check_png(data: bytes) -> None:
    """Raise UnreadableImage where a file is no PNG, was cut or altered, or is too large a picture.

    Its chunks are compared with their checksums, which takes a twentieth of the time of decoding.
    """
    if data[:8] != _SIGNATURE:
        raise UnreadableImage("not a PNG file")
    view, place = memoryview(data), 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise UnreadableImage("a PNG file that was altered")
        if place == 8:
            _check_header(kind, data[16 : 16 + length])
        if kind == b"IEND":
            return
        place = end
    raise UnreadableImage("a PNG file that is not whole")


def _check_header(kind: bytes, header: bytes) -> None:
    if kind != b"IHDR" or len(header) != _HEADER:
        raise UnreadableImage("a PNG file without a header")
    width, height = struct.unpack(">2L", header[:8])
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"more than {MAX_PIXELS} pixels")


def opacity(data: bytes) -> np.ndarray:
    """The alpha channel of a PNG, float32 [H, W] in 0..1.

    Raises:
        UnreadableImage: it has none, or cannot be decoded.
    """
    check_png(data)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if picture.mode != "RGBA":
                raise UnreadableImage(f"a picture without opacity ({picture.mode})")
            alpha = np.asarray(picture.getchannel("A"), np.float32)
    except UnreadableImage:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever their format's parser does.
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error
    return alpha / np.float32(255)
