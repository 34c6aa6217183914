"""Encoding and decoding pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

ImageFormat = Literal["jpeg", "png", "webp"]

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded."""


class UnreadableImage(ValueError):
    """The bytes are not a whole picture, or one that is too large."""


def encode(image: np.ndarray, image_format: ImageFormat = "jpeg") -> bytes:
    """Encode uint8 RGB [H, W, 3]: JPEG at quality 95 with full colour resolution, or lossless."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    if image_format == "jpeg":
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
    elif image_format == "png":
        picture.save(buffer, "PNG", compress_level=1)
    else:
        picture.save(buffer, "WEBP", lossless=True, method=0)
    return buffer.getvalue()


def decode(
    data: bytes, size: tuple[int, int] | None = None, at_least: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode a picture to uint8 RGB [H, W, 3].

    Args:
        data: the encoded bytes, of any format that Pillow reads.
        size: (H, W) to resize to; shrinking averages over all pixels (antialiased).
        at_least: (H, W) that is enough: a large JPEG is decoded to a half, quarter or eighth of
            its size, which is several times faster, as long as neither side becomes smaller.

    Raises:
        UnreadableImage: truncated, not a picture, or more than `MAX_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnreadableImage(f"more than {MAX_PIXELS} pixels")
            if at_least is not None:
                picture.draft(None, (at_least[1], at_least[0]))
            rgb = picture.convert("RGB")
    except UnreadableImage:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever their format's parser does.
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error
    if size is not None and rgb.size != (size[1], size[0]):
        rgb = rgb.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(rgb)


def decode_batch(encoded: Sequence[bytes], size: tuple[int, int]) -> np.ndarray:
    """Decode pictures to uint8 [B, 3, H, W]; raises UnreadableImage as `decode` does."""
    batch = np.empty((len(encoded), 3, *size), dtype=np.uint8)
    for place, data in enumerate(encoded):
        batch[place] = decode(data, size).transpose(2, 0, 1)
    return batch
