"""The numbers that the paper and its supplement print, from `paper_results.csv` beside this file.

`table` there is the paper's number of a table, with S before those of the supplement. Table 1
counts images; all others are mAP in percent. Table 6 does not name its protocol: its row of range 5
is the row of Table 2 with distractors.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from bridge.report.scores import Grid, Scores

BLUR_LEVELS = (1, 2, 3, 4, 5, 6)
OURS = "Ours"
"""What the paper calls its own method."""

NUM_SYNTHETIC_OBJECTS = 193
NUM_REAL_OBJECTS = 35

TABLE_BY_PROTOCOL: Mapping[str, str] = MappingProxyType(
    {
        "mixed": "2",
        "mixed_with_distractors": "2",
        "real": "3",
        "per_level": "S1",
        "per_level_with_distractors": "4",
    }
)
"""The table that compares methods under a protocol."""


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with (Path(__file__).parent / "paper_results.csv").open(newline="") as file:
        return tuple(csv.DictReader(file))


def paper_scores(table: str, protocol: str = "") -> dict[str, Scores]:
    """A table with one row per method: Scores by method, in the paper's order.

    Tables 1 (`protocol` "": image counts), 2 (two protocols side by side), 3, 5 and 6.
    Raises ValueError where the paper has no such table.
    """
    return {
        row["method"]: _scores(row) for row in _chosen(table, protocol) if not row["database_level"]
    }


def paper_grids(table: str) -> dict[str, Grid]:
    """A table by database blur level: a Grid by method (Tables 4, S1) or by losses (S2).

    Raises ValueError where the paper has no such table.
    """
    rows: dict[str, dict[int, Scores]] = {}
    for row in _chosen(table):
        rows.setdefault(row["method"], {})[int(row["database_level"])] = _scores(row)
    return {method: Grid(by_level) for method, by_level in rows.items()}


def _chosen(table: str, protocol: str | None = None) -> list[dict[str, str]]:
    chosen = [
        row for row in _rows() if row["table"] == table and protocol in (None, row["protocol"])
    ]
    if not chosen:
        raise ValueError(f"The paper has no Table {table} of protocol {protocol!r}.")
    return chosen


def _scores(row: dict[str, str]) -> Scores:
    return Scores(float(row["all"]), {level: float(row[str(level)]) for level in BLUR_LEVELS})
