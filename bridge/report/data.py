"""What a report is made of, and the same as the JSON document that other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.metrics import DENOMINATORS, RetrievalResult
from bridge.report.gallery import Gallery

PAPER_DENOMINATOR = "retrieved"


@dataclass(frozen=True)
class MethodResult:
    """One method (e.g. "BRIDGE", "untrained") and what it scored under each protocol."""

    name: str
    protocols: Mapping[str, RetrievalResult]


@dataclass(frozen=True)
class ReportData:
    """Everything in a report. The first method is the one reported on, the others compare.

    `provenance` is the JSON-valid record of all that went in: hashes, configurations, counts.
    Raises ValueError without a method, for two methods of one name, and where methods were
    evaluated on different queries, databases or cut-offs under one protocol.
    """

    title: str
    methods: tuple[MethodResult, ...]
    galleries: tuple[Gallery, ...]
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"A report needs methods of distinct names, not {names}.")
        for protocol in self.protocol_names():
            sizes = {(r.num_queries, r.num_database, r.k) for r in self.results(protocol).values()}
            if len(sizes) > 1:
                raise ValueError(f"Methods were evaluated on different data under {protocol!r}.")

    def protocol_names(self) -> list[str]:
        """Names of all protocols, in the order of their first appearance."""
        return list(dict.fromkeys(name for method in self.methods for name in method.protocols))

    def results(self, protocol: str) -> dict[str, RetrievalResult]:
        """Result by method name, of the methods evaluated under this protocol."""
        return {m.name: m.protocols[protocol] for m in self.methods if protocol in m.protocols}


def metrics_document(data: ReportData) -> dict[str, Any]:
    """The content of `metrics.json`. Every mAP is a fraction in [0, 1].

    `protocols.<name>` is the first method's; its `map` is the paper's figure, and the same under
    each named denominator follows. `compared.<method>.protocols` has the other methods alike.
    """
    first, *others = data.methods
    return {
        "title": data.title,
        "method": first.name,
        "protocols": _protocols(first),
        "compared": {method.name: {"protocols": _protocols(method)} for method in others},
        "provenance": dict(data.provenance),
    }


def _protocols(method: MethodResult) -> dict[str, Any]:
    return {name: _protocol(result) for name, result in method.protocols.items()}


def _protocol(result: RetrievalResult) -> dict[str, Any]:
    document = {
        **_scores(result, PAPER_DENOMINATOR),
        "num_queries": result.num_queries,
        "num_queries_by_blur_level": _text_keys(result.num_queries_by_blur_level),
        "num_queries_without_positives": result.num_queries_without_positives,
        "num_database": result.num_database,
        "k": result.k,
        **{name: _scores(result, name) for name in DENOMINATORS},
    }
    if result.by_database_blur_level:
        document["by_database_blur_level"] = {
            str(level): _protocol(alone) for level, alone in result.by_database_blur_level.items()
        }
    return document


def _scores(result: RetrievalResult, denominator: str) -> dict[str, Any]:
    by_level = {level: m[denominator] for level, m in result.map_by_query_blur_level.items()}
    return {"map": result.map[denominator], "map_by_query_blur_level": _text_keys(by_level)}


def _text_keys(by_level: Mapping[int, Any]) -> dict[str, Any]:
    return {str(level): value for level, value in sorted(by_level.items())}
