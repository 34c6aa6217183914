"""A contact sheet of simulated trajectories, as in the paper's Fig. 3: a row for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from bridge.simulator import (
    Backgrounds,
    MeshError,
    ObjectEntry,
    Sample,
    SimulatorConfig,
    simulate,
)
from bridge.synthesis.plan import spread
from bridge.synthesis.shard import renderer_for

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
class PreviewRow:
    """The images of one trajectory and what they show."""

    object_id: str
    trajectory: int
    samples: Sequence[Sample]


def preview_rows(
    entries: Sequence[ObjectEntry],
    trajectories: int,
    simulator: SimulatorConfig,
    backgrounds: Backgrounds,
    unusable: dict[str, str] | None = None,
) -> Iterator[PreviewRow]:
    """Trajectories of objects from as many categories as possible, one after the other.

    Every object comes once before any comes again. Objects that cannot be opened, which are put
    into `unusable` with the reason, and trajectories that pass no filter are skipped.
    """
    unusable = {} if unusable is None else unusable
    order = spread(entries, simulator.seed)
    renderer = renderer_for(simulator)
    for trajectory in range(trajectories):
        for entry in order:
            if entry.object_id in unusable:
                continue
            try:
                mesh = entry.load()
            except MeshError as error:
                unusable[entry.object_id] = str(error)
                continue
            name = entry.object_id
            samples = simulate(mesh, name, trajectory, simulator, renderer, backgrounds)
            if samples:
                yield PreviewRow(name, trajectory, samples)


def contact_sheet(rows: Sequence[PreviewRow]) -> Image.Image:
    """One picture of all rows; a column is the sharp image or one of the exposures 1..10.

    Each image carries its bounding box, and below it its blur level and blur severity.

    Args:
        rows: at least one, all with as many images of one size.
    """
    image_height, image_width = rows[0].samples[0].image.shape[:2]
    cell_height = round(_CELL_WIDTH * image_height / image_width)
    row_height = _TITLE + cell_height + _CAPTION + _GAP
    columns = len(rows[0].samples)
    size = (
        2 * _MARGIN + columns * (_CELL_WIDTH + _GAP) - _GAP,
        2 * _MARGIN + _TITLE + len(rows) * row_height,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + column * (_CELL_WIDTH + _GAP) for column in range(columns)]
    for left, sample in zip(lefts, rows[0].samples, strict=True):
        _write(draw, left + _CELL_WIDTH / 2, _MARGIN, _exposure(sample.window), _PALE, "ma")
    for number, row in enumerate(rows):
        top = _MARGIN + _TITLE + number * row_height
        _write(draw, _MARGIN, top + 4, f"{row.object_id}   trajectory {row.trajectory}", _TEXT)
        for left, sample in zip(lefts, row.samples, strict=True):
            cell = _cell(sample, (_CELL_WIDTH, cell_height))
            sheet.paste(cell, (left, top + _TITLE))
            label = f"BL {sample.blur_level}   BS {sample.blur_severity:.2f}"
            below = top + _TITLE + cell_height + 2
            _write(draw, left + _CELL_WIDTH / 2, below, label, _PALE, "ma")
    return sheet


def _exposure(window: int) -> str:
    return "sharp" if window == 0 else f"exposure {window}"


def _write(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    colour: tuple[int, int, int],
    anchor: str = "la",
) -> None:
    draw.text((x, y), text, fill=colour, anchor=anchor, font=ImageFont.load_default(14))


def _cell(sample: Sample, size: tuple[int, int]) -> Image.Image:
    """An image with its box, resized to (width, height)."""
    picture = Image.fromarray(sample.image).resize(size, Image.Resampling.BICUBIC)
    if sample.bbox is not None:
        width, height = size
        pixel_x, pixel_y = width / sample.image.shape[1], height / sample.image.shape[0]
        cx, cy, w, h = sample.bbox
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
