from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.metrics import PerLevelResult, RetrievalResult
from bridge.metrics.repeats import joined, repeats_of
from bridge.report.study import write_study
from bridge.report.study_data import Cost, Studied, StudyData, mean_cost, mean_grid, mean_scores
from bridge.report.study_sections import methods_table, study_sections
from tests.bridge.report.balance import Balance

Evaluate = Callable[..., RetrievalResult]
EvaluatePerLevel = Callable[..., PerLevelResult]


@pytest.fixture
def data(evaluate: Evaluate, evaluate_per_level: EvaluatePerLevel) -> StudyData:
    """A reference trained with two seeds, a method that is worse, and an ablation of one seed."""

    def studied(name: str, noises: tuple[float, ...], tables: dict[str, str]) -> Studied:
        return Studied(
            name=name,
            tables=tables,
            seeds=tuple(range(len(noises))),
            protocols={
                "mixed": joined([repeats_of(evaluate(noise)) for noise in noises]),
                "mixed_with_distractors": joined(
                    [repeats_of(evaluate(noise, k=100)) for noise in noises]
                ),
                "per_level_with_distractors": joined(
                    [repeats_of(evaluate_per_level(noise, k=100)) for noise in noises]
                ),
            },
            costs=tuple(Cost(1000 * (n + 1), 5_000, 0.5, 0.0) for n in range(len(noises))),
        )

    return StudyData(
        title="A <study>",
        reference="ours",
        studied=(
            studied("ours", (0.5, 0.6), {"2": "ours", "5": "con + cls + be + loc", "6": "range 5"}),
            studied("rival", (2.0, 2.2), {"2": "rival"}),
            studied("only con", (1.0,), {"5": "con"}),
        ),
        missing=("rival-2",),
        provenance={"grid": {"passes": 1000}},
    )


def test_table_2_has_means_over_seeds_beside_the_papers_rows(data: StudyData) -> None:
    table = methods_table(data)
    assert table is not None
    rows = {(row.name, row.from_paper): row for row in table.rows}
    assert ("Ours", True) in rows and ("rival", False) in rows and ("only con", False) not in rows
    ours = data.studied[0].protocols["mixed"]
    assert rows["ours", False].cells[0].text == f"{100 * ours.map:.2f}"
    assert rows["ours", False].cells[0].best and not rows["rival", False].cells[0].best
    assert [heading.partition(",")[0] for heading, _ in table.groups] == [
        "Without distractors",
        "With distractors",
    ]


def test_means_are_of_the_maps_and_not_of_the_best(data: StudyData) -> None:
    repeats = data.studied[0].protocols["mixed"]
    assert mean_scores(repeats).overall == pytest.approx(50 * sum(repeats.by_seed))
    grid = mean_grid(data.studied[0].protocols["per_level_with_distractors"])
    assert list(grid.rows) == [1, 2, 6] and grid.cells.shape == (3, 3)
    assert mean_cost(data.studied[0].costs) == Cost(1500, 5_000, 0.5, 0.0)


def test_differences_are_from_the_reference(data: StudyData) -> None:
    found = data.differences["mixed"]
    assert list(found) == ["rival", "only con"]
    assert found["rival"].map < 0 and found["rival"].counts
    assert replace(data, reference="gone").differences == {}


def test_every_table_of_the_paper_has_its_section(data: StudyData) -> None:
    titles = [section.title for section in study_sections(data)]
    for number in "2456":
        assert any(f"Table {number}" in title for title in titles), titles
    assert titles[-1] == "Cost"
    # Of what was not measured there is nothing.
    alone = replace(data, studied=(replace(data.studied[2], tables={"5": "con"}),))
    assert not any("Table 2" in section.title for section in study_sections(alone))


def test_without_distractors_table_6_says_so(data: StudyData) -> None:
    first = data.studied[0]
    mixed = replace(first, protocols={"mixed": first.protocols["mixed"]})
    [section] = [
        section
        for section in study_sections(replace(data, studied=(mixed,)))
        if "Table 6" in section.title
    ]
    assert any("the paper’s rows are with them" in note for note in section.notes)


def test_a_page_its_tables_and_its_numbers_are_written(data: StudyData, tmp_path: Path) -> None:
    write_study(tmp_path, data)
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "A &lt;study&gt;" in page
    parser = Balance()
    parser.feed(page)
    assert (parser.faults, parser.open) == ([], [])
    assert set(re.findall(r'<a href="#([^"]+)"', page)) == {*parser.ids} - {"provenance"}
    assert not re.search(r"<(script|link|iframe|object)\b|@import|url\(http", page)
    assert "1 run is not finished (rival-2)" in page and "Ours" in page
    costs = (tmp_path / "figures" / "costs.csv").read_text()
    rows = {row["Configuration"]: row for row in csv.DictReader(io.StringIO(costs))}
    assert rows["ours"]["image passes"] == "1,500" and rows["ours"]["runs"] == "2"
    document = json.loads((tmp_path / "study.json").read_text())
    ours = document["configurations"]["ours"]["protocols"]["mixed"]
    assert ours["map"] == pytest.approx(sum(ours["map_by_seed"]) / 2) and ours["std"] > 0
    assert document["differences"]["mixed"]["only con"]["seeds_apart"] in (True, False)
    write_study(tmp_path / "again", data)
    for name in ("report.html", "study.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_configurations_need_names_of_their_own(data: StudyData) -> None:
    for studied in ((), (data.studied[0], data.studied[0])):
        with pytest.raises(ValueError, match="distinct names"):
            replace(data, studied=studied)
