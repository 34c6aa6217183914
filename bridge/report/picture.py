"""One picture of what retrieval robust to blur is: a trajectory under growing exposure (as in the
paper's Fig. 3), and a query of it with its results, right and wrong framed (as in Fig. 4)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from bridge.common.errors import InputError
from bridge.common.images import UnreadableImage, decode
from bridge.report.gallery import Gallery, Tile

CELL_WIDTH = 200
MAX_BYTES = 300_000
"""Pages show the picture before anything else, so it has to be there at once."""

_QUALITIES = range(92, 20, -6)
_GAP = 10
_MARGIN = 14
_TITLE = 32
_CAPTION = 26
_FRAME = 5
_PAPER = (255, 255, 255)
_TEXT = (32, 32, 32)
_PALE = (96, 96, 96)
_FRAMES = {"correct": (22, 150, 60), "wrong": (208, 32, 40), "unknown": (64, 64, 64)}


@dataclass(frozen=True)
class Exposure:
    """One encoded image of a trajectory; `window` is its exposure in sub-trajectories, 0..10.

    `blur_severity` in 0..1 is None where it is unknown.
    """

    image_bytes: bytes
    window: int
    blur_level: int
    blur_severity: float | None


def draw_picture(
    exposures: Sequence[Exposure], gallery: Gallery, searched: str = "images of the database"
) -> Image.Image:
    """The exposures in a row, below them the query, and its results in rows to the right of it.

    Args:
        exposures: at least two images of one trajectory.
        gallery: a query and its results, most similar first.
        searched: what was searched, as the heading of the results says it.

    Raises:
        InputError: an image cannot be read.
    """
    columns = len(exposures)
    per_row = columns - 1
    first = _decoded(exposures[0].image_bytes, exposures[0].blur_level)
    cell = (CELL_WIDTH, round(CELL_WIDTH * first.height / first.width))
    pitch = (CELL_WIDTH + _GAP, cell[1] + _CAPTION)
    rows = -(-len(gallery.results) // per_row)
    size = (
        2 * _MARGIN + columns * pitch[0] - _GAP,
        2 * _MARGIN + 2 * _TITLE + _GAP + (1 + rows) * pitch[1],
    )
    sheet = _Sheet(Image.new("RGB", size, _PAPER), cell)
    top = _MARGIN
    sheet.title(_MARGIN, top, "One trajectory, exposed for longer and longer parts of it")
    for column, exposure in enumerate(exposures):
        sheet.exposure(_MARGIN + column * pitch[0], top + _TITLE, exposure)
    top += _TITLE + pitch[1] + _GAP
    sheet.title(_MARGIN, top, "Query")
    sheet.title(_MARGIN + pitch[0], top, f"Most similar {searched}")
    sheet.tile(_MARGIN, top + _TITLE, gallery.query, _level(gallery.query))
    for place, result in enumerate(gallery.results):
        row, column = divmod(place, per_row)
        caption = f"{place + 1}.  {_level(result)}"
        left = _MARGIN + (column + 1) * pitch[0]
        sheet.tile(left, top + _TITLE + row * pitch[1], result, caption)
    return sheet.picture


def encode_picture(picture: Image.Image, most: int = MAX_BYTES) -> bytes:
    """The picture as JPEG of the best quality that takes no more than `most` bytes.

    Raises InputError where the worst takes more.
    """
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= most:
            return buffer.getvalue()
    raise InputError(f"The picture takes {buffer.tell()} bytes at least: show fewer images.")


@dataclass(frozen=True)
class _Sheet:
    """A picture under construction, and the size (width, height) of the images on it."""

    picture: Image.Image
    cell: tuple[int, int]

    def title(self, left: int, top: int, text: str) -> None:
        self._write(left, top, text, 20, _TEXT)

    def exposure(self, left: int, top: int, exposure: Exposure) -> None:
        picture = _decoded(exposure.image_bytes, exposure.blur_level)
        self.picture.paste(picture.resize(self.cell, Image.Resampling.BICUBIC), (left, top))
        severity = exposure.blur_severity
        known = "" if severity is None else f"   BS {severity:.2f}"
        length = "sharp" if exposure.window == 0 else f"{exposure.window} of 23"
        self._caption(left, top, f"{length}   BL {exposure.blur_level}{known}")

    def tile(self, left: int, top: int, tile: Tile, caption: str) -> None:
        """An image in the frame of its verdict; only results have one."""
        picture = _decoded(tile.image_bytes, tile.blur_level)
        picture = picture.resize(self.cell, Image.Resampling.BICUBIC)
        edges = (0, 0, self.cell[0] - 1, self.cell[1] - 1)
        ImageDraw.Draw(picture).rectangle(edges, outline=_FRAMES[tile.verdict], width=_FRAME)
        self.picture.paste(picture, (left, top))
        self._caption(left, top, caption)

    def _caption(self, left: int, top: int, text: str) -> None:
        self._write(left, top + self.cell[1] + 3, text, 16, _PALE)

    def _write(self, x: int, y: int, text: str, size: int, colour: tuple[int, int, int]) -> None:
        draw = ImageDraw.Draw(self.picture)
        draw.text((x, y), text, fill=colour, font=ImageFont.load_default(size))


def _level(tile: Tile) -> str:
    return "" if tile.blur_level is None else f"BL {tile.blur_level}"


def _decoded(image_bytes: bytes, name: object) -> Image.Image:
    try:
        return Image.fromarray(decode(image_bytes))
    except UnreadableImage as error:
        raise InputError(f"An image of blur level {name} cannot be read: {error}.") from error
