"""How the report's figures are drawn and written: inline SVG, and SVG, PNG and CSV files.

Inline they take the page's text colour (`currentColor`), so that they read on light and dark
ground; the files have a white ground.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter

from bridge.blur import NUM_LEVELS
from bridge.report.tables import rows_csv

# Mid-tones that differ for the common forms of colour blindness; markers repeat the distinction.
COLOURS = ("#2f80d0", "#d97700", "#1f9d74", "#c4569c", "#8f8200", "#7a6fd0")
MARKERS = "os^Dv*"
TEXT = "#010203"  # matplotlib knows no currentColor, so this stands for it until the SVG is made

_BINS_PER_LEVEL = 4
_PNG_DPI = 200
_LEGEND_CHARACTERS, _LEGEND_HANDLE = 60, 5


@dataclass(frozen=True)
class Plot:
    """A drawn figure, the numbers in it as CSV, and the name of its files.

    `title` stands over it. A `wide` one needs more width than a phone has.
    """

    name: str
    title: str
    figure: Figure
    csv: str
    wide: bool = False

    @property
    def inline(self) -> Markup:
        """The <svg> element for a page: scalable, described, in the colours of the page."""
        return Markup(_for_inlining(self._svg(ground=False), self.title))

    def files(self) -> dict[str, bytes]:
        """Content by file name: SVG, PNG and CSV."""
        buffer = io.BytesIO()
        self._ground(True)
        FigureCanvasAgg(self.figure)
        self.figure.savefig(buffer, format="png", dpi=_PNG_DPI)
        return {
            f"{self.name}.svg": self._svg(ground=True).encode(),
            f"{self.name}.png": buffer.getvalue(),
            f"{self.name}.csv": self.csv.encode(),
        }

    def _svg(self, ground: bool) -> str:
        self._ground(ground)
        buffer = io.StringIO()
        # Text stays text (small, selectable); a fixed salt gives equal plots equal bytes.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            FigureCanvasSVG(self.figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
        return buffer.getvalue()

    def _ground(self, visible: bool) -> None:
        self.figure.patch.set_visible(visible)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, shared: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of that size in inches and its axes, row by row; `shared` ones have one scale."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)
    for axes in grid.flat:
        style(axes)
    return figure, list(grid.flat)


def style(axes: Axes) -> None:
    """The report's style: no ground, no box, thin horizontal lines, everything in `TEXT`."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(TEXT)
    axes.tick_params(colors=TEXT, labelsize=11)
    axes.xaxis.label.set(color=TEXT, fontsize=11)
    axes.yaxis.label.set(color=TEXT, fontsize=11)
    axes.title.set(color=TEXT, fontsize=11)
    axes.grid(axis="y", color=TEXT, alpha=0.15)
    axes.set_axisbelow(True)


def blur_level_histogram(counts: Mapping[int, int], name: str, label: str) -> Plot:
    """Number of images of each blur level."""
    figure, [axes] = new_figure(5.2, 3.2)
    levels = sorted(counts)
    bars = axes.bar(levels, [counts[level] for level in levels], color=COLOURS[0], width=0.7)
    axes.bar_label(bars, fmt="{:,.0f}", color=TEXT, fontsize=10, padding=2)
    axes.margins(y=0.1)
    axes.set(xlabel="Blur level", ylabel=label)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    table = rows_csv(["blur_level", "images"], [(level, counts[level]) for level in levels])
    return Plot(name, f"{label} per blur level", figure, table)


def severity_histogram(severities: Mapping[str, np.ndarray], name: str) -> Plot:
    """Share of the images of each role over blur severity in 0..1; NaN is left out."""
    figure, [axes] = new_figure(5.2, 3.2)
    known = {role: values[np.isfinite(values)] for role, values in severities.items()}
    edges = np.linspace(0, 1, NUM_LEVELS * _BINS_PER_LEVEL + 1)
    counts = {role: np.histogram(values, edges)[0] for role, values in known.items()}
    labels = [f"{role} ({count.sum():,})" for role, count in counts.items()]
    for position, count in enumerate(counts.values()):
        colour = COLOURS[position % len(COLOURS)]
        share = count / max(count.sum(), 1)
        axes.stairs(share, edges, color=colour, linewidth=2, label=labels[position])
    last = max((edges[1:][count > 0].max(initial=0.1) for count in counts.values()), default=1)
    axes.set(xlabel="Blur severity", ylabel="Share of images", xlim=(0, last), ylim=(0, None))
    axes.xaxis.set_major_locator(MultipleLocator(1 / NUM_LEVELS))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    legend_above(axes, labels)
    rows = [
        (role, f"{low:.3f}", f"{high:.3f}", n)
        for role, count in counts.items()
        for low, high, n in zip(edges[:-1], edges[1:], count.tolist(), strict=True)
    ]
    table = rows_csv(["role", "blur_severity_from", "blur_severity_to", "images"], rows)
    return Plot(name, "Blur severity", figure, table)


def legend_above(axes: Axes, labels: Sequence[str]) -> None:
    """The legend over the plot, where it hides nothing, in as many columns as have room."""
    room = _LEGEND_CHARACTERS // (max(map(len, labels)) + _LEGEND_HANDLE)
    columns = min(max(room, 1), 3)
    axes.legend(
        frameon=False, labelcolor=TEXT, fontsize=10, loc="lower left",
        bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=columns,
    )  # fmt: skip


def _for_inlining(document: str, description: str) -> str:
    """Only the <svg> element, without ids that a second plot would repeat."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]+">', "<g>", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace(TEXT, "currentColor")
    label = html.escape(description, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
