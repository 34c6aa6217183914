"""Tests of bridge/report/paper.py: the transcription agrees with itself."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.report.paper import BLUR_LEVELS, OURS, TABLE_BY_PROTOCOL, paper_grids, paper_scores
from bridge.report.scores import Scores

ONE_ROW_TABLES = [
    ("2", "mixed", 5),
    ("2", "mixed_with_distractors", 5),
    ("3", "real", 5),
    ("5", "mixed", 12),
    ("6", "mixed_with_distractors", 4),
]
SPREAD = {
    "4": {"DELG": (57.79, 16.75), "DOLG": (56.81, 16.93), "Token": (55.72, 16.11),
          "Ours": (53.68, 15.65)},
    "S1": {"DELG": (51.41, 14.54), "DOLG": (49.99, 14.42), "Token": (49.77, 14.27),
           "Ours": (46.62, 13.51)},
}  # fmt: skip
"""Range and standard deviation as printed in the head of each 6x6 table."""


def weighted_mean(scores: Scores, counts: Scores) -> float:
    levels = BLUR_LEVELS
    return float(
        np.average(
            [scores.by_query_level[level] for level in levels],
            weights=[counts.by_query_level[level] for level in levels],
        )
    )


def test_the_counts_of_table_1_add_up() -> None:
    counts = paper_scores("1")
    assert len(counts) == 4
    for row in counts.values():
        assert row.overall == sum(row.by_query_level.values())


@pytest.mark.parametrize(("table", "protocol", "rows"), ONE_ROW_TABLES)
def test_all_is_the_mean_over_queries(table: str, protocol: str, rows: int) -> None:
    queries = paper_scores("1")["Real queries" if table == "3" else "Synthetic queries"]
    scores = paper_scores(table, protocol)
    assert len(scores) == rows
    for row in scores.values():
        assert weighted_mean(row, queries) == pytest.approx(row.overall, abs=0.016)


@pytest.mark.parametrize(("table", "grids"), [("4", 4), ("S1", 4), ("S2", 12)])
def test_all_is_the_mean_over_queries_for_each_database_level(table: str, grids: int) -> None:
    queries = paper_scores("1")["Synthetic queries"]
    found = paper_grids(table)
    assert len(found) == grids
    for grid in found.values():
        assert list(grid.rows) == list(BLUR_LEVELS)
        for row in grid.rows.values():
            assert weighted_mean(row, queries) == pytest.approx(row.overall, abs=0.016)


@pytest.mark.parametrize("table", SPREAD)
def test_range_and_deviation_of_the_cells_are_those_printed(table: str) -> None:
    grids = paper_grids(table)
    assert set(grids) == set(SPREAD[table])
    for method, (width, deviation) in SPREAD[table].items():
        assert grids[method].range == pytest.approx(width, abs=0.011)
        assert grids[method].std == pytest.approx(deviation, abs=0.006)


def test_tables_that_repeat_a_row_agree() -> None:
    mixed, distractors = (paper_scores("2", p)[OURS] for p in ("mixed", "mixed_with_distractors"))
    assert paper_scores("5", "mixed")["con + cls + be + loc"] == mixed
    assert paper_scores("6", "mixed_with_distractors")["range 5"] == distractors
    assert paper_grids("S2")["con + cls + be + loc"] == paper_grids("4")[OURS]


def test_every_protocol_has_its_table() -> None:
    for protocol, table in TABLE_BY_PROTOCOL.items():
        if protocol.startswith("per_level"):
            assert OURS in paper_grids(table)
        else:
            assert OURS in paper_scores(table, protocol)


def test_a_table_that_is_not_in_the_paper_is_refused() -> None:
    with pytest.raises(ValueError, match="no Table 2 of protocol 'real'"):
        paper_scores("2", "real")
