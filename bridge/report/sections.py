"""The parts of the report's page that show how well images were retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bridge.metrics import PerLevelResult
from bridge.report.curves import database_level_curves, map_curves
from bridge.report.data import ReportData, Result
from bridge.report.heat import Scale, common_scale, heat_plot
from bridge.report.paper import OURS, TABLE_BY_PROTOCOL, paper_grids, paper_scores
from bridge.report.plots import Plot
from bridge.report.scores import grid_of
from bridge.report.tables import Table, beside, grid_table, map_table
from bridge.report.titles import metric_name, protocol_title

DENOMINATOR_TITLES = {
    "retrieved": "divided by the positives found in the top k (as in the paper)",
    "capped": "divided by min(k, positives)",
    "all": "divided by all positives",
}
_OTHER_DENOMINATORS = "The same with other denominators"
_MIXED = ("mixed", "mixed_with_distractors")


@dataclass(frozen=True)
class Fold:
    """Tables that are shown on demand."""

    title: str
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page. Tables with a `scale` are heat maps and stand side by side.

    `file_plots` are written as files and not shown: a table on the page shows the same.
    """

    title: str
    anchor: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    folds: tuple[Fold, ...] = ()
    scale: Scale | None = None
    file_plots: tuple[Plot, ...] = ()


def retrieval_sections(data: ReportData) -> list[Section]:
    """The protocols, with and without distractors side by side as in the paper's Table 2."""
    names = data.protocol_names()
    together = [name for name in _MIXED if name in names]
    sections = [_all_levels_section(data, together)] if together else []
    for name in names:
        if name in together:
            continue
        if any(isinstance(result, PerLevelResult) for result in data.results(name).values()):
            sections.append(_per_level_section(data, name))
        else:
            sections.append(_all_levels_section(data, [name]))
    return sections


def _all_levels_section(data: ReportData, protocols: Sequence[str]) -> Section:
    tables = []
    for protocol in protocols:
        table = TABLE_BY_PROTOCOL.get(protocol)
        results = data.results(protocol)
        heading = f"{protocol_title(protocol)}, {_metric(results)} by query blur level"
        tables.append(
            map_table(
                results,
                paper=paper_scores(table, protocol) if table else None,
                heading=heading,
            )
        )
    mixed = "mixed" in protocols or len(protocols) > 1
    title = "Database of all blur levels" if mixed else protocol_title(protocols[0])
    name = "all_blur_levels" if mixed else protocols[0]
    return Section(
        title=_with_table(title, protocols[0]),
        anchor=protocols[0],
        notes=tuple(
            f"{protocol_title(protocol)}: " * (len(protocols) > 1) + _note(data.results(protocol))
            for protocol in protocols
        ),
        tables=(replace(beside(tables), name=f"table_{name}"),),
        plots=tuple(
            map_curves(data, protocol)
            for protocol in protocols
            if any(result.num_queries_by_blur_level for result in data.results(protocol).values())
        ),
        folds=tuple(
            fold for protocol in protocols for fold in _denominators(data.results(protocol))
        ),
    )


def _per_level_section(data: ReportData, protocol: str) -> Section:
    results = data.results(protocol)
    ours = {name: grid_of(_per_level(result)) for name, result in results.items()}
    table = TABLE_BY_PROTOCOL.get(protocol)
    papers = paper_grids(table) if table else {}
    shown = {OURS: papers.pop(OURS)} if papers else {}
    tables = [grid_table(name, grid) for name, grid in ours.items()]
    tables += [grid_table(name, grid, from_paper=True) for name, grid in shown.items()]
    measured = [
        grid_of(_per_level(result), name)
        for name in DENOMINATOR_TITLES
        for result in results.values()
    ]
    rest = tuple(grid_table(name, grid, from_paper=True) for name, grid in papers.items())
    return Section(
        title=_with_table(protocol_title(protocol), protocol),
        anchor=protocol,
        notes=(
            _note(results),
            "Rows: the one blur level that the database consists of. Columns: the queries’. "
            "Range and standard deviation are over all cells without the column All; lower is "
            "more robust to motion blur.",
        ),
        tables=tuple(tables),
        plots=(database_level_curves(data, protocol),),
        folds=(
            *([Fold("The paper’s other methods", rest)] if rest else []),
            *_grid_denominators(results),
        ),
        scale=common_scale([*measured, *shown.values(), *papers.values()]),
        file_plots=(heat_plot(protocol, ours, shown),),
    )


def _per_level(result: Result) -> PerLevelResult:
    assert isinstance(result, PerLevelResult)  # ReportData lets no protocol mix the kinds
    return result


def _denominators(results: dict[str, Result]) -> list[Fold]:
    """Without a cut-off the denominators agree, so one table says it all."""
    if _cut_off(results) is None:
        return []
    tables = [
        replace(map_table(results, name), caption=f"{_metric(results)}, {title}")
        for name, title in DENOMINATOR_TITLES.items()
        if name != "retrieved"
    ]
    return [Fold(_OTHER_DENOMINATORS, tuple(tables))]


def _grid_denominators(results: dict[str, Result]) -> list[Fold]:
    if _cut_off(results) is None:
        return []
    tables = [
        grid_table(f"{method}, {title}", grid_of(_per_level(result), name))
        for name, title in DENOMINATOR_TITLES.items()
        if name != "retrieved"
        for method, result in results.items()
    ]
    return [Fold(_OTHER_DENOMINATORS, tuple(tables))]


def _with_table(title: str, protocol: str) -> str:
    table = TABLE_BY_PROTOCOL.get(protocol)
    if table is None:
        return title
    supplement = "supplement, " if table.startswith("S") else ""
    return f"{title} (paper: {supplement}Table {table.removeprefix('S')})"


def _note(results: dict[str, Result]) -> str:
    result = next(iter(results.values()))
    lonely = result.num_queries_without_positives
    per_level = isinstance(result, PerLevelResult)
    return " ".join(
        (
            f"{_metric(results)} in percent over "
            f"{result.num_queries:,} queries and {result.num_database:,} database images.",
            "Average precision over the whole ranking: all denominators agree."
            if result.k is None
            else f"Average precision over the top {result.k}, {DENOMINATOR_TITLES['retrieved']}.",
            *(
                [
                    f"{lonely:,} {'times a query has' if per_level else 'queries have'} no positive"
                    f" in the database{' of a level' * per_level}; they count and score 0."
                ]
                if lonely
                else []
            ),
        )
    )


def _cut_off(results: dict[str, Result]) -> int | None:
    return next(iter(results.values())).k


def _metric(results: dict[str, Result]) -> str:
    return metric_name(_cut_off(results))
