from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bridge.common.images import UnreadableImage, decode
from bridge.common.served import servable


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
    return Image.fromarray(ramp.astype(np.uint8)).convert(mode)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def grey16() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, 1200).astype(np.uint16).reshape(30, 40))


SHOWN = {
    "JPEG": encoded(scene(), "JPEG"),
    "grey JPEG": encoded(scene("L"), "JPEG"),
    "upright by EXIF": encoded(scene(), "JPEG", exif=turned(1)),
    "PNG": encoded(scene(), "PNG"),
    "palette": encoded(scene("P"), "PNG"),
    "see-through": encoded(scene("RGBA"), "PNG"),
    "WebP": encoded(scene(), "WEBP"),
    "several pictures": encoded(scene(), "MPO", save_all=True, append_images=[scene()]),
    "bytes behind the end": encoded(scene(), "JPEG") + b"a phone's notes",
}
CHANGED = {
    "turned by EXIF": encoded(scene(), "JPEG", exif=turned(6)),
    "inks": encoded(scene("CMYK"), "JPEG"),
    "16 bits": encoded(grey16(), "PNG"),
    "TIFF": encoded(scene(), "TIFF"),
    "BMP": encoded(scene(), "BMP"),
    "GIF": encoded(scene("P"), "GIF"),
    "AVIF": encoded(scene(), "AVIF"),
    "JPEG 2000": encoded(scene(), "JPEG2000"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_what_a_browser_shows_keeps_its_bytes(name: str) -> None:
    assert servable(SHOWN[name]) == SHOWN[name]


@pytest.mark.parametrize("name", CHANGED)
def test_other_pictures_become_jpegs_that_show_the_same(name: str) -> None:
    served = servable(CHANGED[name])
    assert Image.open(io.BytesIO(served)).format == "JPEG"
    assert servable(served) == served
    expected, found = decode(CHANGED[name]).astype(int), decode(served).astype(int)
    assert np.abs(expected - found).mean() < 3
    assert found.shape == ((40, 30, 3) if "EXIF" in name else (30, 40, 3))


def test_sixteen_bits_of_a_colour_are_not_kept() -> None:
    # Pillow writes none: 8 bits of a real one, and a header that says 16, are what is looked at.
    data = bytearray(SHOWN["PNG"])
    data[24] = 16
    with pytest.raises(UnreadableImage):
        servable(bytes(data))


@pytest.mark.parametrize("name", [*SHOWN, *CHANGED])
def test_pictures_that_are_cut_off_are_refused(name: str) -> None:
    whole = {**SHOWN, **CHANGED}[name]
    if name == "bytes behind the end":
        whole = whole.removesuffix(b"a phone's notes")
    for share in (0, 0.02, 0.5):
        with pytest.raises(UnreadableImage):
            servable(whole[: int(share * len(whole))])


@pytest.mark.parametrize("data", [b"", b"xx", b"%PDF-1.4", b"\xff\xd8\xff\xe0 no picture"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        servable(data)


def test_large_pictures_are_made_smaller_where_asked() -> None:
    large = encoded(scene(size=(400, 300)), "PNG")
    assert servable(large, 400) == large
    assert decode(servable(large, 100)).shape == (75, 100, 3)
    upright = encoded(scene(size=(400, 300)), "JPEG", exif=turned(6))
    assert decode(servable(upright, 100)).shape == (100, 75, 3)
    long = encoded(scene(size=(600, 2)), "PNG")
    assert decode(servable(long, 50)).shape == (1, 50, 3)
