"""The pictures of the comparison of renderers: images side by side, and error against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.renderer_costs import Cost
from benchmarks.renderer_errors import WINDOWS, exposure_name
from bridge.blur import composite

SHOWN = (0, 2, 5, 10)
"""Exposures in the picture, from `WINDOWS`."""

_CELL = (1.5, 1.125)
"""Width and height of an image in inches."""
_AROUND = 1.15
"""Size of what is shown of an image, in units of the box that encloses the object."""

_LOOKS = {
    "raster": {"color": "#2f80d0", "marker": "o", "label": "raster (px per sub-frame)"},
    "cycles": {"color": "#d97700", "marker": "s", "label": "cycles (samples per pixel)"},
}


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


def draw_picture(rows: Sequence[Row], file: Path) -> None:
    """A row for each object; exposures from left to right, each by all renderers."""
    columns = [(window, name) for window in SHOWN for name in rows[0].images]
    figure = _figure(_CELL[0] * len(columns), (_CELL[1] + 0.2) * len(rows))
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for row, line in zip(rows, grid, strict=True):
        top, left, height, width = _box(row)
        for (window, name), axes in zip(columns, line, strict=True):
            photo = composite(row.images[name][WINDOWS.index(window)], row.background)
            axes.imshow(photo[top : top + height, left : left + width], interpolation="lanczos")
            axes.set_axis_off()
            if row is rows[0]:
                axes.set_title(f"{exposure_name(window)}\n{name}", fontsize=9)
        line[0].text(0, -0.02, row.title, transform=line[0].transAxes, va="top", fontsize=8)
    _save(figure, file)


def _box(row: Row) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part of the images that has the object in it."""
    size = np.array(row.background.shape[:2])
    alpha = np.max([layers[..., 3].max(axis=0) for layers in row.images.values()], axis=0)
    pixels = np.argwhere(alpha > 0)
    low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
    proportions = np.array([1, _CELL[0] / _CELL[1]])
    scale = min((_AROUND * (high - low) / proportions).max(), (size / proportions).min())
    extent = scale * proportions
    corner = np.clip((low + high - extent) / 2, 0, size - extent)
    top, left, height, width = np.concatenate([corner, extent]).round().astype(int).tolist()
    return top, left, height, width


def draw_curves(curves: Mapping[str, Sequence[Cost]], target: float, file: Path) -> None:
    """Error of the opacity over CPU time per trajectory, both on logarithmic axes."""
    figure = _figure(7.2, 4.4)
    axes = figure.add_subplot()
    for name, curve in curves.items():
        points = [(point.seconds, point.alpha) for point in curve]
        axes.plot(*zip(*points, strict=True), linewidth=2, **_LOOKS[name])
        for point, place in zip(curve, points, strict=True):
            label = f"{point.setting:g}"
            axes.annotate(label, place, (0, 7), textcoords="offset points", ha="center")
    axes.axhline(target, color="#1f9d74", linestyle="--", label=f"target {target}")
    axes.set(xscale="log", yscale="log", ylabel="Opacity error")
    axes.set_xlabel("CPU seconds for the eleven images of a trajectory")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, which="both")
    axes.margins(x=0.08, y=0.12)
    axes.legend(frameon=False)
    _save(figure, file)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=160, layout="constrained")


def _save(figure: Figure, file: Path) -> None:
    """As what the suffix says; photos are several times smaller as .jpg."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.save(file, quality=90, subsampling=0, optimize=True)
