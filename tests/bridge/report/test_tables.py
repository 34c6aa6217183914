"""Tests of bridge/report/tables.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bridge.metrics import RetrievalResult
from bridge.report.tables import (
    Cell,
    Table,
    database_level_table,
    level_spread,
    map_table,
    text_table,
)

Evaluate = Callable[..., RetrievalResult]


def test_a_row_has_the_overall_map_then_each_query_blur_level(evaluate: Evaluate) -> None:
    result = evaluate(0.7, k=20)
    table = map_table({"BRIDGE": result}, "capped")
    assert table.columns == ("All", "1", "2", "3", "4", "5", "6")
    [(name, cells)] = table.rows
    by_level = {
        level: f"{100 * m['capped']:.2f}" for level, m in result.map_by_query_blur_level.items()
    }
    assert name == "BRIDGE"
    assert [cell.text for cell in cells] == [
        f"{100 * result.map['capped']:.2f}", by_level[1], by_level[2], "-", "-", "-", by_level[6],
    ]  # fmt: skip


def test_only_the_best_of_several_methods_is_marked(evaluate: Evaluate) -> None:
    table = map_table({"worse": evaluate(2.0), "better": evaluate(0.3)})
    marks = {name: [cell.best for cell in cells] for name, cells in table.rows}
    assert marks == {
        "worse": [False] * 7,
        "better": [True, True, True, False, False, False, True],
    }


def test_methods_that_print_the_same_number_are_both_best(evaluate: Evaluate) -> None:
    result = evaluate(1.0)
    table = map_table({"a": result, "b": result})
    assert all(cell.best for _, cells in table.rows for cell in cells if cell.text != "-")


def test_one_method_alone_is_not_marked_best(evaluate: Evaluate) -> None:
    [(_, cells)] = map_table({"BRIDGE": evaluate(0.5)}).rows
    assert not any(cell.best for cell in cells)


def test_database_levels_are_the_rows_of_their_table(evaluate: Evaluate) -> None:
    result = evaluate(1.0, per_level=True)
    rows = dict(database_level_table(result).rows)
    assert list(rows) == ["BL 1", "BL 2", "BL 6"]
    alone = result.by_database_blur_level[2]
    expected = alone.map_by_query_blur_level[6]["retrieved"]
    assert rows["BL 2"][0].text == f"{100 * alone.map['retrieved']:.2f}"
    assert rows["BL 2"][6].text == f"{100 * expected:.2f}"


def test_spread_is_range_and_population_deviation_of_the_cells(evaluate: Evaluate) -> None:
    result = evaluate(1.0, per_level=True)
    cells = [
        alone.map_by_query_blur_level[query]["all"]
        for alone in result.by_database_blur_level.values()
        for query in (1, 2, 6)
    ]
    width, deviation = level_spread(result, "all")
    assert width == pytest.approx(max(cells) - min(cells))
    assert deviation == pytest.approx(np.sqrt(np.mean((np.array(cells) - np.mean(cells)) ** 2)))


def test_text_table_lines_its_numbers_up() -> None:
    rows = (("ours", (Cell("91.78", True), Cell("9.00"))), ("untrained", (Cell("5.00"), Cell("-"))))
    assert text_table(Table("Method", ("All", "1"), rows)) == (
        "Method      All     1\n---------------------\nours      91.78* 9.00\nuntrained  5.00     -"
    )
