"""Tests of bridge/report/html.py."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bridge.errors import InputError
from bridge.metrics import RetrievalResult
from bridge.report import Gallery, MethodResult, ReportData, Tile, write_report
from bridge.report.data import metrics_document
from bridge.report.html import report_html

Evaluate = Callable[..., RetrievalResult]


@pytest.fixture
def data(evaluate: Evaluate, encode: Callable[[str], bytes]) -> ReportData:
    tile = Tile(encode("PNG"), 3, "chair/1", correct=True, similarity=0.5)
    methods = tuple(
        MethodResult(
            name,
            {"mixed": evaluate(noise), "mixed_with_distractors": evaluate(noise, k=20)},
        )
        for name, noise in (("BRIDGE", 0.5), ("untrained", 3.0))
    )
    return ReportData("A & B", methods, (Gallery(tile, (tile,)),), {"note": "<script>alert(1)"})


class _Balance(HTMLParser):
    """Collects elements that were closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def test_the_page_is_well_formed(data: ReportData) -> None:
    parser = _Balance()
    parser.feed(report_html(data))
    assert (parser.faults, parser.open) == ([], [])


def test_the_page_loads_nothing(data: ReportData) -> None:
    page = report_html(data)
    assert not re.search(r"<(script|link|iframe|object)\b|@import", page)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith(("data:image/", "#")) for source in sources)


def test_each_protocol_states_its_size_cut_off_and_denominator(data: ReportData) -> None:
    page = " ".join(report_html(data).split())
    assert "mAP@all in percent over 40 queries and 200 database images" in page
    assert "all denominators agree" in page
    assert "mAP@20 in percent over 40 queries and 200 database images" in page
    assert "over the top 20, divided by the positives found in the top k (as in the paper)" in page
    assert "mAP@20, divided by min(k, positives)" in page
    assert "mAP@20, divided by all positives" in page


def test_the_scores_are_on_the_page(data: ReportData) -> None:
    page = report_html(data)
    for method in data.methods:
        for result in method.protocols.values():
            assert f"{100 * result.map['retrieved']:.2f}" in page
            assert f"{100 * result.map['all']:.2f}" in page
    assert page.count("<svg") == 3


def test_queries_without_positives_are_pointed_out(data: ReportData) -> None:
    assert "no positive" not in report_html(data)
    method = data.methods[0]
    lonely = replace(method.protocols["mixed"], num_queries_without_positives=1234)
    page = report_html(replace(data, methods=(MethodResult("BRIDGE", {"mixed": lonely}),)))
    assert "1,234 queries have no positive" in page


def test_single_database_levels_have_a_table_with_their_spread(evaluate: Evaluate) -> None:
    methods = (MethodResult("BRIDGE", {"per_level": evaluate(1.0, per_level=True)}),)
    page = report_html(ReportData("Test", methods, (), {}))
    assert "One database blur level at a time" in page and "BL 6" in page
    assert "standard deviation" in page
    assert "Retrieved images" not in page


def test_text_from_outside_is_escaped(data: ReportData) -> None:
    page = report_html(data)
    assert "A &amp; B" in page
    assert "<script" not in page and "&lt;script&gt;" in page


def test_both_files_are_written_and_hold_the_same_report(data: ReportData, tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "folder", data)
    folder = tmp_path / "new" / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "report.html"]
    assert (folder / "report.html").read_text(encoding="utf-8") == report_html(data)
    assert json.loads((folder / "metrics.json").read_text()) == metrics_document(data)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"provenance": {"loss": float("nan")}}, ValueError),
        ({"provenance": {"path": Path("x")}}, TypeError),
        ({"galleries": (Gallery(Tile(b"no image", 1, "x"), ()),)}, InputError),
    ],
)
def test_nothing_is_written_of_a_report_that_cannot_be(
    data: ReportData, tmp_path: Path, change: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        write_report(tmp_path, replace(data, **change))
    assert list(tmp_path.iterdir()) == []
