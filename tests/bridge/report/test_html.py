"""Tests of bridge/report/html.py and of the sections and summary that it shows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.metrics import PerLevelResult, RetrievalResult
from bridge.report import Estimates, Gallery, MethodResult, ReportData, Tile, write_report
from bridge.report.document import metrics_document
from bridge.report.html import report_html
from bridge.report.image_sections import images_section
from bridge.report.sections import retrieval_sections
from tests.bridge.report.balance import Balance

Evaluate = Callable[..., RetrievalResult]

FIGURES = {
    "mixed", "mixed_with_distractors", "real", "per_level", "per_level_curves",
    "per_level_with_distractors", "per_level_with_distractors_curves", "blur_severity_error",
    "box_iou", "queries_per_blur_level", "real_queries_per_blur_level", "blur_severities",
}  # fmt: skip
TABLES = {"table_all_blur_levels", "table_real", "table_estimates", "table_images"}


def estimates() -> Estimates:
    levels = np.array([1, 2, 6, 6])
    boxes = np.full((4, 4), 0.5)
    severities = levels / 10
    return Estimates(levels, severities, severities + 0.125, boxes, boxes)


@pytest.fixture
def data(
    evaluate: Evaluate,
    evaluate_per_level: Callable[..., PerLevelResult],
    encode: Callable[..., bytes],
) -> ReportData:
    """Two methods, all protocols, two groups of galleries."""
    tile = Tile(encode("PNG"), 3, "chair/1", correct=True, similarity=0.5, box=(0.5, 0.5, 0.2, 0.2))
    methods = tuple(
        MethodResult(
            name,
            {
                "mixed": evaluate(noise),
                "mixed_with_distractors": evaluate(noise, k=20),
                "per_level": evaluate_per_level(noise),
                "per_level_with_distractors": evaluate_per_level(noise, k=5),
                "real": evaluate(noise + 0.1),
            },
            estimates(),
        )
        for name, noise in (("BRIDGE", 0.5), ("untrained", 3.0))
    )
    galleries = tuple(Gallery(tile, (tile,), group) for group in ("Random queries", "Best queries"))
    severities = {"queries": np.array([0.05, 0.1, 0.55])}
    return ReportData("A & B", methods, galleries, {"note": "<script>alert(1)"}, severities)


@pytest.fixture
def alone(data: ReportData) -> ReportData:
    """One method, one protocol, nothing else."""
    method = MethodResult("BRIDGE", {"mixed": data.methods[0].protocols["mixed"]})
    return ReportData("Test", (method,), (), {})


def words(page: str) -> str:
    """The page's text without its marks, white space as one blank."""
    return " ".join(
        re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)).split()
    )


@pytest.mark.parametrize("name", ["data", "alone"])
def test_the_page_is_well_formed_and_its_links_lead_somewhere(
    name: str, request: pytest.FixtureRequest
) -> None:
    page = report_html(request.getfixturevalue(name))
    parser = Balance()
    parser.feed(page)
    assert (parser.faults, parser.open) == ([], [])
    assert len(set(parser.ids)) == len(parser.ids)
    anchors = re.findall(r'<a href="#([^"]+)"', page)
    assert anchors and set(anchors) <= set(parser.ids)


def test_the_page_loads_nothing(data: ReportData) -> None:
    page = report_html(data)
    assert not re.search(r"<(script|link|iframe|object)\b|@import|url\(http", page)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith(("data:image/", "#")) for source in sources)


def test_each_protocol_states_its_size_cut_off_and_denominator(data: ReportData) -> None:
    page = words(report_html(data))
    assert "mAP@all in percent over 40 queries and 200 database images" in page
    assert "all denominators agree" in page
    assert "mAP@20 in percent over 40 queries and 200 database images" in page
    assert "over the top 20, divided by the positives found in the top k (as in the paper)" in page
    assert "mAP@20, divided by min(k, positives)" in page
    assert "mAP@20, divided by all positives" in page


def test_the_scores_are_on_the_page(data: ReportData) -> None:
    page = report_html(data)
    for method in data.methods:
        for name, result in method.protocols.items():
            assert f"{100 * result.map['retrieved']:.2f}" in page
            low, high = method.confidences[name].map["retrieved"]
            assert f"{100 * low:.1f}–{100 * high:.1f}" in page
        capped = method.protocols["mixed_with_distractors"].map["capped"]
        assert f"{100 * capped:.2f}" in page


def test_every_table_of_the_paper_is_there_with_its_numbers(data: ReportData) -> None:
    page = words(report_html(data))
    for title in ("Table 2", "Table 3", "Table 4", "supplement, Table 1", "paper: Table 1"):
        assert title in page
    assert "Ours (range: 53.68; std: 15.65) paper" in page
    assert "Token (range: 49.77" in page or "Token (range: 49.78" in page
    for number in ("91.78", "84.09", "62.88", "20,995", "78.13", "82.26", "68.84"):
        assert number in page
    assert page.count("compare with the figures here only where the same images were") == 1
    assert "synthetic: 40 queries of 5 objects, real: 40 queries of 5 objects" in page


def test_ablations_are_for_comparing_methods(data: ReportData) -> None:
    assert "Ablations in the paper" in report_html(data)
    page = report_html(replace(data, methods=data.methods[:1]))
    assert "Ablations in the paper" not in page


def test_heat_maps_of_a_protocol_share_one_scale(data: ReportData) -> None:
    section = next(s for s in retrieval_sections(data) if s.anchor == "per_level")
    assert [table.caption.split(" (")[0] for table in section.tables] == [
        "BRIDGE", "untrained", "Ours",
    ]  # fmt: skip
    page = report_html(data)
    cell = section.tables[1].rows[2].cells[6 if len(section.tables[1].columns) > 6 else 3]
    assert section.scale is not None and cell.value is not None
    ground, ink = section.scale.ground(cell.value), section.scale.ink(cell.value)
    assert f'style="background:{ground};color:{ink}">{cell.text}<' in page


def test_estimates_are_shown_with_the_number_of_images(data: ReportData) -> None:
    page = words(report_html(data))
    assert "BRIDGE 0.125 0.125 0.125 - - - 0.125 1.000 1.000 1.000 - - - 1.000" in page
    assert "Images 4 1 1 - - - 2" in page


def test_images_are_counted_as_in_table_1(data: ReportData) -> None:
    section = images_section(data)
    assert section is not None
    rows = {row.name: row for row in section.tables[0].rows if not row.from_paper}
    assert list(rows) == ["Queries", "Database", "Distractors", "Real queries"]
    assert [rows[name].cells[0].text for name in rows] == ["40", "200", "0", "40"]


def test_queries_without_positives_are_pointed_out(alone: ReportData) -> None:
    assert "no positive" not in report_html(alone)
    result = alone.methods[0].protocols["mixed"]
    assert isinstance(result, RetrievalResult)
    lonely = replace(result, num_queries_without_positives=1234)
    page = report_html(replace(alone, methods=(MethodResult("BRIDGE", {"mixed": lonely}),)))
    assert "1,234 queries have no positive" in page


def test_what_there_is_none_of_is_not_on_the_page(alone: ReportData) -> None:
    page = words(report_html(alone))
    for absent in ("Retrieved images", "Estimated blur", "Real", "One database blur level", "None"):
        assert absent not in page


def test_a_protocol_that_is_not_in_the_paper_is_shown_alone(alone: ReportData) -> None:
    result = replace(alone.methods[0].protocols["mixed"], map_by_query_blur_level={})
    result = replace(result, num_queries_by_blur_level={}, query_blur_levels=np.empty(0, np.int64))
    page = words(report_html(replace(alone, methods=(MethodResult("x", {"my_own": result}),))))
    assert "My own" in page and f"{100 * result.map['retrieved']:.2f}" in page
    assert "DELG" not in page and "Numbers marked" not in page


def test_text_from_outside_is_escaped(data: ReportData) -> None:
    page = report_html(data)
    assert "A &amp; B" in page
    assert "<script" not in page and "&lt;script&gt;" in page


def test_all_files_are_written_and_hold_the_same_report(data: ReportData, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write_report(folder, data)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"metrics.json", "report.html"} | {
        *(f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png", "csv")),
        *(f"figures/{name}.csv" for name in TABLES),
    }
    assert (folder / "report.html").read_text(encoding="utf-8") == report_html(data)
    assert json.loads((folder / "metrics.json").read_text()) == metrics_document(data)
    table = (folder / "figures/table_all_blur_levels.csv").read_text()
    last = list(csv.reader(io.StringIO(table)))[-1]
    value = data.methods[1].protocols["mixed"].map["retrieved"]
    assert last[:3] == ["untrained", "evaluated", f"{100 * value:.2f}"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"provenance": {"loss": float("nan")}}, ValueError),
        ({"provenance": {"path": Path("x")}}, TypeError),
        ({"galleries": (Gallery(Tile(b"no image", 1, "x"), ()),)}, InputError),
    ],
)
def test_nothing_is_written_of_a_report_that_cannot_be(
    alone: ReportData, tmp_path: Path, change: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        write_report(tmp_path, replace(alone, **change))
    assert list(tmp_path.iterdir()) == []
