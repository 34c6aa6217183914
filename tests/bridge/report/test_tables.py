"""Tests of bridge/report/tables.py."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from bridge.metrics import PerLevelResult, RetrievalResult
from bridge.report.paper import paper_scores
from bridge.report.scores import grid_of
from bridge.report.tables import (
    Cell,
    Row,
    Table,
    beside,
    grid_table,
    map_table,
    scores_table,
    table_csv,
    text_table,
)

Evaluate = Callable[..., RetrievalResult]
EvaluatePerLevel = Callable[..., PerLevelResult]


def texts(row: Row) -> list[str]:
    return [cell.text for cell in row.cells]


def test_a_row_has_the_overall_map_then_each_query_blur_level(evaluate: Evaluate) -> None:
    result = evaluate(0.7, k=20)
    table = map_table({"BRIDGE": result}, "capped")
    assert table.columns == ("All", "1", "2", "3", "4", "5", "6")
    [row] = table.rows
    by_level = {
        level: f"{100 * m['capped']:.2f}" for level, m in result.map_by_query_blur_level.items()
    }
    assert row.name == "BRIDGE"
    assert texts(row) == [
        f"{100 * result.map['capped']:.2f}", by_level[1], by_level[2], "-", "-", "-", by_level[6],
    ]  # fmt: skip


def test_only_the_best_of_several_methods_is_marked(evaluate: Evaluate) -> None:
    table = map_table({"worse": evaluate(2.0), "better": evaluate(0.3)})
    marks = {row.name: [cell.best for cell in row.cells] for row in table.rows}
    assert marks == {
        "worse": [False] * 7,
        "better": [True, True, True, False, False, False, True],
    }


def test_methods_that_print_the_same_number_are_both_best(evaluate: Evaluate) -> None:
    result = evaluate(1.0)
    table = map_table({"a": result, "b": result})
    assert all(cell.best for row in table.rows for cell in row.cells if cell.text != "-")


def test_the_papers_rows_come_first_and_are_never_the_best(evaluate: Evaluate) -> None:
    results = {"a": evaluate(2.0), "b": evaluate(1.0)}
    table = map_table(results, paper=paper_scores("2", "mixed"))
    names = ["DELG", "DOLG", "Token", "Ours-sharp", "Ours"]
    assert [(row.name, row.from_paper) for row in table.rows] == [
        *((name, True) for name in names), ("a", False), ("b", False),
    ]  # fmt: skip
    assert texts(table.rows[4]) == ["91.78", "93.05", "93.48", "93.14", "92.25", "90.20", "82.86"]
    assert not any(cell.best for row in table.rows[:5] for cell in row.cells)
    assert table.rows[6].cells[0].best


def test_one_method_alone_is_not_marked_best(evaluate: Evaluate) -> None:
    [row] = map_table({"BRIDGE": evaluate(0.5)}).rows
    assert not any(cell.best for cell in row.cells)


def test_tables_side_by_side_are_joined_by_row_whoever_shares_a_name(evaluate: Evaluate) -> None:
    paper = paper_scores("2", "mixed")
    left = map_table({"Ours": evaluate(1.0)}, paper=paper, heading="left")
    right = map_table({"b": evaluate(0.5), "Ours": evaluate(0.7)}, heading="right")
    table = beside([left, right])
    assert [heading for heading, _ in table.groups] == ["left", "right"]
    assert table.first_columns == (0, 7)
    assert [(row.name, row.from_paper) for row in table.rows[4:]] == [
        ("Ours", True), ("Ours", False), ("b", False),
    ]  # fmt: skip
    assert texts(table.rows[4])[7:] == ["-"] * 7
    assert texts(table.rows[5]) == texts(left.rows[5]) + texts(right.rows[1])
    assert texts(table.rows[6])[:7] == ["-"] * 7


def test_database_levels_are_the_rows_of_a_grid(evaluate_per_level: EvaluatePerLevel) -> None:
    result = evaluate_per_level(1.0)
    table = grid_table("BRIDGE", grid_of(result))
    width, deviation = result.spread()
    assert table.caption == f"BRIDGE (range: {100 * width:.2f}; std: {100 * deviation:.2f})"
    assert [row.name for row in table.rows] == ["1", "2", "6"]
    alone = result.by_database_blur_level[2]
    expected = 100 * alone.map_by_query_blur_level[6]["retrieved"]
    cells = table.rows[1].cells
    assert cells[0] == Cell(f"{100 * alone.map['retrieved']:.2f}")
    assert cells[3] == Cell(f"{expected:.2f}", value=expected)


def test_counts_are_printed_as_whole_numbers() -> None:
    table = scores_table("Images", {}, paper_scores("1"), "blur level", decimals=0)
    assert texts(table.rows[0])[:2] == ["20,995", "4,288"]


def test_csv_has_the_cells_and_says_whose_they_are(evaluate: Evaluate) -> None:
    paper = paper_scores("2", "mixed")
    result = evaluate(1.0)
    one = map_table({'a "b", c': result}, paper=paper, heading="mixed")
    [header, *rows] = csv.reader(io.StringIO(table_csv(one)))
    assert header == ["Method", "source", "All", "1", "2", "3", "4", "5", "6"]
    assert rows[0] == ["DELG", "paper", *texts(one.rows[0])]
    assert rows[5][:3] == ['a "b", c', "evaluated", f"{100 * result.map['retrieved']:.2f}"]
    assert rows[5][5] == ""
    [header, *_] = csv.reader(io.StringIO(table_csv(beside([one, one]))))
    assert header[2] == "mixed: All"


def test_text_table_lines_its_numbers_up() -> None:
    rows = (
        Row("ours", (Cell("91.78", True), Cell("9.00"))),
        Row("untrained", (Cell("5.00"), Cell("-"))),
    )
    assert text_table(Table("Method", (("", ("All", "1")),), rows)) == (
        "Method      All     1\n---------------------\nours      91.78* 9.00\nuntrained  5.00     -"
    )
