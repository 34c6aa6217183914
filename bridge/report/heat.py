"""Heat maps of the tables by query and database blur level: one colour scale for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from bridge.report.plots import TEXT, Plot, new_figure
from bridge.report.scores import Grid, query_levels
from bridge.report.tables import PAPER_SUFFIX, rows_csv, source

# Even in lightness, so that it reads in grey and with every form of colour blindness.
_COLOURS = matplotlib.colormaps["cividis"]
_STEP = 10
_DARK, _LIGHT = "#000000", "#ffffff"


@dataclass(frozen=True)
class Scale:
    """The percentages at both ends of the colours."""

    low: float
    high: float

    def ground(self, value: float) -> str:
        """The colour that stands for a percentage, "#rrggbb"."""
        return to_hex(_COLOURS(float(np.clip((value - self.low) / (self.high - self.low), 0, 1))))

    def ink(self, value: float) -> str:
        """Black or white, whichever reads better on `ground`."""
        luminance = _luminance(self.ground(value))
        return _DARK if (luminance + 0.05) ** 2 > 0.05 * 1.05 else _LIGHT

    @property
    def gradient(self) -> str:
        """The colours from low to high as a CSS background."""
        stops = ", ".join(to_hex(_COLOURS(x)) for x in np.linspace(0, 1, 9))
        return f"linear-gradient(to right, {stops})"


def common_scale(grids: Iterable[Grid]) -> Scale:
    """From the lowest to the highest cell of all grids, rounded outwards to tens."""
    cells = np.concatenate([grid.cells.ravel() for grid in grids])
    low = _STEP * np.floor(np.nanmin(cells) / _STEP)
    high = _STEP * np.ceil(np.nanmax(cells) / _STEP)
    return Scale(float(low), float(max(high, low + _STEP)))


def heat_plot(name: str, ours: Mapping[str, Grid], paper: Mapping[str, Grid]) -> Plot:
    """The grids side by side as a figure, with all their numbers as CSV."""
    grids = [(n, grid, False) for n, grid in ours.items()]
    grids += [(n, grid, True) for n, grid in paper.items()]
    scale = common_scale(grid for _, grid, _ in grids)
    columns = min(2, len(grids))
    rows = -(-len(grids) // columns)
    figure, all_axes = new_figure(4.4 * columns, 3.7 * rows, rows, columns)
    for axes in all_axes[len(grids) :]:
        axes.set_visible(False)
    for axes, (method, grid, from_paper) in zip(all_axes, grids, strict=False):
        axes.imshow(grid.cells, _COLOURS, vmin=scale.low, vmax=scale.high, aspect="auto")
        for (row, column), value in np.ndenumerate(grid.cells):
            if np.isfinite(value):
                ink = scale.ink(value)
                axes.text(column, row, f"{value:.1f}", color=ink, ha="center", va="center")
        levels = query_levels(grid.rows)
        axes.set_xticks(range(len(levels)), map(str, levels))
        axes.set_yticks(range(len(grid.rows)), map(str, sorted(grid.rows)))
        axes.set(xlabel="Query blur level", ylabel="Database blur level")
        axes.set_title(
            f"{method}{PAPER_SUFFIX * from_paper}\nrange {grid.range:.2f}, std {grid.std:.2f}",
            color=TEXT,
        )
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    return Plot(name, "mAP by query and database blur level", figure, _csv(grids), wide=True)


def _csv(grids: list[tuple[str, Grid, bool]]) -> str:
    levels = sorted(set().union(*(query_levels(grid.rows) for _, grid, _ in grids)))
    rows = []
    for method, grid, from_paper in grids:
        for level, scores in sorted(grid.rows.items()):
            values = [scores.overall, *(scores.by_query_level.get(query) for query in levels)]
            numbers = ("" if value is None else f"{value:.4f}" for value in values)
            rows.append([method, source(from_paper), level, *numbers])
    return rows_csv(["method", "source", "database_blur_level", "all", *levels], rows)


def _luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" in 0..1, as WCAG defines it."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
