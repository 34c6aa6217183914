"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from bridge.metrics import PerLevelResult, RetrievalResult
from bridge.metrics.confidence import Confidence
from bridge.report.estimates import Estimates
from bridge.report.gallery import Gallery

CONFIDENCE_LEVEL = 0.95

Result = RetrievalResult | PerLevelResult


@dataclass(frozen=True)
class MethodResult:
    """One method (e.g. "BRIDGE", "untrained"): what it scored under each protocol.

    `estimates` is what its heads said about images whose blur and box are known.
    """

    name: str
    protocols: Mapping[str, Result]
    estimates: Estimates | None = None

    @cached_property
    def confidences(self) -> dict[str, Confidence]:
        """95 % confidence intervals by protocol."""
        return {
            name: result.confidence(level=CONFIDENCE_LEVEL)
            for name, result in self.protocols.items()
        }

    @cached_property
    def confidences_by_database_level(self) -> dict[str, dict[int, Confidence]]:
        """95 % confidence intervals by protocol and by the database's blur level."""
        return {
            name: {
                level: alone.confidence(level=CONFIDENCE_LEVEL)
                for level, alone in result.by_database_blur_level.items()
            }
            for name, result in self.protocols.items()
        }


@dataclass(frozen=True)
class ReportData:
    """Everything in a report. The first method is the one reported on, the others compare.

    `provenance` is the JSON-valid record of all that went in: hashes, configurations, counts.
    `blur_severities` has the BS, float [N] in 0..1, NaN unknown, of the images in each role
    (e.g. "queries", "database", "distractors").
    Raises ValueError without a method, for two methods of one name, and where methods were
    evaluated on different queries, databases or cut-offs under one protocol.
    """

    title: str
    methods: tuple[MethodResult, ...]
    galleries: tuple[Gallery, ...]
    provenance: Mapping[str, Any]
    blur_severities: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"A report needs methods of distinct names, not {names}.")
        for protocol in self.protocol_names():
            sizes = {
                (type(r), r.num_queries, r.num_database, r.k)
                for r in self.results(protocol).values()
            }
            if len(sizes) > 1:
                raise ValueError(f"Methods were evaluated on different data under {protocol!r}.")

    def protocol_names(self) -> list[str]:
        """Names of all protocols, in the order of their first appearance."""
        return list(dict.fromkeys(name for method in self.methods for name in method.protocols))

    def evaluated(self, protocol: str) -> list[MethodResult]:
        """The methods evaluated under this protocol."""
        return [method for method in self.methods if protocol in method.protocols]

    def results(self, protocol: str) -> dict[str, Result]:
        """Result by method name, of the methods evaluated under this protocol."""
        return {method.name: method.protocols[protocol] for method in self.evaluated(protocol)}
