"""The pictures of the comparison of renderers: images side by side, and error against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.renderer_measures import WINDOWS
from bridge.blur import composite

SHOWN = (0, 2, 5, 10)
"""Exposures in the picture, from `WINDOWS`."""

_LOOKS = {
    "raster": {"color": "#2f80d0", "marker": "o", "label": "raster (px per sub-frame)"},
    "cycles": {"color": "#d97700", "marker": "s", "label": "cycles (samples per pixel)"},
}


def exposure_name(window: int) -> str:
    """For titles."""
    return "sharp" if window == 0 else f"exposure {window}"


def draw_picture(
    titles: Sequence[str],
    images: Mapping[str, Sequence[np.ndarray]],
    backgrounds: Sequence[np.ndarray],
    file: Path,
) -> None:
    """Objects from top to bottom; exposures from left to right, each by all renderers.

    `images` holds for each object premultiplied RGBA [len(WINDOWS), H, W, 4], and `backgrounds`
    uint8 RGB [H, W, 3].
    """
    columns = [(window, name) for window in SHOWN for name in images]
    figure = Figure((1.5 * len(columns), 1.325 * len(titles)), dpi=160, layout="constrained")
    grid = figure.subplots(len(titles), len(columns), squeeze=False)
    for number, (title, line) in enumerate(zip(titles, grid, strict=True)):
        for (window, name), axes in zip(columns, line, strict=True):
            layer = images[name][number][WINDOWS.index(window)]
            axes.imshow(composite(layer, backgrounds[number]), interpolation="lanczos")
            axes.set_axis_off()
            if number == 0:
                axes.set_title(f"{exposure_name(window)}\n{name}", fontsize=9)
        line[0].text(0, -0.02, title, transform=line[0].transAxes, va="top", fontsize=8)
    _save(figure, file)


def draw_curves(curves: Mapping[str, Sequence[Mapping[str, float]]], file: Path) -> None:
    """Error of the opacity over CPU time per trajectory, both on logarithmic axes."""
    figure = Figure((7.2, 4.4), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        points = [(point["seconds"], point["alpha"]) for point in curve]
        axes.plot(*zip(*points, strict=True), linewidth=2, **_LOOKS[name])
        for point, place in zip(curve, points, strict=True):
            label = f"{point['setting']:g}"
            axes.annotate(label, place, (0, 7), textcoords="offset points", ha="center")
    axes.set(xscale="log", yscale="log", ylabel="Opacity error")
    axes.set_xlabel("CPU seconds for the eleven images of a trajectory")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.2, which="both")
    axes.margins(x=0.08, y=0.12)
    axes.legend()
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    """As what the suffix says; photos are several times smaller as .jpg."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.save(file, quality=90, subsampling=0, optimize=True)
