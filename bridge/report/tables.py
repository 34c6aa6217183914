"""Tables in the paper's forms: by query blur level (Tables 2, 3) and database level too (Table 4).

Its own rows can stand beside those of an evaluation here; they carry `from_paper`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bridge.report.data import Result
from bridge.report.paper import BLUR_LEVELS
from bridge.report.scores import PAPER_DENOMINATOR, Grid, Scores, query_levels, scores_of

MISSING = "-"
PAPER_SUFFIX = " (paper)"


@dataclass(frozen=True)
class Cell:
    """A number as it is printed: `best` ones in bold, `value` ones on the colour of a heat map."""

    text: str
    best: bool = False
    value: float | None = None


@dataclass(frozen=True)
class Row:
    """A row's name, its cells, and whether the paper printed them."""

    name: str
    cells: tuple[Cell, ...]
    from_paper: bool = False


@dataclass(frozen=True)
class Table:
    """Rows whose names stand under `corner`; `groups` are (heading, columns), "" for no heading.

    `name` is that of its CSV file; a table without one is in another file.
    """

    corner: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[Row, ...]
    caption: str = ""
    name: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of all groups."""
        return tuple(column for _, columns in self.groups for column in columns)

    @property
    def first_columns(self) -> tuple[int, ...]:
        """Where each group begins among the columns."""
        widths = [len(columns) for _, columns in self.groups]
        return tuple(sum(widths[:place]) for place in range(len(widths)))

    @property
    def from_paper(self) -> bool:
        """Whether all of it is the paper's."""
        return all(row.from_paper for row in self.rows)


def map_table(
    results: Mapping[str, Result],
    denominator: str = PAPER_DENOMINATOR,
    paper: Mapping[str, Scores] | None = None,
    heading: str = "query blur level",
) -> Table:
    """mAP in percent: a row per method, columns All and the query blur levels, best in bold.

    The paper's rows come first. Levels without queries read "-". The best is of the methods
    evaluated here; with one of them there is none.
    """
    ours = {name: scores_of(result, denominator) for name, result in results.items()}
    return compared_table("Method", ours, paper or {}, heading)


def compared_table(
    corner: str, ours: Mapping[str, Scores], paper: Mapping[str, Scores], heading: str
) -> Table:
    """`scores_table` with the best of the rows measured here in bold."""
    table = scores_table(corner, ours, paper, heading)
    papers = [row for row in table.rows if row.from_paper]
    return replace(table, rows=(*papers, *_mark_best(table.rows[len(papers) :])))


def scores_table(
    corner: str,
    ours: Mapping[str, Scores],
    paper: Mapping[str, Scores],
    heading: str,
    decimals: int = 2,
) -> Table:
    """Numbers over all and by blur level, the paper's rows first; "-" where there are none."""
    levels = sorted(
        set(BLUR_LEVELS).union(*(s.by_query_level for s in (*ours.values(), *paper.values())))
    )
    rows = [*_rows(paper, levels, True, decimals), *_rows(ours, levels, False, decimals)]
    return Table(corner, ((heading, ("All", *map(str, levels))),), tuple(rows))


def beside(tables: Sequence[Table]) -> Table:
    """Tables as column groups of one, row by row; "-" where one lacks a row of another."""
    by_key = [{(row.from_paper, row.name): row for row in table.rows} for table in tables]
    keys = dict.fromkeys(key for rows in by_key for key in rows)
    return replace(
        tables[0],
        groups=tuple(group for table in tables for group in table.groups),
        rows=tuple(
            Row(name, _joined(tables, [rows.get((paper, name)) for rows in by_key]), paper)
            for paper, name in sorted(keys, key=lambda key: not key[0])
        ),
    )


def grid_table(name: str, grid: Grid, from_paper: bool = False) -> Table:
    """A 6x6 table: rows database blur level, columns All and query blur level, with its spread."""
    levels = query_levels(grid.rows)
    rows = []
    for level, scores in sorted(grid.rows.items()):
        [row] = _rows({str(level): scores}, levels, from_paper)
        values = [None, *(scores.by_query_level.get(query) for query in levels)]
        cells = (replace(cell, value=v) for cell, v in zip(row.cells, values, strict=True))
        rows.append(replace(row, cells=tuple(cells)))
    return Table(
        corner="DB \\ Q",
        groups=(("query blur level", ("All", *map(str, levels))),),
        rows=tuple(rows),
        caption=f"{name} (range: {grid.range:.2f}; std: {grid.std:.2f})",
    )


def table_csv(table: Table) -> str:
    """The table as CSV: the row's name, whose it is (`evaluated` or `paper`), and the cells.

    Columns are called `<heading>: <column>` where groups would otherwise repeat them.
    """
    several = len(table.groups) > 1
    columns = [
        f"{heading}: {column}" if several else column
        for heading, columns in table.groups
        for column in columns
    ]
    return rows_csv(
        [table.corner, "source", *columns],
        [
            [
                row.name,
                source(row.from_paper),
                *("" if c.text == MISSING else c.text for c in row.cells),
            ]
            for row in table.rows
        ],
    )


def source(from_paper: bool) -> str:
    """What CSV files call the origin of a number."""
    return "paper" if from_paper else "evaluated"


def rows_csv(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """CSV text with a header; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def text_table(table: Table) -> str:
    """The table for a terminal, best numbers marked with an asterisk; ends without a newline."""
    cells = [
        (
            row.name + PAPER_SUFFIX * row.from_paper,
            *(f"{c.text}{'*' if c.best else ' '}" for c in row.cells),
        )
        for row in table.rows
    ]
    header = (table.corner, *(f"{column} " for column in table.columns))
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [_text_line(row, widths) for row in (header, *cells)]
    return "\n".join([lines[0], "-" * len(lines[0].rstrip()), *lines[1:]])


def _text_line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return " ".join([row[0].ljust(widths[0]), *numbers]).rstrip()


def _rows(
    scores: Mapping[str, Scores], levels: Sequence[int], from_paper: bool, decimals: int = 2
) -> list[Row]:
    return [
        Row(
            name,
            tuple(
                Cell(MISSING if value is None else f"{value:,.{decimals}f}")
                for value in (s.overall, *(s.by_query_level.get(level) for level in levels))
            ),
            from_paper,
        )
        for name, s in scores.items()
    ]


def _mark_best(rows: Sequence[Row]) -> list[Row]:
    """The highest number of each column, as printed, unless there is one row only."""
    if len(rows) < 2:
        return list(rows)
    best = [
        max((c.text for c in column if c.text != MISSING), key=float, default="")
        for column in zip(*(row.cells for row in rows), strict=True)
    ]
    return [
        replace(
            row,
            cells=tuple(replace(c, best=c.text == b) for c, b in zip(row.cells, best, strict=True)),
        )
        for row in rows
    ]


def _joined(tables: Sequence[Table], rows: Sequence[Row | None]) -> tuple[Cell, ...]:
    return tuple(
        cell
        for table, row in zip(tables, rows, strict=True)
        for cell in (row.cells if row else (Cell(MISSING),) * len(table.columns))
    )
