"""Encoding and decoding pictures: one reading of every kind for photos, queries and textures.

A picture is shown as its camera was held (EXIF), greys of 16 and 32 bits and of floats are scaled
to their range, and what is transparent lies on `PAPER`.

Pillow reads and writes every format. Batches take a shorter way for JPEG: libjpeg-turbo decodes
straight into the batch, and leaves to Pillow whatever it has a doubt about, so that the pixels and
the errors are Pillow's.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import simplejpeg
from PIL import Image

from bridge.common.picture_options import MAX_PIXELS, ImageFormat

Encoded = bytes | memoryview

OVERSAMPLING = 2
"""How many times its size a JPEG is at least decoded to before it is averaged down.

With 2 the pixels differ by 0.6 of 255 on average from those averaged from all of a 240x320 JPEG at
a quarter of its size; with 1 they would be sharper than those of other formats and sizes.
"""

PAPER = (255, 255, 255)
"""The colour behind what is transparent: white, as pages show cut-out pictures."""

_JPEG_START = b"\xff\xd8\xff"
_NOTES, _SCAN = 0xE1, 0xDA
"""Segments of a JPEG: what a camera noted (EXIF, XMP), and the pixels."""
_JPEG_SCALES = (8, 4, 2, 1)
_PILLOWS_COLOURS = ("CMYK", "YCCK")
"""Inks: libjpeg-turbo rounds them otherwise than Pillow."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture upright, by its EXIF orientation."""
_LYING = 5
"""Orientations from here on swap height and width."""

_RANGES = {1: 255.0, 255: 1.0, 65535: 1 / 257}
"""Factors to 8 bits of greys whose highest value is at most the key."""

_ADDRESS = re.compile(r" <[\w.]+ object at 0x[0-9a-f]+>")


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
    data: Encoded, size: tuple[int, int] | None = None, at_least: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode a picture to uint8 RGB [H, W, 3].

    Args:
        data: the encoded bytes, of any format that Pillow reads.
        size: (H, W) to resize to; shrinking averages over all pixels (antialiased).
        at_least: (H, W) that is enough: a large JPEG is decoded to a half, quarter or eighth of
            its size, which is several times faster, as long as neither side becomes smaller.
            Both are sizes of the upright picture.

    Raises:
        UnreadableImage: truncated, not a picture, or more than `MAX_PIXELS`.
    """
    scaled = None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnreadableImage(f"more than {MAX_PIXELS} pixels")
            held = _orientation(picture)
            if held >= _LYING:
                size, at_least = size and size[::-1], at_least and at_least[::-1]
            if at_least is not None:
                scaled = picture.draft(None, (at_least[1], at_least[0]))
            rgb = on_paper(picture)
    except UnreadableImage:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever their format's parser does.
        why = without_addresses(f"{type(error).__name__}: {error}")
        raise UnreadableImage(why) from error
    if size is not None:
        rgb = _resize(rgb, size, scaled[1] if scaled else None)
    return np.asarray(rgb.transpose(_TURNS[held]) if held in _TURNS else rgb)


def on_paper(picture: Image.Image) -> Image.Image:
    """A picture of any kind as RGB, with `PAPER` behind what is transparent.

    Raises:
        OSError, ValueError, SyntaxError: the picture is damaged.
    """
    shallow = eight_bits(picture)
    if not is_see_through(shallow):
        return shallow.convert("RGB")
    rgba = shallow.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, PAPER), rgba).convert("RGB")


def is_see_through(picture: Image.Image) -> bool:
    """Whether a picture has an alpha channel or a transparent colour."""
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def eight_bits(picture: Image.Image) -> Image.Image:
    """Greys of 16 or 32 bits or of floats scaled to 8 bits; other pictures as they are.

    16 bits have the range 0..65535. Whole numbers of 32 bits and floats have that of 0..1 (floats
    only), 0..255 or 0..65535 which is just large enough, and else that of their own values; what is
    not a number is black.
    """
    if not (picture.mode.startswith("I") or picture.mode == "F"):
        return picture
    values = np.asarray(picture, np.float64)
    values = np.where(np.isfinite(values), values, 0)
    low, high = float(values.min()), float(values.max())
    whole = 65535 if ";16" in picture.mode else 255 if picture.mode == "I" else 1
    factor = next((f for top, f in _RANGES.items() if whole <= top and high <= top), None)
    if low < 0 or factor is None:
        values, factor = values - low, 255 / max(high - low, 1e-300)
    return Image.fromarray(np.rint(values * factor).astype(np.uint8))


def without_addresses(text: str) -> str:
    """A message less the places in memory that Pillow names, which differ from run to run."""
    return _ADDRESS.sub("", text)


def is_upright(picture: Image.Image) -> bool:
    """Whether a picture is shown as it is stored."""
    return _orientation(picture) == 1


def _orientation(picture: Image.Image) -> int:
    """How the camera was held; 1 is upright, and stands for what is not known."""
    # Pillow brings TIFF upright of its own, and decodes a PNG without EXIF data to ask for them.
    if picture.format == "TIFF" or (picture.format == "PNG" and "exif" not in picture.info):
        return 1
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow's parsers raise whatever they run into.
        return 1


def thumbnail(data: Encoded, side: int = 96) -> bytes:
    """A picture that `decode` takes, as a JPEG whose longer side has at most `side` pixels."""
    picture = Image.fromarray(decode(data, at_least=(side, side)))
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def decode_batch(encoded: Sequence[Encoded | None], out: np.ndarray) -> dict[int, str]:
    """Decode pictures into `out`, uint8 [B, H, W, 3], resized to (H, W) where needed.

    The pixels are those of `decode(data, size=(H, W), at_least=OVERSAMPLING * (H, W))`. Training
    and embedding both come through here. Threads do it side by side: decoding holds no lock.

    Returns:
        Why, by place, for the pictures that cannot be decoded; their pixels are 0, as are those
        of None.
    """
    height, width = out.shape[1:3]
    enough = OVERSAMPLING * height, OVERSAMPLING * width
    unreadable = {}
    for place, data in enumerate(encoded):
        if data is None:
            out[place] = 0
        elif not _decode_jpeg(data, out[place]):
            try:
                out[place] = decode(data, (height, width), enough)
            except UnreadableImage as error:
                out[place] = 0
                unreadable[place] = str(error)
    return unreadable


def _decode_jpeg(data: Encoded, out: np.ndarray) -> bool:
    """Decode a sound JPEG into `out`, uint8 [H, W, 3]; False leaves it to Pillow."""
    if bytes(data[:3]) != _JPEG_START:
        return False
    try:
        if _may_be_turned(data):
            return False
        header = simplejpeg.decode_jpeg_header(data)
        height, width = int(header[0]), int(header[1])
        if height * width > MAX_PIXELS or header[2] in _PILLOWS_COLOURS:
            return False
        if (height, width) == out.shape[:2]:
            _libjpeg(data, buffer=out)
            return True
        scale = _scale((height, width), out.shape[:2])
        pixels = _libjpeg(data, least=(-(-height // scale), -(-width // scale)))
    except (ValueError, IndexError):
        # Truncated or damaged: Pillow says what is the matter, or reads it all the same.
        return False
    box = (0.0, 0.0, width / scale, height / scale)
    out[:] = np.asarray(_resize(Image.fromarray(pixels), out.shape[:2], box))
    return True


def _may_be_turned(data: Encoded) -> bool:
    """Whether a camera's notes say, or may say, that it was not held upright."""
    place = 2
    while data[place] == 0xFF and data[place + 1] not in (_NOTES, _SCAN):
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    if data[place + 1] != _NOTES:
        return False
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return _orientation(picture) != 1
    except Exception:  # Pillow's parsers raise whatever they run into.
        return True


def _libjpeg(
    data: Encoded, least: tuple[int, int] = (0, 0), buffer: np.ndarray | None = None
) -> np.ndarray:
    # The exact transforms, which are Pillow's too; strict: any warning is an error.
    return simplejpeg.decode_jpeg(
        data,
        fastdct=False,
        fastupsample=False,
        min_height=least[0],
        min_width=least[1],
        buffer=buffer,
        strict=True,
    )


def _scale(stored: tuple[int, int], wanted: tuple[int, ...]) -> int:
    """By how much a JPEG may be decoded smaller: Pillow's rule in `Image.draft`."""
    most = min(stored[0] // wanted[0], stored[1] // wanted[1]) // OVERSAMPLING
    return next((scale for scale in _JPEG_SCALES if scale <= most), 1)


def _resize(
    picture: Image.Image,
    size: tuple[int, ...],
    box: tuple[float, float, float, float] | None,
) -> Image.Image:
    """To size (H, W); `box` is what of the pixels the whole picture is.

    A JPEG whose sides are no multiples of the scale it was decoded at ends within its last pixels.
    """
    if picture.size == (size[1], size[0]):
        return picture
    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box)
