from __future__ import annotations

import numpy as np

from bridge.common.contact_sheet import Cell, Row, contact_sheet

GREEN, BLUE = (10, 120, 30), (20, 40, 160)


def cell(colour: tuple[int, int, int]) -> Cell:
    return Cell(np.full((30, 40, 3), colour, np.uint8), None, "a caption")


def test_images_stand_in_their_columns_and_places_may_be_empty() -> None:
    rows = [Row("one", [None, cell(GREEN)]), Row("two", [cell(BLUE), cell(GREEN)])]
    sheet = np.asarray(contact_sheet(rows, ["left", "right"]))
    green, blue = ((sheet == colour).all(axis=2) for colour in (GREEN, BLUE))
    assert np.flatnonzero(blue.any(axis=0)).max() < np.flatnonzero(green.any(axis=0)).min()
    assert green.sum() == 2 * blue.sum()
    assert np.flatnonzero(green.any(axis=1)).min() < np.flatnonzero(blue.any(axis=1)).min()
