"""Tests of bridge/metrics/results.py: summaries over levels, and merging blocks of queries."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from bridge.metrics import (
    DENOMINATORS,
    PerLevelResult,
    RetrievalResult,
    evaluate_by_database_blur_level,
    evaluate_retrieval,
    merge_results,
)

SIZE = (90, 700)


def case(seed: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    queries, database = SIZE
    return {
        "query_descriptors": generator.integers(-2, 3, (queries, 5)).astype(np.float32),
        "database_descriptors": generator.integers(-2, 3, (database, 5)).astype(np.float32),
        "query_labels": generator.integers(0, 12, queries),
        "database_labels": generator.integers(-1, 11, database),
        "query_blur_levels": generator.integers(1, 5, queries),
        "database_blur_levels": generator.integers(1, 4, database),
    }


def queries_of(arguments: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    return {
        name: value[rows] if name.startswith("query") else value
        for name, value in arguments.items()
    }


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal to the last bit, field by field."""
    assert type(ours) is type(theirs)
    for field in fields(ours):
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name == "by_database_blur_level":
            assert list(mine) == list(other)
            for level in mine:
                assert_same(mine[level], other[level])
        else:
            np.testing.assert_equal(mine, other)


@pytest.mark.parametrize("evaluate", [evaluate_retrieval, evaluate_by_database_blur_level])
@pytest.mark.parametrize("k", [None, 3])
def test_merged_blocks_of_queries_equal_one_evaluation(evaluate: Any, k: int | None) -> None:
    arguments = case()
    parts = [
        evaluate(**queries_of(arguments, rows), k=k)
        for rows in np.split(np.arange(SIZE[0]), [1, 40, 77])
    ]
    assert_same(merge_results(parts), evaluate(**arguments, k=k))


def test_merged_results_without_blur_levels_have_none() -> None:
    arguments = {name: value for name, value in case().items() if "levels" not in name}
    halves = [queries_of(arguments, rows) for rows in np.split(np.arange(SIZE[0]), 2)]
    merged = merge_results([evaluate_retrieval(**half) for half in halves])
    assert_same(merged, evaluate_retrieval(**arguments))
    assert merged.map_by_query_blur_level == {}


def test_results_that_do_not_belong_together_are_not_merged() -> None:
    arguments = case()
    result = evaluate_retrieval(**arguments)
    smaller = arguments | {
        name: arguments[name][:600]
        for name in ("database_descriptors", "database_labels", "database_blur_levels")
    }
    others = [
        evaluate_retrieval(**arguments, k=5),
        evaluate_retrieval(**smaller),
        evaluate_retrieval(**(arguments | {"query_blur_levels": None})),
        evaluate_retrieval(**(arguments | {"database_blur_levels": None})),
        evaluate_by_database_blur_level(**arguments),
    ]
    for other in others:
        with pytest.raises(ValueError, match="can be merged"):
            merge_results([result, other])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="can be merged"):
        merge_results([])


@pytest.fixture(scope="module")
def per_level() -> PerLevelResult:
    return evaluate_by_database_blur_level(**case(1), k=20)


@pytest.mark.parametrize("denominator", DENOMINATORS)
def test_cells_are_means_over_the_queries_of_a_level(
    per_level: PerLevelResult, denominator: str
) -> None:
    levels = case(1)["query_blur_levels"]
    cells = per_level.cells(denominator)
    assert cells.shape == (3, 4)
    for row, result in zip(cells, per_level.by_database_blur_level.values(), strict=True):
        precision = result.average_precision[denominator]
        expected = [precision[levels == level].mean() for level in (1, 2, 3, 4)]
        np.testing.assert_allclose(row, expected)
    spread = cells.max() - cells.min(), np.sqrt(((cells - cells.mean()) ** 2).mean())
    assert per_level.spread(denominator) == pytest.approx(spread)


def test_spread_of_the_papers_table() -> None:
    """Table 4, "Ours": range 53.68 and standard deviation 15.65 of these cells."""
    cells = [
        [95.09, 94.24, 91.54, 87.19, 80.91, 68.15],
        [93.07, 94.65, 92.18, 88.77, 82.03, 67.18],
        [91.70, 93.18, 92.32, 89.83, 83.41, 68.94],
        [88.12, 90.11, 90.09, 89.31, 84.37, 70.35],
        [73.87, 74.90, 76.04, 77.39, 83.06, 71.67],
        [43.43, 41.41, 42.89, 44.55, 58.13, 69.59],
    ]
    result = PerLevelResult(
        {
            level: RetrievalResult(
                map={},
                map_by_query_blur_level={
                    query_level: {"retrieved": value} for query_level, value in enumerate(row, 1)
                },
                average_precision={},
                num_queries=0,
                num_queries_by_blur_level={},
                num_queries_without_positives=0,
                num_database=0,
                k=100,
            )
            for level, row in enumerate(cells, 1)
        }
    )
    extent, deviation = result.spread()
    assert extent == pytest.approx(53.68, abs=0.005)
    assert deviation == pytest.approx(15.65, abs=0.005)


def test_levels_are_averaged_and_counted(per_level: PerLevelResult) -> None:
    results = list(per_level.by_database_blur_level.values())
    assert per_level.k == 20
    assert per_level.num_queries == SIZE[0]
    assert per_level.num_database == SIZE[1]
    assert sum(per_level.num_queries_by_blur_level.values()) == SIZE[0]
    without = [result.num_queries_without_positives for result in results]
    assert per_level.num_queries_without_positives == sum(without) > 0
    for name in DENOMINATORS:
        assert per_level.map[name] == pytest.approx(np.mean([r.map[name] for r in results]))
        column = [scores[name] for scores in per_level.map_by_query_blur_level.values()]
        np.testing.assert_allclose(column, per_level.cells(name).mean(axis=0))


def test_confidence_is_about_the_printed_means(per_level: PerLevelResult) -> None:
    for result in (per_level, evaluate_retrieval(**case(1))):
        confidence = result.confidence(level=0.9, samples=200, seed=1)
        for name in DENOMINATORS:
            low, high = confidence.map[name]
            assert low < result.map[name] < high
            for level, scores in result.map_by_query_blur_level.items():
                low, high = confidence.map_by_query_blur_level[level][name]
                assert low <= scores[name] <= high
        assert confidence == result.confidence(level=0.9, samples=200, seed=1)
        assert confidence != result.confidence(level=0.9, samples=200, seed=2)
