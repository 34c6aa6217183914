"""The parts of the report's page about the images: estimated blur and boxes, numbers, ablations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bridge.metrics import PerLevelResult
from bridge.report.curves import Line, curve_plot, method_position
from bridge.report.data import ReportData
from bridge.report.estimates import EstimateErrors
from bridge.report.paper import BLUR_LEVELS, paper_grids, paper_scores
from bridge.report.plots import Plot, blur_level_histogram, severity_histogram
from bridge.report.scores import Scores
from bridge.report.sections import Fold, Section
from bridge.report.tables import MISSING, Cell, Row, Table, beside, scores_table

Quantity = Callable[[EstimateErrors], float | None]

_QUANTITIES: Mapping[str, tuple[str, Quantity, float | None]] = {
    "blur_severity_error": ("Blur severity error", lambda e: e.blur_severity_error, None),
    "box_iou": ("Box IoU", lambda e: e.box_iou, 1.0),
}
"""Heading, value and the end of the vertical axis by the name of the plot's files."""


def estimates_section(data: ReportData) -> Section | None:
    """Errors of the blur and localisation heads by blur level; None without any estimates."""
    if all(method.estimates is None for method in data.methods):
        return None
    tables = [_estimates_table(data, heading, value) for heading, value, _ in _QUANTITIES.values()]
    plots = [_estimates_plot(data, name, *quantity) for name, quantity in _QUANTITIES.items()]
    return Section(
        title="Estimated blur and boxes",
        anchor="estimates",
        notes=(
            "Mean absolute error of the blur severity (0 is sharp, 1 the most blurred) and mean "
            "intersection over union of estimated and true box, by true blur level.",
        ),
        tables=(replace(beside(tables), name="table_estimates"),),
        plots=tuple(plot for plot in plots if plot is not None),
    )


def images_section(data: ReportData) -> Section | None:
    """How many images of each blur level were evaluated, and how blurred they are."""
    counts = _image_counts(data)
    plots = [
        blur_level_histogram(by_level, f"{name.lower()}_per_blur_level".replace(" ", "_"), name)
        for name, by_level in counts.items()
        if name in ("Queries", "Real queries")
    ]
    known = {
        role: np.asarray(values, np.float64)
        for role, values in data.blur_severities.items()
        if np.isfinite(values).any()
    }
    if known:
        plots.append(severity_histogram(known, "blur_severities"))
    if not plots:
        return None
    ours = {name: Scores(sum(by_level.values()), by_level) for name, by_level in counts.items()}
    kinds = ("Real", "Synthetic") if "Real queries" in counts else ("Synthetic",)
    paper = {name: row for name, row in paper_scores("1").items() if name.startswith(kinds)}
    table = scores_table("Images", ours, paper, "blur level", decimals=0)
    return Section(
        title="Images (paper: Table 1)",
        anchor="images",
        notes=(
            "Number of images of each blur level. The database is the one that is searched one "
            "blur level at a time.",
        ),
        tables=(replace(table, name="table_images"),) if counts else (),
        plots=tuple(plots),
    )


def ablations_section(data: ReportData) -> Section | None:
    """The paper's own ablations; None with one method, where they answer nothing."""
    if len(data.methods) < 2:
        return None
    folds = [
        _ablation("Table 5: losses, without distractors, mAP@all", "Losses", "5", "mixed"),
        _ablation(
            "Table 6: blur levels that contrastive learning may mix, with distractors, mAP@100",
            "Contrastive range", "6", "mixed_with_distractors",
        ),
        Fold(
            "Supplement, Table 2: losses by database blur level, with distractors, mAP@100",
            (_losses_table(),),
        ),
    ]  # fmt: skip
    return Section(
        title="Ablations in the paper",
        anchor="ablations",
        notes=(
            "The paper’s own numbers, for whoever compares variants. Losses: con contrastive, "
            "cls classification, be blur estimation, loc localisation.",
        ),
        folds=tuple(folds),
    )


def _estimates_table(data: ReportData, heading: str, value: Quantity) -> Table:
    estimates = [(m.name, m.estimates) for m in data.methods if m.estimates is not None]
    levels = sorted(set(BLUR_LEVELS).union(*(e.by_blur_level() for _, e in estimates)))
    rows, counts = [], {}
    for name, known in estimates:
        errors = [known.overall(), *(known.by_blur_level().get(level) for level in levels)]
        values = (None if e is None else value(e) for e in errors)
        rows.append(Row(name, tuple(_cell(v, "{:.3f}") for v in values)))
        images = (None if e is None else e.num_images for e in errors)
        counts[name] = tuple(_cell(number, "{:,}") for number in images)
    if len(set(counts.values())) == 1:
        counts = {"Images": next(iter(counts.values()))}
    else:
        counts = {f"{name}: images": cells for name, cells in counts.items()}
    rows += [Row(name, cells) for name, cells in counts.items()]
    return Table("Method", ((heading, ("All", *map(str, levels))),), tuple(rows))


def _cell(value: float | None, form: str) -> Cell:
    return Cell(MISSING if value is None else form.format(value))


def _estimates_plot(
    data: ReportData, name: str, heading: str, value: Quantity, top: float | None
) -> Plot | None:
    lines = []
    for method in data.methods:
        by_level = {} if method.estimates is None else method.estimates.by_blur_level()
        known = {level: v for level, e in by_level.items() if (v := value(e)) is not None}
        if known:
            lines.append(Line(method.name, known, method_position(data, method)))
    if not lines:
        return None
    return curve_plot(name, f"{heading} by blur level", lines, "Blur level", heading, top)


def _image_counts(data: ReportData) -> dict[str, dict[int, int]]:
    """Number of images by blur level, by the name of what they are."""
    results = {
        protocol: next(iter(data.results(protocol).values())) for protocol in data.protocol_names()
    }
    counts = {}
    real = results.get("real")
    for protocol, result in results.items():
        if protocol != "real":
            counts["Queries"] = result.num_queries_by_blur_level
            break
    alone, mixed = results.get("per_level"), results.get("per_level_with_distractors")
    if isinstance(alone, PerLevelResult):
        counts["Database"] = _database_counts(alone)
        if isinstance(mixed, PerLevelResult):
            counts["Distractors"] = {
                level: count - counts["Database"].get(level, 0)
                for level, count in _database_counts(mixed).items()
            }
    if real is not None:
        counts["Real queries"] = real.num_queries_by_blur_level
    return {name: by_level for name, by_level in counts.items() if by_level}


def _database_counts(result: PerLevelResult) -> dict[int, int]:
    return {level: alone.num_database for level, alone in result.by_database_blur_level.items()}


def _ablation(title: str, corner: str, table: str, protocol: str) -> Fold:
    rows = paper_scores(table, protocol)
    return Fold(title, (scores_table(corner, {}, rows, "query blur level"),))


def _losses_table() -> Table:
    """The column All of each losses' grid, and its spread; the grids are in the data beside."""
    rows: Sequence[Row] = [
        Row(
            losses,
            tuple(
                _cell(value, "{:.2f}")
                for value in (*(s.overall for s in grid.rows.values()), grid.range, grid.std)
            ),
            from_paper=True,
        )
        for losses, grid in paper_grids("S2").items()
    ]
    groups = (
        ("database blur level", tuple(map(str, BLUR_LEVELS))),
        ("all cells", ("range", "std")),
    )
    return Table("Losses", groups, tuple(rows))
