"""Tests of bridge/report/data.py."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bridge.metrics import DENOMINATORS, RetrievalResult
from bridge.report.data import MethodResult, ReportData, metrics_document

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
        assert protocol[name]["map"] == ours.map[name]
        assert (
            protocol[name]["map_by_query_blur_level"]["6"] == ours.map_by_query_blur_level[6][name]
        )
    compared = document["compared"]["untrained"]["protocols"]
    assert compared["mixed_with_distractors"]["map"] == theirs.map["retrieved"]


def test_single_database_levels_are_in_the_document_where_evaluated(evaluate: Evaluate) -> None:
    result = evaluate(1.0, per_level=True)
    methods = (MethodResult("BRIDGE", {"per_level": result, "mixed": evaluate(1.0)}),)
    protocols = metrics_document(ReportData("Test", methods, (), {}))["protocols"]
    alone = protocols["per_level"]["by_database_blur_level"]["6"]
    assert alone["map"] == result.by_database_blur_level[6].map["retrieved"]
    assert "by_database_blur_level" not in protocols["mixed"]


@pytest.mark.parametrize("names", [[], ["BRIDGE", "BRIDGE"]])
def test_methods_need_distinct_names(names: list[str]) -> None:
    with pytest.raises(ValueError, match="distinct names"):
        ReportData("Test", tuple(MethodResult(name, {}) for name in names), (), {})


def test_results_on_different_data_are_not_compared(evaluate: Evaluate) -> None:
    methods = (
        MethodResult("a", {"mixed": evaluate(1.0)}),
        MethodResult("b", {"mixed": evaluate(1.0, k=10)}),
    )
    with pytest.raises(ValueError, match="different data under 'mixed'"):
        ReportData("Test", methods, (), {})
