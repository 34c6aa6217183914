"""Tests of bridge/report/plots.py, curves.py and heat.py."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from bridge.metrics import PerLevelResult, RetrievalResult
from bridge.report.curves import Line, curve_plot, database_level_curves, map_curves
from bridge.report.data import MethodResult, ReportData
from bridge.report.heat import Scale, common_scale, heat_plot
from bridge.report.paper import paper_grids
from bridge.report.plots import COLOURS, TEXT, Plot, blur_level_histogram, severity_histogram
from bridge.report.scores import Grid, Scores, grid_of

Evaluate = Callable[..., RetrievalResult]


def nodes(plot: Plot, tag: str) -> list[ElementTree.Element]:
    return [n for n in ElementTree.fromstring(plot.inline).iter() if n.tag.endswith(f"}}{tag}")]


def texts(plot: Plot) -> list[str]:
    return ["".join(node.itertext()).strip() for node in nodes(plot, "text")]


def rows(plot: Plot) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(plot.csv)))


@pytest.fixture
def data(evaluate: Evaluate, evaluate_per_level: Callable[..., PerLevelResult]) -> ReportData:
    methods = tuple(
        MethodResult(name, {"mixed": evaluate(noise), "per_level": evaluate_per_level(noise)})
        for name, noise in (("BRIDGE", 1.0), ("untrained <b>", 3.0))
    )
    return ReportData("Test", methods, (), {})


def test_curves_name_axes_methods_and_the_paper(data: ReportData) -> None:
    plot = map_curves(data, "mixed")
    expected = {"Query blur level", "mAP [%]", "BRIDGE", "untrained <b>", "Ours in the paper"}
    assert expected <= set(texts(plot))


def test_points_stand_at_the_height_of_their_map(data: ReportData) -> None:
    points = [
        float(node.attrib["y"])
        for node in nodes(map_curves(data, "mixed"), "use")
        if COLOURS[0] in node.attrib.get("style", "") and "opacity" not in node.attrib["style"]
    ][:3]
    scores = data.methods[0].protocols["mixed"].map_by_query_blur_level
    heights = [scores[level]["retrieved"] for level in (1, 2, 6)]
    slope = (points[0] - points[1]) / (heights[0] - heights[1])
    assert slope < 0
    assert abs(points[0] - points[2] - slope * (heights[0] - heights[2])) < 1e-2


def test_the_csv_of_curves_has_their_values_and_intervals(data: ReportData) -> None:
    found = rows(map_curves(data, "mixed"))
    assert [(row["method"], row["source"]) for row in found[::3]][:3] == [
        ("BRIDGE", "evaluated"), ("untrained <b>", "evaluated"), ("Ours in the paper", "paper"),
    ]  # fmt: skip
    result = data.methods[0].protocols["mixed"]
    interval = result.confidence().map_by_query_blur_level[6]["retrieved"]
    value = result.map_by_query_blur_level[6]["retrieved"]
    numbers = [float(found[2][key]) for key in ("mAP [%]", "low_95", "high_95")]
    assert numbers == pytest.approx([100 * value, *(100 * bound for bound in interval)], abs=1e-4)
    assert not found[-1]["low_95"]


def test_a_panel_per_database_level(data: ReportData) -> None:
    plot = database_level_curves(data, "per_level")
    titles = {f"Database blur level {level}" for level in (1, 2, 6)}
    assert titles <= set(texts(plot))
    assert {row["panel"] for row in rows(plot)} == titles
    paper = [r for r in rows(plot) if r["source"] == "paper" and r["panel"].endswith("6")]
    assert [float(row["mAP [%]"]) for row in paper] == [52.43, 49.70, 51.23, 52.85, 68.08, 82.08]


def test_a_line_without_intervals_has_no_band() -> None:
    bands = {1: (1.0, 3.0), 2: (2.0, 4.0)}
    with_band, without = (
        curve_plot("x", "x", [Line("a", {1: 2.0, 2: 3.0}, 0, b)], "x", "y", None)
        for b in (bands, {})
    )
    assert len(with_band.figure.axes[0].collections) == 1
    assert len(without.figure.axes[0].collections) == 0


def test_a_heat_map_prints_every_cell_with_range_and_deviation(data: ReportData) -> None:
    grid = grid_of(data.methods[0].protocols["per_level"])
    plot = heat_plot("heat", {"BRIDGE": grid}, {"Ours": paper_grids("S1")["Ours"]})
    assert {f"{value:.1f}" for value in grid.cells.ravel()} | {"82.1"} <= set(texts(plot))
    assert f"range {grid.range:.2f}, std {grid.std:.2f}" in texts(plot)
    assert "Ours (paper)" in texts(plot)
    assert rows(plot)[-1]["source"] == "paper" and float(rows(plot)[-1]["all"]) == 56.32
    assert rows(plot)[0]["3"] == ""


def test_one_scale_holds_every_grid() -> None:
    grids = [Grid({1: Scores(0, {1: low, 2: high})}) for low, high in ((12.0, 40.0), (35.0, 81.0))]
    assert common_scale(grids) == Scale(10.0, 90.0)
    assert common_scale([Grid({1: Scores(50, {1: 50.0})})]) == Scale(50.0, 60.0)


def test_numbers_read_on_every_colour_of_the_scale() -> None:
    scale = Scale(0, 100)
    assert scale.ground(0) != scale.ground(100)
    for value in np.linspace(0, 100, 101):
        assert contrast(scale.ground(value), scale.ink(value)) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two colours "#rrggbb"."""

    def luminance(colour: str) -> float:
        parts = [int(part, 16) / 255 for part in re.findall("..", colour[1:])]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_histogram_shows_every_count() -> None:
    plot = blur_level_histogram({1: 4288, 2: 3932, 6: 1678}, "database", "Database images")
    assert {"4,288", "3,932", "1,678", "Database images", "Blur level"} <= set(texts(plot))
    assert rows(plot)[2] == {"blur_level": "6", "images": "1678"}


def test_severities_are_counted_by_role_without_the_unknown() -> None:
    severities = {"queries": np.array([0.01, 0.02, 0.31, np.nan]), "distractors": np.array([0.56])}
    plot = severity_histogram(severities, "severity")
    assert {"queries (3)", "distractors (1)", "Blur severity"} <= set(texts(plot))
    counted = [(r["role"], r["blur_severity_from"], r["images"]) for r in rows(plot)]
    assert [entry for entry in counted if entry[2] != "0"] == [
        ("queries", "0.000", "2"), ("queries", "0.300", "1"), ("distractors", "0.550", "1"),
    ]  # fmt: skip


def test_inline_plots_have_no_ground_and_the_colour_of_the_page() -> None:
    svg = blur_level_histogram({1: 3}, "x", "Queries").inline
    assert "currentColor" in svg and 'aria-label="Queries per blur level"' in svg
    assert "#ffffff" not in svg.lower()
    assert TEXT not in svg


def test_files_are_a_drawing_a_picture_on_white_and_the_numbers() -> None:
    plot = blur_level_histogram({1: 3}, "queries", "Queries")
    files = plot.files()
    assert list(files) == ["queries.svg", "queries.png", "queries.csv"]
    ElementTree.fromstring(files["queries.svg"])
    assert b"#ffffff" in files["queries.svg"]
    picture = Image.open(io.BytesIO(files["queries.png"])).convert("RGBA")
    assert picture.getpixel((0, 0)) == (255, 255, 255, 255)
    assert files["queries.csv"].decode() == plot.csv
    assert "#ffffff" not in plot.inline.lower()


def test_equal_plots_are_equal_bytes_and_share_no_group_ids(data: ReportData) -> None:
    first, second = (map_curves(data, "mixed") for _ in range(2))
    assert first.inline == second.inline
    assert first.files() == second.files()
    assert "<g id=" not in first.inline and "Date" not in first.inline
