"""Tables of mAP by query blur level (paper, Table 2) and by database blur level (Table 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.metrics import RetrievalResult

PAPER_BLUR_LEVELS = (1, 2, 3, 4, 5, 6)
MISSING = "-"


@dataclass(frozen=True)
class Cell:
    """A number as it is printed; `best` ones are printed in bold."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """`columns` name the cells after the row's own name, which stands under `corner`."""

    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def map_table(results: Mapping[str, RetrievalResult], denominator: str = "retrieved") -> Table:
    """mAP in percent: a row per method, columns All and the query blur levels, best in bold.

    Levels without queries read "-". With one method there is no best.
    """
    levels = _levels(results.values())
    return _table("Method", levels, [(n, _row(r, levels, denominator)) for n, r in results.items()])


def database_level_table(result: RetrievalResult, denominator: str = "retrieved") -> Table:
    """mAP in percent by the database's blur level (rows) and the query's (columns)."""
    alone = result.by_database_blur_level
    levels = _levels(alone.values())
    rows = [(f"BL {level}", _row(r, levels, denominator)) for level, r in sorted(alone.items())]
    return _table("Database", levels, rows, mark_best=False)


def level_spread(result: RetrievalResult, denominator: str = "retrieved") -> tuple[float, float]:
    """Range and population standard deviation of mAP over the cells of `database_level_table`.

    Both are fractions in [0, 1]; lower is more robust to motion blur (paper, Table 4).
    """
    cells = [
        by_denominator[denominator]
        for alone in result.by_database_blur_level.values()
        for by_denominator in alone.map_by_query_blur_level.values()
    ]
    return float(np.ptp(cells)), float(np.std(cells))


def text_table(table: Table) -> str:
    """The table for a terminal, best numbers marked with an asterisk; ends without a newline."""
    cells = [
        (name, *(f"{c.text}{'*' if c.best else ' '}" for c in row)) for name, row in table.rows
    ]
    header = (table.corner, *(f"{column} " for column in table.columns))
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    lines = [_text_line(row, widths) for row in (header, *cells)]
    return "\n".join([lines[0], "-" * len(lines[0].rstrip()), *lines[1:]])


def _text_line(row: Sequence[str], widths: Sequence[int]) -> str:
    numbers = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return " ".join([row[0].ljust(widths[0]), *numbers]).rstrip()


def _levels(results: Iterable[RetrievalResult]) -> list[int]:
    return sorted(set(PAPER_BLUR_LEVELS).union(*(r.map_by_query_blur_level for r in results)))


def _row(result: RetrievalResult, levels: Sequence[int], denominator: str) -> list[float | None]:
    by_level = {
        level: by_denominator[denominator]
        for level, by_denominator in result.map_by_query_blur_level.items()
    }
    return [result.map[denominator], *(by_level.get(level) for level in levels)]


def _table(
    corner: str,
    levels: Sequence[int],
    rows: Sequence[tuple[str, Sequence[float | None]]],
    mark_best: bool = True,
) -> Table:
    text = [[MISSING if v is None else f"{100 * v:.2f}" for v in values] for _, values in rows]
    best = [
        max((t for t in column if t != MISSING), key=float, default="")
        if mark_best and len(rows) > 1
        else ""
        for column in zip(*text, strict=True)
    ]
    return Table(
        corner,
        ("All", *map(str, levels)),
        tuple(
            (name, tuple(Cell(t, t == b) for t, b in zip(row, best, strict=True)))
            for (name, _), row in zip(rows, text, strict=True)
        ),
    )
