"""The top of the report's page: the figure of each protocol, the paper's, and how they compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bridge.metrics import PerLevelResult, RetrievalResult
from bridge.report.data import MethodResult, ReportData
from bridge.report.paper import (
    NUM_REAL_OBJECTS,
    NUM_SYNTHETIC_OBJECTS,
    OURS,
    TABLE_BY_PROTOCOL,
    paper_grids,
    paper_scores,
)
from bridge.report.scores import PAPER_DENOMINATOR, grid_of
from bridge.report.titles import metric_name, protocol_title


@dataclass(frozen=True)
class CardLine:
    """The figure of one method in percent, its confidence interval, range and deviation as text."""

    name: str
    score: str
    interval: str
    spread: str
    from_paper: bool = False


@dataclass(frozen=True)
class Card:
    """The figures of one protocol, the reported method's first."""

    title: str
    metric: str
    lines: tuple[CardLine, ...]


def cards(data: ReportData) -> list[Card]:
    """A card per protocol."""
    return [_card(data, protocol) for protocol in data.protocol_names()]


def paper_note(data: ReportData) -> str:
    """What the paper's numbers are of and when they compare; "" where none are shown."""
    if not any(protocol in TABLE_BY_PROTOCOL for protocol in data.protocol_names()):
        return ""
    images = paper_scores("1")
    synthetic = round(images["Synthetic queries"].overall)
    real = round(images["Real queries"].overall)
    return (
        "Numbers marked “paper” are those it prints, measured on its own images: "
        f"{synthetic:,} queries of {NUM_SYNTHETIC_OBJECTS} objects (real: {real:,} of "
        f"{NUM_REAL_OBJECTS}). They compare with the figures here only where the same images were "
        f"evaluated. Evaluated here: {_evaluated(data)}."
    )


def _evaluated(data: ReportData) -> str:
    """The queries of each kind, with their number of objects."""
    kinds: dict[str, str] = {}
    for protocol in data.protocol_names():
        result = next(iter(data.results(protocol).values()))
        if isinstance(result, PerLevelResult):
            result = next(iter(result.by_database_blur_level.values()))
        kind = "real" if protocol == "real" else "synthetic"
        kinds.setdefault(kind, _queries(result))
    if list(kinds) == ["synthetic"]:
        return kinds["synthetic"]
    return ", ".join(f"{kind}: {text}" for kind, text in kinds.items())


def _queries(result: RetrievalResult) -> str:
    return f"{result.num_queries:,} queries of {len(np.unique(result.query_labels)):,} objects"


def _card(data: ReportData, protocol: str) -> Card:
    methods = data.evaluated(protocol)
    first = methods[0].protocols[protocol]
    metric = metric_name(first.k)
    if isinstance(first, PerLevelResult):
        metric += ", mean of the levels"
    lines = [_line(method, protocol) for method in methods]
    if protocol in TABLE_BY_PROTOCOL:
        lines.append(_papers_line(protocol))
    return Card(protocol_title(protocol), metric, tuple(lines))


def _line(method: MethodResult, protocol: str) -> CardLine:
    result = method.protocols[protocol]
    low, high = method.confidences[protocol].map[PAPER_DENOMINATOR]
    spread = ""
    if isinstance(result, PerLevelResult):
        grid = grid_of(result)
        spread = _spread(grid.range, grid.std)
    score = f"{100 * result.map[PAPER_DENOMINATOR]:.2f}"
    return CardLine(method.name, score, f"{100 * low:.1f}–{100 * high:.1f}", spread)


def _papers_line(protocol: str) -> CardLine:
    table = TABLE_BY_PROTOCOL[protocol]
    if protocol.startswith("per_level"):
        grid = paper_grids(table)[OURS]
        spread = _spread(grid.range, grid.std)
        return CardLine(OURS, f"{grid.overall:.2f}", "", spread, from_paper=True)
    score = paper_scores(table, protocol)[OURS].overall
    return CardLine(OURS, f"{score:.2f}", "", "", from_paper=True)


def _spread(width: float, deviation: float) -> str:
    return f"range {width:.2f}, std {deviation:.2f}"
