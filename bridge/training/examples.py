"""A picture of training tuples with what the network says about them."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from bridge.model.method import Description, RetrievalModel
from bridge.training.data import Batch

CELL_WIDTH = 200
GAP = 8
MARGIN = 16
LINE = 17
PAPER = (255, 255, 255)
EMPTY = (238, 238, 238)
TEXT = (32, 32, 32)
PALE = (112, 112, 112)
TRUE_BOX = (255, 214, 10)
PREDICTED_BOX = (0, 200, 255)

Colour = tuple[int, int, int]


def draw_examples(model: RetrievalModel, batch: Batch) -> np.ndarray:
    """The images of a batch, a tuple per row, with true and predicted boxes and blur.

    Below each image stand its part in the tuple with its blur level, and 1 - BS with the
    prediction. Labels that are unknown and heads that the network lacks are left out; so are
    images that are not valid.

    Args:
        model: on any device; its mode stays as it is.
        batch: at least one tuple.

    Returns:
        uint8 [H, W, 3].
    """
    output = _predict(model, batch)
    height, width = batch.images.shape[2:]
    cell = (CELL_WIDTH, round(CELL_WIDTH * height / width))
    rows, columns = len(batch.objects) // batch.tuple_size, batch.tuple_size
    row_height = cell[1] + 2 * LINE + 2 * GAP
    size = (
        2 * MARGIN + columns * (cell[0] + GAP) - GAP,
        2 * MARGIN + LINE + GAP + rows * row_height - 2 * GAP,
    )
    sheet = Image.new("RGB", size, PAPER)
    _legend(ImageDraw.Draw(sheet), with_boxes=output.box is not None)
    for number in range(len(batch.objects)):
        row, column = divmod(number, columns)
        left = MARGIN + column * (cell[0] + GAP)
        top = MARGIN + LINE + GAP + row * row_height
        _draw_image(sheet, (left, top), cell, batch, output, number)
    return np.asarray(sheet)


@torch.no_grad()
def _predict(model: RetrievalModel, batch: Batch) -> Description:
    training = model.training
    model.eval()
    output = model(batch.images.to(model.device).float() / 255)
    model.train(training)
    return Description(*(None if part is None else part.float().cpu() for part in output))


def _draw_image(
    sheet: Image.Image,
    corner: tuple[int, int],
    size: tuple[int, int],
    batch: Batch,
    output: Description,
    number: int,
) -> None:
    """One image with its boxes and captions, `size` = (width, height) without the captions."""
    draw = ImageDraw.Draw(sheet)
    (left, top), (width, height) = corner, size
    if not batch.valid[number]:
        draw.rectangle((left, top, left + width - 1, top + height - 1), fill=EMPTY)
        return
    pixels = batch.images[number].permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    _draw_box(picture, batch.boxes[number].tolist(), TRUE_BOX)
    if output.box is not None:
        _draw_box(picture, output.box[number].tolist(), PREDICTED_BOX)
    sheet.paste(picture, corner)
    for line, text in enumerate(_captions(batch, output, number)):
        _write(draw, left, top + height + 2 + line * LINE, text, PALE if line else TEXT)


def _captions(batch: Batch, output: Description, number: int) -> tuple[str, str]:
    query = number - number % batch.tuple_size
    same = bool(batch.objects[number] == batch.objects[query])
    role = "query" if number == query else "positive" if same else "negative"
    level = int(batch.levels[number])
    blur = []
    if math.isfinite(true := float(batch.visibility[number])):
        blur.append(f"true {true:.2f}")
    if output.visibility is not None:
        blur.append(f"predicted {float(output.visibility[number]):.2f}")
    return f"{role}  BL {level}" if level > 0 else role, f"1-BS {'  '.join(blur)}" if blur else ""


def _draw_box(picture: Image.Image, box: list[float], colour: Colour) -> None:
    """A box cx, cy, w, h in [0, 1]; none where a number is not known."""
    if not all(map(math.isfinite, box)):
        return
    cx, cy, w, h = box
    left, right = ((cx + side * w / 2) * picture.width for side in (-1, 1))
    top, bottom = ((cy + side * h / 2) * picture.height for side in (-1, 1))
    draw = ImageDraw.Draw(picture)
    # A dark edge, for backgrounds of the colour of the box.
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=TEXT, width=4)
    draw.rectangle((left, top, right, bottom), outline=colour, width=2)


def _legend(draw: ImageDraw.ImageDraw, with_boxes: bool) -> None:
    left = MARGIN
    names = [("true box", TRUE_BOX)] + [("predicted box", PREDICTED_BOX)] * with_boxes
    for name, colour in names:
        draw.rectangle((left, MARGIN + 2, left + 18, MARGIN + 14), fill=colour, outline=TEXT)
        _write(draw, left + 26, MARGIN, name, TEXT)
        left += 130


def _write(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, colour: Colour) -> None:
    draw.text((x, y), text, fill=colour, font=ImageFont.load_default(14))
