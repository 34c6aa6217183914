"""Tests of bridge/report/picture.py."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.report import Gallery, Tile
from bridge.report.picture import Exposure, draw_picture, encode_picture

GREEN, RED = (22, 150, 60), (208, 32, 40)
COLOURS = [(250, 200, 30 * number) for number in range(3)]


def flat(colour: tuple[int, int, int]) -> bytes:
    return encode(np.full((30, 40, 3), colour, np.uint8), "png")


def exposures(count: int = 3) -> list[Exposure]:
    return [Exposure(flat(COLOURS[k]), 2 * k, k + 1, 0.1 * k) for k in range(count)]


def gallery(*correct: bool) -> Gallery:
    results = tuple(Tile(flat((0, 0, 200)), 2, "a", each, 0.5) for each in correct)
    return Gallery(Tile(flat((0, 200, 200)), 3, "a"), results)


def where(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that have pixels of a colour."""
    same = (np.asarray(picture) == colour).all(axis=2)
    return np.flatnonzero(same.any(axis=1)), np.flatnonzero(same.any(axis=0))


def test_the_exposures_stand_in_a_row_in_their_order() -> None:
    picture = draw_picture(exposures(), gallery(True))
    places = [where(picture, colour) for colour in COLOURS]
    lefts = [columns.min() for _, columns in places]
    assert lefts == sorted(lefts) and len(set(lefts)) == 3
    assert all((rows == places[0][0]).all() for rows, _ in places)


def test_results_are_framed_by_their_verdict_and_stand_in_rows_beside_the_query() -> None:
    picture = draw_picture(exposures(), gallery(True, True, False))
    query_rows, query_columns = where(picture, (0, 200, 200))
    green_rows, green_columns = where(picture, GREEN)
    red_rows, red_columns = where(picture, RED)
    assert green_columns.min() > query_columns.max()
    assert green_rows.min() < query_rows.min() < query_rows.max() < green_rows.max()
    # Two in a row beside the query, so that the third is below the first.
    assert red_rows.min() > green_rows.max()
    assert red_columns.min() == green_columns.min()
    assert red_columns.max() < green_columns.max()


def test_the_size_of_the_images_keeps_its_proportions() -> None:
    rows, columns = where(draw_picture(exposures(), gallery(True)), COLOURS[0])
    assert len(columns) / len(rows) == pytest.approx(40 / 30, abs=0.02)


def test_unknown_severities_are_left_out() -> None:
    known = exposures(2)
    unknown = [Exposure(each.image_bytes, each.window, each.blur_level, None) for each in known]
    assert draw_picture(known, gallery(True)) != draw_picture(unknown, gallery(True))


def test_an_image_that_cannot_be_read_is_an_input_error() -> None:
    with pytest.raises(InputError, match="blur level 1 cannot be read"):
        draw_picture([Exposure(b"none", 0, 1, None), *exposures(2)], gallery(True))


def test_the_encoded_picture_keeps_to_its_size_at_the_best_quality() -> None:
    noise = np.random.default_rng(0).integers(256, size=(200, 200, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    sizes = [len(encode_picture(picture, most)) for most in (10**6, 30_000, 15_000)]
    assert sizes[0] > 30_000 >= sizes[1] > 15_000 >= sizes[2]
    data = encode_picture(picture, 30_000)
    assert Image.open(io.BytesIO(data)).size == (200, 200)
    with pytest.raises(InputError, match="show fewer images"):
        encode_picture(picture, 1_000)
