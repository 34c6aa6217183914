"""The parts of a study's page: the paper's tables over seeds, differences, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bridge.metrics.repeats import Difference, Interval, Repeats
from bridge.report.curves import Line, curve_plot, papers_line
from bridge.report.heat import common_scale, heat_plot
from bridge.report.paper import OURS, TABLE_BY_PROTOCOL, paper_grids, paper_scores
from bridge.report.plots import COLOURS, Plot
from bridge.report.scores import Scores
from bridge.report.sections import Fold, Section
from bridge.report.study_data import StudyData, mean_cost, mean_grid, mean_scores
from bridge.report.tables import (
    MISSING,
    Cell,
    Row,
    Table,
    beside,
    compared_table,
    grid_table,
)
from bridge.report.titles import metric_name, protocol_title

MAIN = "2"
"""The table that compares methods; Table 4 has its rows."""
_MIXED = ("mixed", "mixed_with_distractors")
_PER_LEVEL = ("per_level_with_distractors", "per_level")
_ABLATIONS = {"5": ("Losses", ("mixed",)), "6": ("Contrastive range", _MIXED[::-1])}
"""Of tables 5 and 6: what their rows are, and the protocols, the paper's first."""


def study_sections(data: StudyData) -> list[Section]:
    """All parts, in their order."""
    found = [
        _methods_section(data),
        _spread_section(data),
        _differences_section(data),
        *(_grids_section(data, protocol) for protocol in _PER_LEVEL),
        *(_ablation_section(data, table) for table in _ABLATIONS),
        _costs_section(data),
    ]
    return [section for section in found if section is not None]


def methods_table(data: StudyData) -> Table | None:
    """Table 2, means over seeds; None where none of its rows was measured."""
    tables = []
    for protocol in _MIXED:
        if rows := data.in_table(MAIN, protocol):
            paper = paper_scores(MAIN, protocol)
            heading = f"{protocol_title(protocol)}, {_metric(rows)} by query blur level"
            tables.append(compared_table("Method", _means(rows), paper, heading))
    return replace(beside(tables), name="table_2") if tables else None


def _methods_section(data: StudyData) -> Section | None:
    table = methods_table(data)
    if table is None:
        return None
    return Section(
        title="Methods (paper: Table 2)",
        anchor="table-2",
        notes=("Means over the seeds; the highest of those measured here in bold.",),
        tables=(table,),
        plots=tuple(_curves(data, p) for p in _MIXED if data.in_table(MAIN, p)),
    )


def _curves(data: StudyData, protocol: str) -> Plot:
    """Of the highest rows of Table 2, as many as can be told apart."""
    rows = data.in_table(MAIN, protocol)
    best = sorted(rows, key=lambda name: -rows[name].map)[: len(COLOURS)]
    lines = [
        Line(
            name,
            mean_scores(rows[name]).by_query_level,
            position,
            {level: _percent(bounds) for level, bounds in rows[name].intervals()[1].items()},
        )
        for position, name in enumerate(best)
    ]
    lines.append(papers_line(paper_scores(MAIN, protocol)[OURS]))
    title = f"{protocol_title(protocol)}: {_metric(rows)}, 95 % over objects"
    return curve_plot(protocol, title, lines, "Query blur level", "mAP [%]", 100)


def _spread_section(data: StudyData) -> Section:
    columns = ("seeds", "mean", "std", "lowest", "highest", "95 % over objects")
    tables = []
    for protocol in data.protocol_names():
        rows = tuple(
            Row(one.name, _spread_cells(one.protocols[protocol]))
            for one in data.studied
            if protocol in one.protocols
        )
        tables.append(
            Table(
                "Configuration",
                ((protocol_title(protocol), columns),),
                rows,
                name=f"spread_{protocol}",
            )
        )
    return Section(
        title="Spread over seeds",
        anchor="spread",
        notes=(
            "mAP of all queries. Standard deviation, lowest and highest are of trainings with "
            "different seeds. The interval is of the mean over seeds, from 1,000 bootstrap draws "
            "of query objects: what other objects of the same kind would have given.",
        ),
        tables=tuple(tables),
    )


def _spread_cells(repeats: Repeats) -> tuple[Cell, ...]:
    by_seed = 100 * repeats.by_seed
    return (
        Cell(f"{repeats.num_seeds}"),
        Cell(f"{100 * repeats.map:.2f}"),
        Cell(MISSING if repeats.std is None else f"{100 * repeats.std:.2f}"),
        Cell(f"{by_seed.min():.2f}"),
        Cell(f"{by_seed.max():.2f}"),
        _interval_cell(repeats.intervals()[0], "{:.2f}"),
    )


def _differences_section(data: StudyData) -> Section | None:
    tables = [
        _differences_table(data, protocol, differences)
        for protocol, differences in data.differences.items()
        if differences
    ]
    if not tables:
        return None
    return Section(
        title=f"Differences from {data.reference}",
        anchor="differences",
        notes=(
            f"mAP minus that of {data.reference} on the same queries, means over seeds, and its "
            "95 % interval from bootstrap draws of query objects, the same draws for both. A "
            "difference counts where the interval leaves out 0 and every training of the one is "
            "on the same side of every training of the other; of methods trained once nothing is "
            "known about seeds, and it does not count.",
        ),
        tables=tuple(tables),
    )


def _differences_table(
    data: StudyData, protocol: str, differences: Mapping[str, Difference]
) -> Table:
    levels = sorted(set().union(*(d.by_query_blur_level for d in differences.values())))
    return Table(
        "Configuration",
        (
            (protocol_title(protocol), ("All", "95 %", "counts")),
            ("query blur level", tuple(map(str, levels))),
        ),
        tuple(Row(name, _difference_cells(found, levels)) for name, found in differences.items()),
        name=f"differences_{protocol}",
    )


def _difference_cells(found: Difference, levels: Sequence[int]) -> tuple[Cell, ...]:
    by_level = found.by_query_blur_level
    return (
        Cell(f"{100 * found.map:+.2f}"),
        _interval_cell(found.interval, "{:+.2f}"),
        Cell("yes" if found.counts else "no" if found.seeds_apart is not None else "one seed"),
        *(
            Cell(f"{100 * by_level[level][0]:+.2f}" if level in by_level else MISSING)
            for level in levels
        ),
    )


def _grids_section(data: StudyData, protocol: str) -> Section | None:
    rows = data.in_table(MAIN, protocol)
    if not rows:
        return None
    number = TABLE_BY_PROTOCOL[protocol]
    ours = {name: mean_grid(repeats) for name, repeats in rows.items()}
    papers = paper_grids(number)
    shown = {OURS: papers.pop(OURS)}
    tables = [grid_table(name, grid) for name, grid in ours.items()]
    tables += [grid_table(name, grid, from_paper=True) for name, grid in shown.items()]
    others = tuple(grid_table(name, grid, from_paper=True) for name, grid in papers.items())
    supplement = "supplement, " * number.startswith("S")
    return Section(
        title=f"{protocol_title(protocol)} (paper: {supplement}Table {number.removeprefix('S')})",
        anchor=protocol,
        notes=(
            f"{_metric(rows)} in percent, means over the seeds. Rows: the one blur level that the "
            "database consists of. Columns: the queries’. Range and standard deviation are over "
            "all cells of the means without the column All; lower is more robust to motion blur.",
        ),
        tables=tuple(tables),
        folds=(Fold("The paper’s other methods", others),),
        scale=common_scale([*ours.values(), *shown.values(), *papers.values()]),
        file_plots=(heat_plot(protocol, ours, shown),),
    )


def _ablation_section(data: StudyData, table: str) -> Section | None:
    corner, protocols = _ABLATIONS[table]
    protocol = next((p for p in protocols if data.in_table(table, p)), None)
    if protocol is None:
        return None
    rows, paper = data.in_table(table, protocol), paper_scores(table, protocols[0])
    # In the paper's order, what it does not have at the end.
    order = [*filter(rows.__contains__, paper), *(name for name in rows if name not in paper)]
    heading = f"{protocol_title(protocol)}, {_metric(rows)} by query blur level"
    shown = compared_table(corner, _means({name: rows[name] for name in order}), paper, heading)
    notes = ["Means over the seeds; the highest of those measured here in bold."]
    if protocol != protocols[0]:
        notes.append("Measured without distractors; the paper’s rows are with them.")
    return Section(
        title=f"{corner} (paper: Table {table})",
        anchor=f"table-{table}",
        notes=tuple(notes),
        tables=(replace(shown, name=f"table_{table}"),),
    )


def _costs_section(data: StudyData) -> Section:
    columns = ("runs", "image passes", "parameters", "core-hours", "GPU-hours")
    rows = []
    for one in data.studied:
        cost = mean_cost(one.costs)
        texts = (
            f"{len(one.costs)}",
            f"{cost.passes:,}",
            f"{cost.parameters:,}",
            f"{cost.core_hours:.2f}",
            f"{cost.gpu_hours:.2f}",
        )
        rows.append(Row(one.name, tuple(map(Cell, texts))))
    core = sum(cost.core_hours for one in data.studied for cost in one.costs)
    gpu = sum(cost.gpu_hours for one in data.studied for cost in one.costs)
    return Section(
        title="Cost",
        anchor="cost",
        notes=(
            "Of one training, means over the seeds: images seen with repetition, parameters "
            "without the classifier, and the time of training with validation on the cores and "
            f"GPUs that it had. All together: {core:.1f} core-hours, {gpu:.1f} GPU-hours.",
        ),
        tables=(Table("Configuration", (("one run", columns),), tuple(rows), name="costs"),),
    )


def _means(rows: Mapping[str, Repeats]) -> dict[str, Scores]:
    return {name: mean_scores(repeats) for name, repeats in rows.items()}


def _metric(rows: Mapping[str, Repeats]) -> str:
    return metric_name(next(iter(rows.values())).k)


def _percent(interval: Interval) -> Interval:
    low, high = (100 * bound for bound in interval)
    return low, high


def _interval_cell(interval: Interval, form: str) -> Cell:
    return Cell(" to ".join(form.format(bound) for bound in np.multiply(100, interval)))
