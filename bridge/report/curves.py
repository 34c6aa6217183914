"""Curves over blur level with confidence bands, a line per method, the paper's thin and dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes

from bridge.metrics.confidence import Confidence
from bridge.report.data import MethodResult, ReportData
from bridge.report.paper import OURS, TABLE_BY_PROTOCOL, paper_grids, paper_scores
from bridge.report.plots import COLOURS, MARKERS, TEXT, Plot, legend_above, new_figure
from bridge.report.scores import PAPER_DENOMINATOR, Scores, scores_of
from bridge.report.tables import rows_csv, source
from bridge.report.titles import metric_name, protocol_title

PAPERS_LINE = "Ours in the paper"
_PANEL_COLUMNS = 3


@dataclass(frozen=True)
class Line:
    """Values by blur level, and their confidence intervals (low, high) where they are known.

    `position` is the method's among all, so that it looks the same in every plot; None marks the
    paper's line.
    """

    label: str
    values: Mapping[int, float]
    position: int | None
    bands: Mapping[int, tuple[float, float]] = field(default_factory=dict)


def map_curves(data: ReportData, protocol: str) -> Plot:
    """mAP in percent over query blur level."""
    lines = [
        _map_line(data, method, scores_of(method.protocols[protocol]), method.confidences[protocol])
        for method in data.evaluated(protocol)
    ]
    if protocol in TABLE_BY_PROTOCOL:
        lines.append(papers_line(paper_scores(TABLE_BY_PROTOCOL[protocol], protocol)[OURS]))
    return curve_plot(protocol, _title(data, protocol), lines, "Query blur level", "mAP [%]", 100)


def database_level_curves(data: ReportData, protocol: str) -> Plot:
    """The same with a panel per database blur level (paper, supplement, Fig. 2 and 3)."""
    table = TABLE_BY_PROTOCOL.get(protocol)
    paper = paper_grids(table)[OURS].rows if table else {}
    methods = data.evaluated(protocol)
    levels = sorted(set().union(*(m.protocols[protocol].by_database_blur_level for m in methods)))
    panels = {}
    for level in levels:
        lines = [
            _map_line(
                data,
                method,
                scores_of(method.protocols[protocol].by_database_blur_level[level]),
                method.confidences_by_database_level[protocol][level],
            )
            for method in methods
            if level in method.protocols[protocol].by_database_blur_level
        ]
        if level in paper:
            lines.append(papers_line(paper[level]))
        panels[f"Database blur level {level}"] = lines
    title = _title(data, protocol)
    return panel_plot(f"{protocol}_curves", title, panels, "Query blur level", "mAP [%]", 100)


def curve_plot(
    name: str, title: str, lines: Sequence[Line], xlabel: str, ylabel: str, top: float | None
) -> Plot:
    """Lines over blur level; `top` is where the vertical axis ends, None where the data do."""
    figure, [axes] = new_figure(5.2, 3.4)
    _draw(axes, lines)
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, top))
    legend_above(axes, [line.label for line in lines])
    header = ["method", "source", "blur_level", ylabel, "low_95", "high_95"]
    return Plot(name, title, figure, rows_csv(header, _rows(lines)))


def panel_plot(
    name: str,
    title: str,
    panels: Mapping[str, Sequence[Line]],
    xlabel: str,
    ylabel: str,
    top: float,
) -> Plot:
    """Several of `curve_plot` on common axes, each with its title."""
    columns = min(_PANEL_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure, all_axes = new_figure(3 * columns + 0.6, 2.5 * rows + 0.6, rows, columns, shared=True)
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    for axes, (heading, lines) in zip(all_axes, panels.items(), strict=False):
        _draw(axes, lines)
        axes.set_title(heading)
        axes.set_ylim(0, top)
    figure.supxlabel(xlabel, color=TEXT, fontsize=11)
    figure.supylabel(ylabel, color=TEXT, fontsize=11)
    figure.legend(
        *all_axes[0].get_legend_handles_labels(),
        frameon=False, labelcolor=TEXT, fontsize=11, loc="outside upper left", ncols=4,
    )  # fmt: skip
    header = ["panel", "method", "source", "blur_level", ylabel, "low_95", "high_95"]
    numbers = [(heading, *row) for heading, lines in panels.items() for row in _rows(lines)]
    return Plot(name, title, figure, rows_csv(header, numbers), wide=True)


def papers_line(scores: Scores) -> Line:
    """What the paper prints of its own method."""
    return Line(PAPERS_LINE, scores.by_query_level, None)


def method_position(data: ReportData, method: MethodResult) -> int:
    """The method's place among all of the report."""
    return data.methods.index(method)


def _title(data: ReportData, protocol: str) -> str:
    metric = metric_name(data.evaluated(protocol)[0].protocols[protocol].k)
    return f"{protocol_title(protocol)}: {metric} with 95 % confidence"


def _map_line(
    data: ReportData, method: MethodResult, scores: Scores, confidence: Confidence
) -> Line:
    bands = {
        level: (100 * m[PAPER_DENOMINATOR][0], 100 * m[PAPER_DENOMINATOR][1])
        for level, m in confidence.map_by_query_blur_level.items()
    }
    return Line(method.name, scores.by_query_level, method_position(data, method), bands)


def _draw(axes: Axes, lines: Sequence[Line]) -> None:
    for line in lines:
        levels = sorted(line.values)
        values = [line.values[level] for level in levels]
        if line.position is None:
            axes.plot(levels, values, "--", color=TEXT, linewidth=1, alpha=0.7, label=line.label)
            continue
        colour = COLOURS[line.position % len(COLOURS)]
        marker = MARKERS[line.position % len(MARKERS)]
        axes.plot(levels, values, color=colour, marker=marker, linewidth=2, label=line.label)
        if banded := [level for level in levels if level in line.bands]:
            low, high = zip(*(line.bands[level] for level in banded), strict=True)
            axes.fill_between(banded, low, high, color=colour, alpha=0.2, linewidth=0)


def _rows(lines: Sequence[Line]) -> list[tuple[object, ...]]:
    return [
        (
            line.label,
            source(line.position is None),
            level,
            f"{value:.4f}",
            *(f"{bound:.4f}" for bound in line.bands.get(level, ())),
        )
        for line in lines
        for level, value in sorted(line.values.items())
    ]
