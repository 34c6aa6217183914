"""Tests of bridge/report/gallery.py."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from bridge.errors import InputError
from bridge.report.gallery import Gallery, Tile, gallery_html

Encode = Callable[[str], bytes]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_images_are_inline_byte_for_byte(encode: Encode, image_format: str) -> None:
    image = encode(image_format)
    header, content = Tile(image, 1, "chair").data_uri.split(",")
    assert header == f"data:image/{image_format.lower()};base64"
    assert base64.b64decode(content) == image


def test_other_formats_are_an_input_error(encode: Encode) -> None:
    with pytest.raises(InputError, match="'chair/1' is not JPEG"):
        gallery_html([Gallery(Tile(encode("BMP"), 1, "chair/1"), ())])


def test_results_say_rank_similarity_level_and_verdict_in_order(encode: Encode) -> None:
    image = encode("JPEG")
    results = (
        Tile(image, 6, "chair/1", correct=True, similarity=0.91),
        Tile(image, 2, "mug/4", correct=False, similarity=-0.125),
    )
    page = gallery_html([Gallery(Tile(image, 4, "chair/9"), results)])
    query, first, second = page.split("<figure")[1:]
    assert "BL 4" in query and 'class="mark"' not in query
    assert 'class="tile correct' in first and "✓" in first and "BL 6" in first
    assert "1 · 0.910" in first and "chair/1" in first
    assert 'class="tile wrong' in second and "✗" in second and "2 · -0.125" in second


def test_what_is_unknown_is_left_out(encode: Encode) -> None:
    page = gallery_html([Gallery(Tile(encode("PNG"), None, "photo"), ())])
    assert "BL" not in page and "✓" not in page and "✗" not in page and "None" not in page


def test_titles_are_escaped(encode: Encode) -> None:
    page = gallery_html([Gallery(Tile(encode("PNG"), 1, '"><script>x'), ())])
    assert "<script" not in page


def test_no_galleries_are_an_empty_text() -> None:
    assert gallery_html([]).strip() == ""
