"""Tests of bridge/report/data.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bridge.metrics import PerLevelResult, RetrievalResult
from bridge.report.data import MethodResult, ReportData

Evaluate = Callable[..., RetrievalResult]


@pytest.mark.parametrize("names", [[], ["BRIDGE", "BRIDGE"]])
def test_methods_need_distinct_names(names: list[str]) -> None:
    with pytest.raises(ValueError, match="distinct names"):
        ReportData("Test", tuple(MethodResult(name, {}) for name in names), (), {})


def test_results_on_different_data_are_not_compared(
    evaluate: Evaluate, evaluate_per_level: Callable[..., PerLevelResult]
) -> None:
    first = MethodResult("a", {"mixed": evaluate(1.0)})
    for other in (evaluate(1.0, k=10), evaluate_per_level(1.0)):
        with pytest.raises(ValueError, match="different data under 'mixed'"):
            ReportData("Test", (first, MethodResult("b", {"mixed": other})), (), {})


def test_protocols_come_in_the_order_of_their_first_appearance(evaluate: Evaluate) -> None:
    result = evaluate(1.0)
    methods = (
        MethodResult("a", {"mixed": result}),
        MethodResult("b", {"real": result, "mixed": result}),
    )
    data = ReportData("Test", methods, (), {})
    assert data.protocol_names() == ["mixed", "real"]
    assert list(data.results("real")) == ["b"]


def test_intervals_hold_the_measured_map(
    evaluate: Evaluate, evaluate_per_level: Callable[..., PerLevelResult]
) -> None:
    method = MethodResult("a", {"mixed": evaluate(1.0), "per_level": evaluate_per_level(1.0)})
    for name, result in method.protocols.items():
        low, high = method.confidences[name].map["retrieved"]
        assert 0 <= low < result.map["retrieved"] < high <= 1
    assert method.confidences_by_database_level["mixed"] == {}
    alone = method.confidences_by_database_level["per_level"][6].map["retrieved"]
    expected = method.protocols["per_level"].by_database_blur_level[6].confidence()
    assert alone == expected.map["retrieved"]
