"""Tests of bridge/report/document.py."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from bridge.metrics import DENOMINATORS, PerLevelResult, RetrievalResult
from bridge.report.data import MethodResult, ReportData
from bridge.report.document import metrics_document
from bridge.report.estimates import Estimates

Evaluate = Callable[..., RetrievalResult]


def test_the_document_has_the_first_methods_protocols_and_compares_the_rest(
    evaluate: Evaluate,
) -> None:
    ours, theirs = evaluate(0.5, k=20), evaluate(2.0, k=20)
    methods = (
        MethodResult("BRIDGE", {"mixed": evaluate(0.5), "mixed_with_distractors": ours}),
        MethodResult("untrained", {"mixed_with_distractors": theirs}),
    )
    document = metrics_document(ReportData("Test", methods, (), {"seed": 1}))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["provenance"] == {"seed": 1}
    assert document["protocols"]["mixed"]["k"] is None
    protocol = document["protocols"]["mixed_with_distractors"]
    counts = {key: protocol[key] for key in ("num_queries", "num_database", "k")}
    assert counts == {"num_queries": 40, "num_database": 200, "k": 20}
    assert protocol["num_queries_without_positives"] == 0
    assert protocol["map"] == ours.map["retrieved"]
    assert protocol["map_by_query_blur_level"] == {
        str(level): ours.map_by_query_blur_level[level]["retrieved"] for level in (1, 2, 6)
    }
    for name in DENOMINATORS:
        by_level = protocol[name]["map_by_query_blur_level"]
        assert protocol[name]["map"] == ours.map[name]
        assert by_level["6"] == ours.map_by_query_blur_level[6][name]
    compared = document["compared"]["untrained"]["protocols"]
    assert compared["mixed_with_distractors"]["map"] == theirs.map["retrieved"]


def test_intervals_stand_beside_the_maps(evaluate: Evaluate) -> None:
    result = evaluate(1.0, k=20)
    data = ReportData("Test", (MethodResult("BRIDGE", {"mixed": result}),), (), {})
    intervals = metrics_document(data)["protocols"]["mixed"]["confidence"]
    expected = result.confidence(level=0.95)
    assert intervals["level"] == 0.95
    for name in DENOMINATORS:
        assert intervals[name]["map"] == list(expected.map[name])
        by_level = intervals[name]["map_by_query_blur_level"]
        assert by_level["2"] == list(expected.map_by_query_blur_level[2][name])


def test_one_level_at_a_time_has_each_level_and_the_spread(
    evaluate: Evaluate, evaluate_per_level: Callable[..., PerLevelResult]
) -> None:
    result = evaluate_per_level(1.0, k=5)
    methods = (MethodResult("BRIDGE", {"per_level": result, "mixed": evaluate(1.0)}),)
    protocols = metrics_document(ReportData("Test", methods, (), {}))["protocols"]
    protocol = protocols["per_level"]
    assert list(protocol["by_database_blur_level"]) == ["1", "2", "6"]
    alone = protocol["by_database_blur_level"]["6"]
    assert alone["map"] == result.by_database_blur_level[6].map["retrieved"]
    assert alone["confidence"]["all"]["map"][0] <= alone["all"]["map"]
    assert (protocol["range"], protocol["std"]) == result.spread("retrieved")
    for name in DENOMINATORS:
        assert (protocol[name]["range"], protocol[name]["std"]) == result.spread(name)
    assert not {"by_database_blur_level", "range", "std"} & set(protocols["mixed"])


def test_estimates_are_there_by_blur_level_and_unknown_ones_are_null() -> None:
    estimates = Estimates(
        blur_levels=np.array([1, 3]),
        blur_severity=np.array([0.0, 0.25]),
        predicted_blur_severity=np.array([0.1, 0.25]),
        bbox=np.full((2, 4), np.nan),
        predicted_bbox=np.full((2, 4), 0.5),
    )
    data = ReportData(
        "Test", (MethodResult("BRIDGE", {}, estimates), MethodResult("b", {})), (), {}
    )
    document = metrics_document(data)
    assert document["estimates"] == {
        "num_images": 2,
        "blur_severity_error": pytest.approx(0.05),
        "box_iou": None,
        "by_blur_level": {
            "1": {"num_images": 1, "blur_severity_error": pytest.approx(0.1), "box_iou": None},
            "3": {"num_images": 1, "blur_severity_error": 0.0, "box_iou": None},
        },
    }
    assert "estimates" not in document["compared"]["b"]
