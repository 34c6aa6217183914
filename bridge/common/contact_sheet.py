"""Contact sheets: images in rows, each with a box and a line below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CELL_WIDTH = 200
_GAP = 6
_MARGIN = 16
_TITLE = 26
_CAPTION = 20
_TEXT = (32, 32, 32)
_PALE = (112, 112, 112)
_PAPER = (255, 255, 255)
_BOX = (255, 214, 10)


@dataclass(frozen=True)
class Cell:
    """An image, uint8 RGB [H, W, 3], its box (cx, cy, w, h) in 0..1, and what is written below."""

    image: np.ndarray
    bbox: tuple[float, float, float, float] | None
    caption: str


@dataclass(frozen=True)
class Row:
    """Images side by side under a title; None leaves a place empty."""

    title: str
    cells: Sequence[Cell | None]


def contact_sheet(rows: Sequence[Row], headings: Sequence[str]) -> Image.Image:
    """One picture of all rows.

    Args:
        rows: with one image at least, all of one size, and as many places as there are headings.
        headings: of the columns.
    """
    shapes = (cell.image.shape for row in rows for cell in row.cells if cell is not None)
    image_height, image_width = next(shapes)[:2]
    cell_height = round(_CELL_WIDTH * image_height / image_width)
    row_height = _TITLE + cell_height + _CAPTION + _GAP
    size = (
        2 * _MARGIN + len(headings) * (_CELL_WIDTH + _GAP) - _GAP,
        2 * _MARGIN + _TITLE + len(rows) * row_height,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + column * (_CELL_WIDTH + _GAP) for column in range(len(headings))]
    for left, heading in zip(lefts, headings, strict=True):
        _write(draw, left + _CELL_WIDTH / 2, _MARGIN, heading, _PALE, "ma")
    for number, row in enumerate(rows):
        top = _MARGIN + _TITLE + number * row_height
        _write(draw, _MARGIN, top + 4, row.title, _TEXT)
        for left, cell in zip(lefts, row.cells, strict=True):
            if cell is None:
                continue
            sheet.paste(_drawn(cell, (_CELL_WIDTH, cell_height)), (left, top + _TITLE))
            below = top + _TITLE + cell_height + 2
            _write(draw, left + _CELL_WIDTH / 2, below, cell.caption, _PALE, "ma")
    return sheet


def _write(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    colour: tuple[int, int, int],
    anchor: str = "la",
) -> None:
    draw.text((x, y), text, fill=colour, anchor=anchor, font=ImageFont.load_default(14))


def _drawn(cell: Cell, size: tuple[int, int]) -> Image.Image:
    """An image with its box, resized to (width, height)."""
    picture = Image.fromarray(cell.image).resize(size, Image.Resampling.BICUBIC)
    if cell.bbox is not None:
        width, height = size
        pixel_x, pixel_y = width / cell.image.shape[1], height / cell.image.shape[0]
        cx, cy, w, h = cell.bbox
        # A box is measured between pixel indices, so its last pixel reaches one further.
        box = (
            (cx - w / 2) * width,
            (cy - h / 2) * height,
            min((cx + w / 2) * width + pixel_x, width) - 1,
            min((cy + h / 2) * height + pixel_y, height) - 1,
        )
        draw = ImageDraw.Draw(picture)
        # A dark edge, for backgrounds of the colour of the box.
        draw.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), outline=_TEXT, width=4)
        draw.rectangle(box, outline=_BOX, width=2)
    return picture
