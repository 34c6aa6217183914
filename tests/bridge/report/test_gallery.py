"""Tests of bridge/report/gallery.py."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import pytest
from PIL import Image

from bridge.common.errors import InputError
from bridge.report.gallery import BEST, EXPLANATIONS, RANDOM, Gallery, Tile, gallery_html

Encode = Callable[..., bytes]


def content(tile: Tile) -> tuple[str, bytes]:
    header, text = tile.data_uri.split(",")
    return header, base64.b64decode(text)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_small_images_are_inline_byte_for_byte(encode: Encode, image_format: str) -> None:
    image = encode(image_format)
    assert content(Tile(image, 1, "chair")) == (f"data:image/{image_format.lower()};base64", image)


@pytest.mark.parametrize(("image_format", "size"), [("PNG", (320, 240)), ("JPEG", (900, 1200))])
def test_large_images_are_made_smaller_in_proportion(
    encode: Encode, image_format: str, size: tuple[int, int]
) -> None:
    image = encode(image_format, size)
    header, smaller = content(Tile(image, 1, "chair"))
    width, height = Image.open(io.BytesIO(smaller)).size
    assert header == "data:image/webp;base64"
    assert max(width, height) == 224 and width * size[1] == pytest.approx(height * size[0])
    assert len(smaller) < len(image)


def test_other_formats_become_one_that_browsers_show(encode: Encode) -> None:
    assert content(Tile(encode("BMP"), 1, "chair"))[0] == "data:image/webp;base64"


def test_what_is_no_picture_is_an_input_error() -> None:
    with pytest.raises(InputError, match="'chair/1' cannot be read"):
        gallery_html([Gallery(Tile(b"no picture", 1, "chair/1"), ())])


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


def test_boxes_and_estimates_are_shown(encode: Encode) -> None:
    tile = Tile(
        encode("PNG"),
        3,
        "chair",
        box=(0.5, 0.5, 0.4, 0.2),
        predicted_box=(0.25, 0.5, 0.5, 1.0),
        predicted_blur_severity=0.34,
    )
    page = gallery_html([Gallery(tile, ())])
    true, predicted = page.split('<span class="box ')[1:]
    assert true.startswith("true") and "left:30.00%;top:40.00%;width:40.00%;height:20.00%" in true
    assert predicted.startswith("predicted")
    assert "left:0.00%;top:0.00%;width:50.00%;height:100.00%" in predicted
    assert "predicted BL\N{NO-BREAK SPACE}4, 0.34" in page


def test_what_is_unknown_is_left_out(encode: Encode) -> None:
    page = gallery_html([Gallery(Tile(encode("PNG"), None, "photo"), ())])
    assert not any(text in page for text in ("BL", "✓", "✗", "None", "predicted", "box", "<h3>"))


def test_groups_are_gathered_in_order_of_appearance_and_explained(encode: Encode) -> None:
    image = encode("PNG")
    groups = (BEST, RANDOM, BEST, "Mine")
    page = gallery_html(
        [Gallery(Tile(image, 1, f"t{n}"), (), group) for n, group in enumerate(groups)]
    )
    order = [page.index(f"<h3>{group}</h3>") for group in (BEST, RANDOM, "Mine")]
    assert order == sorted(order)
    assert [page.count(f"<h3>{group}</h3>") for group in (BEST, RANDOM, "Mine")] == [1, 1, 1]
    assert page.index(">t2<") < page.index(f"<h3>{RANDOM}</h3>") < page.index(">t1<")
    assert page.count('<p class="muted">') == 2
    assert EXPLANATIONS[RANDOM] in page


def test_titles_are_escaped(encode: Encode) -> None:
    page = gallery_html([Gallery(Tile(encode("PNG"), 1, '"><script>x'), (), "<script>")])
    assert "<script" not in page


def test_no_galleries_are_an_empty_text() -> None:
    assert gallery_html([]).strip() == ""
