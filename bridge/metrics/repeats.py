"""Trainings repeated with several seeds: their mean, its spread, and differences on equal queries.

What seeds change and what the choice of query objects changes are two things and are told apart:
the spread is over seeds, the interval over objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bridge.metrics.confidence import bootstrap
from bridge.metrics.results import PerLevelResult, RetrievalResult

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Interval = tuple[float, float]

DENOMINATOR = "retrieved"
"""Of the average precision that is compared: the paper's."""
_NAME = "map"


@dataclass(frozen=True)
class Repeats:
    """Average precision of equal queries against an equal database, by training.

    `average_precision`: float64 [S, D, Q], fractions by seed, database blur level and query; D is 1
    where the database is searched as a whole.
    `query_labels`, `query_blur_levels`: int64 [Q].
    `database_blur_levels`: ascending, one for each of D; empty where the database is a whole.
    `num_database`: rows, of all levels together.
    `k`: the cut-off, None for the whole database.
    """

    average_precision: Float64
    query_labels: Int64
    query_blur_levels: Int64
    database_blur_levels: tuple[int, ...]
    num_database: int
    k: int | None

    @property
    def num_seeds(self) -> int:
        """S."""
        return len(self.average_precision)

    @property
    def num_queries(self) -> int:
        """Q."""
        return len(self.query_labels)

    @property
    def by_query(self) -> Float64:
        """Mean over seeds and database levels, float64 [Q]."""
        means: Float64 = self.average_precision.mean(axis=(0, 1))
        return means

    @property
    def by_seed(self) -> Float64:
        """mAP of each training, float64 [S]."""
        means: Float64 = self.average_precision.mean(axis=(1, 2))
        return means

    @property
    def map(self) -> float:
        """Mean of the mAPs."""
        return float(self.average_precision.mean())

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the mAPs over seeds; None of a single one."""
        return float(self.by_seed.std(ddof=1)) if self.num_seeds > 1 else None

    def by_query_blur_level(self, database_blur_level: int | None = None) -> dict[int, float]:
        """Mean mAP by query blur level: of all database levels, or of one."""
        if database_blur_level is None:
            values = self.by_query
        else:
            row = self.database_blur_levels.index(database_blur_level)
            values = self.average_precision[:, row].mean(axis=0)
        return {
            int(level): float(values[self.query_blur_levels == level].mean())
            for level in np.unique(self.query_blur_levels)
        }

    def map_of_database_blur_level(self, level: int) -> float:
        """Mean mAP of all queries against the database of one level."""
        return float(self.average_precision[:, self.database_blur_levels.index(level)].mean())

    def intervals(self) -> tuple[Interval, dict[int, Interval]]:
        """95 % intervals over query objects of the mean over seeds, and by query blur level."""
        return _intervals(self.by_query, self)


@dataclass(frozen=True)
class Difference:
    """How much higher one method's mAP is than another's on the same queries.

    `map`, `interval`: the difference of the means over seeds, and its 95 % interval over objects.
    `by_query_blur_level`: the same by level.
    `seeds_apart`: whether every training of the one is on one side of every one of the other; None
    where both were trained once.
    """

    map: float
    interval: Interval
    by_query_blur_level: dict[int, tuple[float, Interval]]
    seeds_apart: bool | None

    @property
    def counts(self) -> bool:
        """Whether the interval leaves out 0 and no two seeds contradict each other.

        Without repeated trainings nothing is known of seeds, and no difference counts.
        """
        low, high = self.interval
        return bool(self.seeds_apart) and not low <= 0 <= high


def repeats_of(result: RetrievalResult | PerLevelResult) -> Repeats:
    """A single training's result; ValueError where the labels or levels of queries are missing."""
    rows = [result]
    if isinstance(result, PerLevelResult):
        rows = list(result.by_database_blur_level.values())  # type: ignore[arg-type]
    first = rows[0]
    assert isinstance(first, RetrievalResult)
    if not len(first.query_labels) == len(first.query_blur_levels) == first.num_queries:
        raise ValueError("Repeats need the label and the blur level of every query.")
    return Repeats(
        np.stack([row.average_precision[DENOMINATOR] for row in rows])[None],  # type: ignore[union-attr]
        first.query_labels,
        first.query_blur_levels,
        tuple(result.by_database_blur_level) if isinstance(result, PerLevelResult) else (),
        result.num_database,
        result.k,
    )


def joined(parts: Sequence[Repeats]) -> Repeats:
    """All trainings together, in order; ValueError where queries or databases differ."""
    first = parts[0]
    for part in parts[1:]:
        _refuse_other(first, part)
    return replace(first, average_precision=np.concatenate([p.average_precision for p in parts]))


def difference(one: Repeats, other: Repeats) -> Difference:
    """How much higher `one` is than `other`; ValueError where queries or databases differ."""
    _refuse_other(one, other)
    values = one.by_query - other.by_query
    interval, by_level = _intervals(values, one)
    apart = one.by_seed.min() > other.by_seed.max() or one.by_seed.max() < other.by_seed.min()
    means = {level: one.by_query_blur_level()[level] for level in by_level}
    others = other.by_query_blur_level()
    return Difference(
        map=one.map - other.map,
        interval=interval,
        by_query_blur_level={
            level: (means[level] - others[level], bounds) for level, bounds in by_level.items()
        },
        seeds_apart=bool(apart) if max(one.num_seeds, other.num_seeds) > 1 else None,
    )


def _intervals(values: Float64, of: Repeats) -> tuple[Interval, dict[int, Interval]]:
    found = bootstrap({_NAME: values}, of.query_labels, of.query_blur_levels)
    by_level = {level: m[_NAME] for level, m in found.map_by_query_blur_level.items()}
    return found.map[_NAME], by_level


def _refuse_other(one: Repeats, other: Repeats) -> None:
    same = (
        (one.database_blur_levels, one.num_database, one.k)
        == (other.database_blur_levels, other.num_database, other.k)
        and np.array_equal(one.query_labels, other.query_labels)
        and np.array_equal(one.query_blur_levels, other.query_blur_levels)
    )
    if not same:
        raise ValueError("Only trainings evaluated on the same queries and database compare.")
