from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bridge.common import images
from bridge.common.images import (
    MAX_PIXELS,
    OVERSAMPLING,
    Encoded,
    UnreadableImage,
    decode,
    decode_batch,
    eight_bits,
    encode,
)


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
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG", pnginfo=info)
    with pytest.raises(UnreadableImage):
        decode(buffer.getvalue())


def test_huge_pictures_are_refused_before_they_are_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("1", (9000, MAX_PIXELS // 9000 + 1)).save(buffer, "PNG")
    with pytest.raises(UnreadableImage, match="pixels"):
        decode(buffer.getvalue())


def shape(size: tuple[int, int]) -> np.ndarray:
    """A smooth picture with an edge, of any size."""
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    waves = np.stack(
        [np.sin(rows / 9), np.cos(columns / 7), np.sin((rows + columns) / 11)], axis=-1
    )
    return (127 + 90 * waves + 30 * (columns > size[1] // 2)[..., None]).astype(np.uint8)


def jpeg(image: np.ndarray, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def batch_of(*encoded: Encoded | None, size: tuple[int, int]) -> np.ndarray:
    out = np.full((len(encoded), *size, 3), 99, np.uint8)
    assert decode_batch(encoded, out) == {}
    return out


JPEGS = {
    "full colour": jpeg(shape((96, 128)), quality=95, subsampling=0),
    "halved colour": jpeg(shape((96, 128)), quality=75, subsampling=2),
    "progressive": jpeg(shape((96, 128)), progressive=True),
    "grey": jpeg(shape((96, 128)), mode="L"),
    "cmyk": jpeg(shape((96, 128)), mode="CMYK"),
    "odd sides": jpeg(shape((101, 203))),
    "tiny": jpeg(shape((7, 5))),
    "rotated by EXIF": jpeg(
        shape((96, 128)),
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
    ),
}


@pytest.mark.parametrize("size", [None, (96, 128), (50, 40), (24, 32), (9, 11), (150, 150)])
@pytest.mark.parametrize("kind", JPEGS)
def test_batches_of_jpeg_hold_the_pixels_of_pillow(kind: str, size: tuple[int, int] | None) -> None:
    data = JPEGS[kind]
    whole = decode(data)
    height, width = size or whole.shape[:2]
    expected = decode(data, (height, width), (OVERSAMPLING * height, OVERSAMPLING * width))
    assert np.array_equal(batch_of(data, memoryview(data), size=(height, width))[1], expected)
    if size is None:
        assert np.array_equal(expected, whole)


@pytest.mark.parametrize("stored", [(96, 128), (101, 203), (240, 320)])
def test_decoding_at_a_smaller_scale_moves_nothing(stored: tuple[int, int]) -> None:
    size = (12, 16)
    data = jpeg(shape(stored), quality=98, subsampling=0)
    averaged = decode(data, size).astype(int)
    assert np.abs(batch_of(data, size=size)[0] - averaged).mean() < 2
    # The next pixel is further away than that.
    assert np.abs(np.roll(averaged, 1, axis=1) - averaged).mean() > 10


def test_sound_jpegs_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = decode(JPEGS["full colour"])
    monkeypatch.setattr(images, "decode", None)
    assert np.array_equal(batch_of(JPEGS["full colour"], size=(96, 128))[0], expected)


@pytest.mark.parametrize("mode", ["P", "L", "I;16", "RGBA", "1"])
def test_batches_take_other_formats(mode: str) -> None:
    buffer = io.BytesIO()
    picture_ = Image.fromarray(picture())
    deep = Image.fromarray(picture()[..., 0].astype(np.uint16) * 257)
    (deep if mode == "I;16" else picture_.convert(mode)).save(buffer, "PNG")
    data = buffer.getvalue()
    batch = batch_of(data, None, size=(48, 64))
    assert np.array_equal(batch[0], decode(data)) and not batch[1].any()


def test_unreadable_places_of_a_batch_are_named_and_black() -> None:
    data = encode(shape((48, 64)))
    broken = [
        data,
        b"",
        b"not a picture",
        data[:-200],
        data[:200],
        b"\xff\xd8\xff",
        data[:-2],
        data,
    ]
    out = np.full((len(broken), 48, 64, 3), 99, np.uint8)
    unreadable = decode_batch(broken, out)
    # Without its last two bytes nothing but the mark of the end is missing.
    assert unreadable.keys() - {6} == {1, 2, 3, 4, 5} and all(unreadable.values())
    for place in unreadable:
        assert not out[place].any()
    assert np.array_equal(out[0], decode(data)) and np.array_equal(out[7], out[0])


def test_huge_jpegs_are_refused_before_they_are_decoded() -> None:
    data = bytearray(jpeg(np.zeros((16, 16, 3), np.uint8)))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = b"\xf0\x00\xf0\x00"
    unreadable = decode_batch([bytes(data)], np.empty((1, 16, 16, 3), np.uint8))
    assert "pixels" in unreadable[0]


def test_threads_decode_side_by_side() -> None:
    # With a switch interval longer than the test, another thread runs only where decoding
    # lets it.
    data = encode(shape((240, 320)))
    before, turns, stop = sys.getswitchinterval(), 0, False

    def count() -> None:
        nonlocal turns
        while not stop:
            turns += 1
            time.sleep(0)

    thread = Thread(target=count)
    sys.setswitchinterval(1000)
    try:
        thread.start()
        batch_of(*[data] * 20, size=(240, 320))
        counted = turns
    finally:
        sys.setswitchinterval(before)
        stop = True
        thread.join()
    assert counted > 5


def test_batches_average_when_they_shrink() -> None:
    batch = batch_of(encode(picture(), "png"), size=(24, 32))
    # Averaging 2x2 pixels of a linear ramp gives the ramp's value between them.
    expected = picture().reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(batch[0][inner] - expected[inner]).max() <= 1.5


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: np.rot90,
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 3),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_shown_as_their_camera_was_held(kind: str, orientation: int) -> None:
    upright = shape((64, 96))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](upright)))
    options = {} if kind in ("PNG", "TIFF") else {"quality": 95}
    data = encoded(stored, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options)
    assert decode(data).shape == upright.shape
    assert np.abs(decode(data).astype(int) - upright).mean() < 4
    smaller = decode(data, (32, 48)).astype(int)
    assert np.abs(smaller - decode(encoded(Image.fromarray(upright)), (32, 48))).mean() < 4
    assert decode(data, at_least=(20, 40)).shape[:2] in ((32, 48), (64, 96))
    assert np.array_equal(batch_of(data, size=(16, 24))[0], decode(data, (16, 24), (32, 48)))


def test_an_upright_photo_with_notes_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    data = encoded(Image.fromarray(shape((48, 64))), "JPEG", exif=exif)
    expected = decode(data)
    monkeypatch.setattr(images, "decode", None)
    assert np.array_equal(batch_of(data, size=(48, 64))[0], expected)


def test_deep_greys_are_scaled_to_their_range() -> None:
    grey = picture()[..., 0]
    expected = decode(encoded(Image.fromarray(grey)))
    deep = {
        "16 bits": Image.fromarray(grey.astype(np.uint16) * 257),
        "32 bits": Image.fromarray(grey.astype(np.int32) * 257),
        "32 bits, few used": Image.fromarray(grey.astype(np.int32)),
        "floats to 1": Image.fromarray(grey.astype(np.float32) / 255),
        "floats to 255": Image.fromarray(grey.astype(np.float32)),
        "floats to 65535": Image.fromarray(grey.astype(np.float32) * 257),
    }
    for name, image in deep.items():
        assert np.array_equal(decode(encoded(image, "TIFF")), expected), name
    assert np.array_equal(decode(encoded(deep["16 bits"])), expected)


def test_other_ranges_are_those_of_the_values() -> None:
    values = np.array([[-5.0, 0, np.nan, 5]], np.float32)
    assert np.asarray(eight_bits(Image.fromarray(values))).tolist() == [[0, 128, 128, 255]]
    large = Image.fromarray(np.array([[100_000, 300_000]], np.int32))
    assert np.asarray(eight_bits(large)).tolist() == [[0, 255]]
    flat = Image.fromarray(np.full((2, 2), 1e6, np.float32))
    assert not np.asarray(eight_bits(flat)).any()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 0, 255)])
def test_what_is_transparent_lies_on_white(kind: str, hidden: tuple[int, int, int]) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., :3] = hidden
    pixels[4:12, 4:12] = (10, 20, 30, 255)
    pixels[0, 0] = (0, 0, 0, 51)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = decode(encoded(Image.fromarray(pixels), kind, **options)).copy()
    assert found[0, 0].tolist() == [204] * 3
    assert (found[4:12, 4:12] == (10, 20, 30)).all()
    found[0, 0] = 255
    found[4:12, 4:12] = 255
    assert (found == 255).all()


def test_transparent_colours_of_a_palette_and_of_greys_lie_on_white() -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([9, 9, 9, 1, 2, 3])
    palette.putpixel((1, 0), 1)
    assert decode(encoded(palette, transparency=0)).tolist() == [[[255] * 3, [1, 2, 3]]]
    assert decode(encoded(palette, "GIF", transparency=0)).tolist() == [[[255] * 3, [1, 2, 3]]]
    grey = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert decode(encoded(grey, transparency=7)).tolist() == [[[255] * 3, [8] * 3]]
    assert decode(encoded(grey.convert("LA"))).tolist() == [[[7] * 3, [8] * 3]]


def test_reasons_name_no_place_in_memory() -> None:
    with pytest.raises(UnreadableImage, match="UnidentifiedImageError") as caught:
        decode(b"not a picture")
    assert "0x" not in str(caught.value) and "BytesIO" not in str(caught.value)


def test_the_photos_of_the_cases(shared_photos: Path) -> None:
    found = {
        path.name: decode(path.read_bytes())
        for path in shared_photos.iterdir()
        if path.name != "trunc.jpg"
    }
    grey = found["grey8.png"]
    assert grey.min() == 0 and grey.max() == 235
    assert np.array_equal(found["grey16.png"], grey) and np.array_equal(found["float.tif"], grey)
    black, magenta = found["rgba_hidden_black.png"], found["rgba_hidden_magenta.png"]
    assert np.array_equal(black, magenta) and (black[0, 0] == 255).all()
    assert (found["palette_trns.png"][-1, 0] == 255).all()
    assert found["exif6.jpg"].shape == found["cmyk.jpg"].shape == (240, 320, 3)
    # One picture, turned or in inks: the sky is above.
    assert np.abs(found["exif6.jpg"].astype(int) - found["cmyk.jpg"]).mean() < 12
    assert (found["exif6.jpg"][10, 150] > (80, 140, 220)).all()
