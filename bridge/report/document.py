"""The report as the JSON document that other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bridge.metrics import DENOMINATORS, PerLevelResult
from bridge.metrics.confidence import Confidence
from bridge.report.data import CONFIDENCE_LEVEL, MethodResult, ReportData, Result
from bridge.report.scores import PAPER_DENOMINATOR


def metrics_document(data: ReportData) -> dict[str, Any]:
    """The content of `metrics.json`. Every mAP, IoU and error is a fraction in [0, 1].

    `protocols.<name>` is the first method's; its `map` is the paper's figure, and the same under
    each named denominator follows. `compared.<method>` has the other methods alike.
    """
    first, *others = data.methods
    return {
        "title": data.title,
        "method": first.name,
        **_method(first),
        "compared": {method.name: _method(method) for method in others},
        "provenance": dict(data.provenance),
    }


def _method(method: MethodResult) -> dict[str, Any]:
    protocols = {
        name: _protocol(
            result, method.confidences[name], method.confidences_by_database_level[name]
        )
        for name, result in method.protocols.items()
    }
    estimates = method.estimates
    if estimates is None:
        return {"protocols": protocols}
    return {
        "protocols": protocols,
        "estimates": {
            **asdict(estimates.overall()),
            "by_blur_level": {
                str(level): asdict(errors) for level, errors in estimates.by_blur_level().items()
            },
        },
    }


def _protocol(
    result: Result, confidence: Confidence, by_database_level: Mapping[int, Confidence]
) -> dict[str, Any]:
    document = {
        **_scores(result, PAPER_DENOMINATOR),
        "num_queries": result.num_queries,
        "num_queries_by_blur_level": _text_keys(result.num_queries_by_blur_level),
        "num_queries_without_positives": result.num_queries_without_positives,
        "num_database": result.num_database,
        "k": result.k,
        "confidence": {
            "level": CONFIDENCE_LEVEL,
            **{name: _interval(confidence, name) for name in DENOMINATORS},
        },
        **{name: _scores(result, name) for name in DENOMINATORS},
    }
    if result.by_database_blur_level:
        document["by_database_blur_level"] = {
            str(level): _protocol(alone, by_database_level[level], {})
            for level, alone in sorted(result.by_database_blur_level.items())
        }
    return document


def _scores(result: Result, denominator: str) -> dict[str, Any]:
    by_level = {level: m[denominator] for level, m in result.map_by_query_blur_level.items()}
    scores = {"map": result.map[denominator], "map_by_query_blur_level": _text_keys(by_level)}
    if isinstance(result, PerLevelResult):
        scores["range"], scores["std"] = result.spread(denominator)
    return scores


def _interval(confidence: Confidence, denominator: str) -> dict[str, Any]:
    by_level = {
        level: list(m[denominator]) for level, m in confidence.map_by_query_blur_level.items()
    }
    return {
        "map": list(confidence.map[denominator]),
        "map_by_query_blur_level": _text_keys(by_level),
    }


def _text_keys(by_level: Mapping[int, Any]) -> dict[str, Any]:
    return {str(level): value for level, value in sorted(by_level.items())}
