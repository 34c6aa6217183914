"""Tests of bridge/report/plots.py."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

from bridge.metrics import RetrievalResult
from bridge.report.plots import blur_level_histogram, map_plot

Evaluate = Callable[..., RetrievalResult]


def texts(svg: str) -> list[str]:
    return [
        "".join(node.itertext()).strip()
        for node in ElementTree.fromstring(svg).iter()
        if node.tag.endswith("text")
    ]


def test_map_plot_names_axes_and_methods(evaluate: Evaluate) -> None:
    svg = map_plot({"BRIDGE": evaluate(0.5), "untrained <b>": evaluate(3.0)})
    assert {"Query blur level", "mAP [%]", "BRIDGE", "untrained <b>"} <= set(texts(svg))


def test_points_stand_at_the_height_of_their_map(evaluate: Evaluate) -> None:
    result = evaluate(1.0)
    svg = map_plot({"BRIDGE": result})
    points = [
        float(node.attrib["y"])
        for node in ElementTree.fromstring(svg).iter()
        if node.tag.endswith("use") and "#2f80d0" in node.attrib.get("style", "")
    ]
    assert len(points) == 3
    heights = [result.map_by_query_blur_level[level]["retrieved"] for level in (1, 2, 6)]
    slope = (points[0] - points[1]) / (heights[0] - heights[1])
    assert slope < 0
    assert abs(points[0] - points[2] - slope * (heights[0] - heights[2])) < 1e-2


def test_histogram_shows_every_count() -> None:
    svg = blur_level_histogram({1: 4288, 2: 3932, 6: 1678}, "Database images")
    assert {"4,288", "3,932", "1,678", "Database images", "Blur level"} <= set(texts(svg))


def test_plots_have_no_ground_and_the_colour_of_the_page() -> None:
    svg = blur_level_histogram({1: 3})
    assert "currentColor" in svg
    for white in ("#ffffff", "#FFFFFF", "white"):
        assert white not in svg
    assert "#010203" not in svg


def test_equal_plots_are_equal_bytes_and_share_no_group_ids(evaluate: Evaluate) -> None:
    result = evaluate(1.0)
    first = map_plot({"BRIDGE": result})
    assert first == map_plot({"BRIDGE": result})
    assert "<g id=" not in first and "Date" not in first
