"""Plots for the report as inline SVG: mAP over query blur level, and how many images per level.

They take the page's text colour (`currentColor`), so that they read on light and dark ground.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bridge.metrics import RetrievalResult

# Mid-tones that differ for the common forms of colour blindness; markers repeat the distinction.
_COLOURS = ("#2f80d0", "#d97700", "#1f9d74", "#c4569c", "#8f8200", "#7a6fd0")
_MARKERS = "os^Dv*"
_TEXT = "#010203"  # matplotlib knows no currentColor, so this stands for it until the SVG is made


def map_plot(results: Mapping[str, RetrievalResult], denominator: str = "retrieved") -> str:
    """mAP in percent over query blur level, a line per method; an SVG element."""
    axes = _axes()
    for position, (name, result) in enumerate(results.items()):
        levels = sorted(result.map_by_query_blur_level)
        axes.plot(
            levels,
            [100 * result.map_by_query_blur_level[level][denominator] for level in levels],
            color=_COLOURS[position % len(_COLOURS)],
            marker=_MARKERS[position % len(_MARKERS)],
            linewidth=2,
            label=name,
            clip_on=False,
        )
    axes.set(xlabel="Query blur level", ylabel="mAP [%]", ylim=(0, 100))
    if len(results) > 1:
        axes.legend(
            frameon=False, labelcolor=_TEXT, loc="lower left", bbox_to_anchor=(0, 1), ncols=3
        )
    return _svg(axes, f"mAP over query blur level for {', '.join(results)}")


def blur_level_histogram(counts: Mapping[int, int], name: str = "Queries") -> str:
    """Number of images of each blur level; an SVG element."""
    axes = _axes()
    levels = sorted(counts)
    bars = axes.bar(levels, [counts[level] for level in levels], color=_COLOURS[0], width=0.7)
    axes.bar_label(bars, fmt="{:,.0f}", color=_TEXT, fontsize=10, padding=2)
    axes.margins(y=0.1)
    axes.set(xlabel="Blur level", ylabel=name)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return _svg(axes, f"{name} per blur level")


def _axes() -> Axes:
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_TEXT)
    axes.tick_params(colors=_TEXT, labelsize=11)
    axes.xaxis.label.set(color=_TEXT, fontsize=11)
    axes.yaxis.label.set(color=_TEXT, fontsize=11)
    axes.grid(axis="y", color=_TEXT, alpha=0.15)
    axes.set_axisbelow(True)
    return axes


def _svg(axes: Axes, description: str) -> str:
    figure = axes.figure
    assert isinstance(figure, Figure)
    buffer = io.StringIO()
    # Text stays text (small, selectable); a fixed salt gives equal plots equal bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": description}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return _for_inlining(buffer.getvalue(), description)


def _for_inlining(document: str, description: str) -> str:
    """Only the <svg> element, scalable, described, without ids that a second plot would repeat."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]+">', "<g>", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    svg = svg.replace(_TEXT, "currentColor")
    label = html.escape(description, quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
