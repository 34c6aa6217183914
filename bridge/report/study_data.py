"""What the report of a study is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bridge.metrics.repeats import Difference, Repeats, difference
from bridge.report.scores import Grid, Scores


@dataclass(frozen=True)
class Cost:
    """Of one training: images seen with repetition, and time on cores and GPUs.

    `parameters` are without the classifier.
    """

    passes: int
    parameters: int
    core_hours: float
    gpu_hours: float


@dataclass(frozen=True)
class Studied:
    """A configuration: its trainings' scores by protocol, its seeds, and what each of them cost.

    `tables` has the name of its row by the number of the paper's table.
    """

    name: str
    tables: Mapping[str, str]
    seeds: tuple[int, ...]
    protocols: Mapping[str, Repeats]
    costs: tuple[Cost, ...]


@dataclass(frozen=True)
class StudyData:
    """Everything in the report of a study.

    `reference` is the name of the configuration from which differences are told; `missing` names
    runs that are not finished. Raises ValueError for two configurations of one name, and where
    they were evaluated on different queries or databases.
    """

    title: str
    reference: str
    studied: tuple[Studied, ...]
    missing: tuple[str, ...]
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        names = [one.name for one in self.studied]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"A study needs configurations of distinct names, not {names}.")

    def protocol_names(self) -> list[str]:
        """Names of all protocols, in the order of their first appearance."""
        return list(dict.fromkeys(name for one in self.studied for name in one.protocols))

    def in_table(self, table: str, protocol: str) -> dict[str, Repeats]:
        """The trainings of a table's rows, by their names in it, evaluated under a protocol."""
        return {
            one.tables[table]: one.protocols[protocol]
            for one in self.studied
            if table in one.tables and protocol in one.protocols
        }

    @cached_property
    def differences(self) -> dict[str, dict[str, Difference]]:
        """By protocol and configuration: how much higher each is than the reference."""
        reference = next((one for one in self.studied if one.name == self.reference), None)
        if reference is None:
            return {}
        return {
            protocol: {
                one.name: difference(one.protocols[protocol], repeats)
                for one in self.studied
                if one.name != self.reference and protocol in one.protocols
            }
            for protocol, repeats in reference.protocols.items()
        }


def mean_scores(repeats: Repeats) -> Scores:
    """Means over seeds in percent."""
    return Scores(100 * repeats.map, _percent(repeats.by_query_blur_level()))


def mean_grid(repeats: Repeats) -> Grid:
    """Means over seeds in percent by database blur level; its spread is that of the means."""
    return Grid(
        {
            level: Scores(
                100 * repeats.map_of_database_blur_level(level),
                _percent(repeats.by_query_blur_level(level)),
            )
            for level in repeats.database_blur_levels
        }
    )


def mean_cost(costs: tuple[Cost, ...]) -> Cost:
    """Of the runs of a configuration."""
    return Cost(
        passes=round(np.mean([cost.passes for cost in costs])),
        parameters=costs[0].parameters,
        core_hours=float(np.mean([cost.core_hours for cost in costs])),
        gpu_hours=float(np.mean([cost.gpu_hours for cost in costs])),
    )


def _percent(by_level: Mapping[int, float]) -> dict[int, float]:
    return {level: 100 * value for level, value in by_level.items()}
