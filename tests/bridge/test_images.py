from __future__ import annotations

import numpy as np
import pytest

from bridge.images import MAX_PIXELS, UnreadableImage, decode, decode_batch, encode


def picture() -> np.ndarray:
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([rows * 5, columns * 3, rows + columns], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_lossless_formats_keep_every_pixel(image_format: str) -> None:
    assert np.array_equal(decode(encode(picture(), image_format)), picture())


def test_jpeg_keeps_colours_at_full_resolution() -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    # With the usual halved colour resolution every column would be purple.
    assert np.abs(decode(encode(stripes)).astype(int) - stripes).max() < 20


def test_encoding_is_deterministic() -> None:
    assert encode(picture()) == encode(picture())


@pytest.mark.parametrize("data", [b"", b"not a picture", encode(picture())[:-200]])
def test_bad_bytes_are_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode(data)


def test_oddities_of_a_format_are_unreadable_too() -> None:
    # A PNG whose text chunk is longer than Pillow allows raises none of the usual errors.
    from io import BytesIO

    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    buffer = BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG", pnginfo=info)
    with pytest.raises(UnreadableImage):
        decode(buffer.getvalue())


def test_huge_pictures_are_refused_before_they_are_decoded() -> None:
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("1", (9000, MAX_PIXELS // 9000 + 1)).save(buffer, "PNG")
    with pytest.raises(UnreadableImage, match="pixels"):
        decode(buffer.getvalue())


def test_batches_are_resized_and_channels_first() -> None:
    batch = decode_batch([encode(picture(), "png")] * 2, (24, 32))
    assert batch.shape == (2, 3, 24, 32) and batch.dtype == np.uint8
    # Averaging 2x2 pixels of a linear ramp gives the ramp's value between them.
    expected = picture().reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(batch[0].transpose(1, 2, 0)[inner] - expected[inner]).max() <= 1.5
