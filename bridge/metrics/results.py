"""What an evaluation of retrieval measured, and its summaries (paper, Sec. 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bridge.metrics.confidence import Confidence, bootstrap

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def _no_integers() -> Int64:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class RetrievalResult:
    """What one evaluation measured. Every mAP is a fraction in [0, 1].

    `map`: mAP over all queries by denominator.
    `map_by_query_blur_level`: the same over the queries of one level; only levels with queries.
    `average_precision`: float64 [Q] by denominator, in the order of the queries.
    `k`: the cut-off asked for, None for the whole database.
    `by_database_blur_level`: the same queries against the database images of one blur level alone;
    empty unless the database's blur levels were given.
    `query_labels`, `query_blur_levels`: int64 [Q]; the latter empty if not given.
    """

    map: dict[str, float]
    map_by_query_blur_level: dict[int, dict[str, float]]
    average_precision: dict[str, Float64]
    num_queries: int
    num_queries_by_blur_level: dict[int, int]
    num_queries_without_positives: int
    num_database: int
    k: int | None
    by_database_blur_level: dict[int, RetrievalResult] = field(default_factory=dict)
    query_labels: Int64 = field(default_factory=_no_integers)
    query_blur_levels: Int64 = field(default_factory=_no_integers)

    def confidence(self, level: float = 0.95, samples: int = 1000, seed: int = 0) -> Confidence:
        """Intervals of the mAPs by `bootstrap` over the objects of the queries."""
        return bootstrap(
            self.average_precision,
            self.query_labels,
            self.query_blur_levels,
            level=level,
            samples=samples,
            seed=seed,
        )


@dataclass(frozen=True)
class PerLevelResult:
    """The same queries against the database rows of one blur level at a time (paper, Table 4).

    `by_database_blur_level`: the results in ascending order of the level, at least one.
    """

    by_database_blur_level: dict[int, RetrievalResult]

    @property
    def map(self) -> dict[str, float]:
        """Mean over the database levels of their mAP, by denominator."""
        return self._means(lambda result: result.map)

    @property
    def map_by_query_blur_level(self) -> dict[int, dict[str, float]]:
        """The same by query blur level."""
        return {
            level: self._means(lambda result, level=level: result.map_by_query_blur_level[level])  # type: ignore[misc]
            for level in self._first.map_by_query_blur_level
        }

    @property
    def k(self) -> int | None:
        """The cut-off asked for, None for all rows of a level."""
        return self._first.k

    @property
    def num_queries(self) -> int:
        """Number of queries, which are the same for all database levels."""
        return self._first.num_queries

    @property
    def num_queries_by_blur_level(self) -> dict[int, int]:
        """The same by query blur level."""
        return self._first.num_queries_by_blur_level

    @property
    def num_database(self) -> int:
        """Number of database rows of all levels."""
        return sum(result.num_database for result in self._results)

    @property
    def num_queries_without_positives(self) -> int:
        """Sum over the database levels of the queries that have no positive there."""
        return sum(result.num_queries_without_positives for result in self._results)

    def cells(self, denominator: str = "retrieved") -> Float64:
        """mAP [database levels, query levels], both ascending (paper, Table 4)."""
        return np.array(
            [
                [scores[denominator] for scores in result.map_by_query_blur_level.values()]
                for result in self._results
            ]
        )

    def spread(self, denominator: str = "retrieved") -> tuple[float, float]:
        """Range and population standard deviation over all cells (paper, Table 4)."""
        cells = self.cells(denominator)
        return float(np.ptp(cells)), float(cells.std())

    def confidence(self, level: float = 0.95, samples: int = 1000, seed: int = 0) -> Confidence:
        """Intervals of `map` and `map_by_query_blur_level`, see `RetrievalResult.confidence`."""
        means = {
            name: np.mean([result.average_precision[name] for result in self._results], axis=0)
            for name in self._first.average_precision
        }
        first = self._first
        return bootstrap(
            means,
            first.query_labels,
            first.query_blur_levels,
            level=level,
            samples=samples,
            seed=seed,
        )

    @property
    def _results(self) -> list[RetrievalResult]:
        return list(self.by_database_blur_level.values())

    @property
    def _first(self) -> RetrievalResult:
        return self._results[0]

    def _means(self, scores: Callable[[RetrievalResult], dict[str, float]]) -> dict[str, float]:
        return {
            name: float(np.mean([scores(result)[name] for result in self._results]))
            for name in self._first.average_precision
        }


def summarise(
    average_precision: dict[str, Float64],
    query_labels: Int64,
    query_blur_levels: Int64,
    *,
    num_queries_without_positives: int,
    num_database: int,
    k: int | None,
    by_database_blur_level: dict[int, RetrievalResult] | None = None,
) -> RetrievalResult:
    """The result that queries with these average precisions have; arguments as its fields."""
    levels, counts = np.unique(query_blur_levels, return_counts=True)
    return RetrievalResult(
        map=_means(average_precision),
        map_by_query_blur_level={
            int(level): _means(
                {name: ap[query_blur_levels == level] for name, ap in average_precision.items()}
            )
            for level in levels
        },
        average_precision=average_precision,
        num_queries=len(query_labels),
        num_queries_by_blur_level=dict(zip(levels.tolist(), counts.tolist(), strict=True)),
        num_queries_without_positives=num_queries_without_positives,
        num_database=num_database,
        k=k,
        by_database_blur_level=by_database_blur_level or {},
        query_labels=query_labels,
        query_blur_levels=query_blur_levels,
    )


@overload
def merge_results(parts: Sequence[RetrievalResult]) -> RetrievalResult: ...


@overload
def merge_results(parts: Sequence[PerLevelResult]) -> PerLevelResult: ...


def merge_results(
    parts: Sequence[RetrievalResult] | Sequence[PerLevelResult],
) -> RetrievalResult | PerLevelResult:
    """The result of all queries from those of consecutive blocks of them against one database.

    It equals the result of one evaluation exactly.
    Raises ValueError for no parts, or for parts of different databases, cut-offs or kinds.
    """
    if len({_kind(part) for part in parts}) != 1:
        raise ValueError("Only results of one database and one cut-off can be merged.")
    by_level = {
        level: merge_results([part.by_database_blur_level[level] for part in parts])
        for level in parts[0].by_database_blur_level
    }
    blocks = [part for part in parts if isinstance(part, RetrievalResult)]
    if not blocks:
        return PerLevelResult(by_level)
    first = blocks[0]
    return summarise(
        {
            name: np.concatenate([block.average_precision[name] for block in blocks])
            for name in first.average_precision
        },
        np.concatenate([block.query_labels for block in blocks]),
        np.concatenate([block.query_blur_levels for block in blocks]),
        num_queries_without_positives=sum(block.num_queries_without_positives for block in blocks),
        num_database=first.num_database,
        k=first.k,
        by_database_blur_level=by_level,
    )


def _kind(part: RetrievalResult | PerLevelResult) -> tuple[object, ...]:
    has_levels = bool(part.num_queries_by_blur_level)
    return type(part), part.k, part.num_database, has_levels, *part.by_database_blur_level


def _means(per_query: dict[str, Float64]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in per_query.items()}
