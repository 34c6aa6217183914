"""The pictures of the comparison of renderers: images side by side, and error against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image, ImageDraw, ImageFont

from benchmarks.fidelity import WINDOWS
from benchmarks.renderer_costs import Cost
from bridge.blur import composite

SHOWN = (0, 2, 5, 10)
"""Exposures in the picture, from `WINDOWS`."""

_CELL = (168, 126)
_GAP, _GROUP_GAP, _MARGIN = 4, 16, 16
_HEAD, _FOOT, _TITLE = 24, 22, 24
_TEXT, _PALE, _PAPER = (32, 32, 32), (112, 112, 112), (255, 255, 255)
_AROUND = 1.15
"""Size of what is shown of an image, in units of the box that encloses the object."""

_COLOURS = {"raster": "#2f80d0", "cycles": "#d97700"}
_MARKERS = {"raster": "o", "cycles": "s"}


@dataclass(frozen=True, eq=False)
class Row:
    """An object, drawn by every renderer.

    Attributes:
        title: what it is.
        images: by renderer, [len(WINDOWS), H, W, 4] as `Renderer.expose` gives them.
        background: uint8 RGB [H, W, 3].
    """

    title: str
    images: Mapping[str, np.ndarray]
    background: np.ndarray


def draw_picture(rows: Sequence[Row]) -> Image.Image:
    """A row for each object; exposures from left to right, each by all renderers."""
    names = list(rows[0].images)
    width, height = _CELL
    group = len(names) * (width + _GAP) - _GAP + _GROUP_GAP
    row_height = _TITLE + height + _GAP
    size = (
        2 * _MARGIN + len(SHOWN) * group - _GROUP_GAP,
        2 * _MARGIN + _HEAD + len(rows) * row_height + _FOOT,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [
        [_MARGIN + i * group + j * (width + _GAP) for j in range(len(names))]
        for i in range(len(SHOWN))
    ]
    for window, columns in zip(SHOWN, lefts, strict=True):
        middle = (columns[0] + columns[-1] + width) / 2
        _write(draw, middle, _MARGIN, "sharp" if window == 0 else f"exposure {window}", _TEXT, 17)
        for left, name in zip(columns, names, strict=True):
            _write(draw, left + width / 2, size[1] - _MARGIN - _FOOT + 4, name, _PALE, 15)
    for number, row in enumerate(rows):
        top = _MARGIN + _HEAD + number * row_height
        draw.text((_MARGIN, top + 4), row.title, fill=_PALE, font=ImageFont.load_default(15))
        box = _box(row)
        for window, columns in zip(SHOWN, lefts, strict=True):
            for left, name in zip(columns, names, strict=True):
                layer = row.images[name][WINDOWS.index(window)]
                photo = Image.fromarray(composite(layer, row.background))
                cell = photo.resize(_CELL, Image.Resampling.LANCZOS, box)
                sheet.paste(cell, (left, top + _TITLE))
    return sheet


def _box(row: Row) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the part of the images that has the object in it."""
    size = np.array(row.background.shape[:2])
    alpha = np.max([layers[..., 3].max(axis=0) for layers in row.images.values()], axis=0)
    pixels = np.argwhere(alpha > 0)
    low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
    proportions = np.array([1, _CELL[0] / _CELL[1]])
    scale = min((_AROUND * (high - low) / proportions).max(), (size / proportions).min())
    extent = scale * proportions
    top, left = np.clip((low + high - extent) / 2, 0, size - extent).tolist()
    return left, top, left + float(extent[1]), top + float(extent[0])


def _write(
    draw: ImageDraw.ImageDraw, x: float, y: float, text: str, fill: tuple[int, int, int], size: int
) -> None:
    draw.text((x, y), text, fill=fill, anchor="ma", font=ImageFont.load_default(size))


def draw_curves(curves: Mapping[str, Sequence[Cost]], target: float) -> Figure:
    """Error of the opacity over CPU time per trajectory, both on logarithmic axes."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        seconds = [point.seconds for point in curve]
        errors = [point.alpha for point in curve]
        look = f"{_MARKERS[name]}-"
        axes.plot(seconds, errors, look, color=_COLOURS[name], linewidth=2, label=_legend(name))
        for point in curve:
            place = (point.seconds, point.alpha)
            label = f"{point.setting:g}"
            axes.annotate(
                label, place, (0, 7), textcoords="offset points", ha="center", fontsize=10
            )
    axes.axhline(target, color="#1f9d74", linestyle="--", linewidth=1.2, label=f"target {target}")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="CPU seconds for the eleven images of a trajectory",
        ylabel="Opacity error",
    )
    _finish(axes)
    return figure


def _legend(name: str) -> str:
    unit = "px per sub-frame" if name == "raster" else "samples per pixel"
    return f"{name} ({unit})"


def _finish(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, which="both")
    axes.set_axisbelow(True)
    axes.margins(x=0.08, y=0.12)
    axes.legend(frameon=False)


def save_picture(picture: Image.Image, file: Path) -> None:
    """Write a picture as what its suffix says; photos are several times smaller as .jpg."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, quality=90, subsampling=0, optimize=True)


def save_figure(figure: Figure, file: Path) -> None:
    """Write a plot as a picture."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(160)
    canvas.draw()
    save_picture(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), file)
