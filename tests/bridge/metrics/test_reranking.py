"""Tests of bridge/metrics/reranking.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import metrics
from bridge.metrics import Reranking, best_rows

BACKWARDS = Reranking(5, lambda queries, best: best[:, ::-1])


def case(seed: int, num_queries: int = 30, num_database: int = 200) -> tuple[np.ndarray, ...]:
    """Small integers: their similarities are exact, and often equal."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(-2, 3, (num_queries, 6)).astype(np.float32),
        rng.integers(-2, 3, (num_database, 6)).astype(np.float32),
        rng.integers(-1, 8, num_queries),
        rng.integers(-1, 8, num_database),
    )


def literal(
    query: np.ndarray, database: np.ndarray, hits: np.ndarray, k: int | None, depth: int
) -> dict[str, float]:
    """Average precision of the ranking whose first rows are turned round."""
    ranking = np.argsort(-(database @ query), kind="stable")
    ranking[:depth] = ranking[:depth][::-1]
    return metrics.average_precision(1 + np.flatnonzero(hits[ranking]), int(hits.sum()), k)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("k", [1, 7, 150, 400])
def test_the_first_rows_are_those_of_a_stable_sort(device: str, k: int) -> None:
    queries, database, _, _ = case(0)
    expected = np.argsort(-(queries @ database.T), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(best_rows(queries, database, k, device=device), expected)
    rows = np.arange(3, 200, 2)
    own = np.argsort(-(queries @ database[rows].T), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(best_rows(queries, database, k, rows, device=device), rows[own])


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    k=st.sampled_from([None, 1, 4, 5, 6, 50, 500]),
    depth=st.sampled_from([1, 5, 60, 999]),
    device=st.sampled_from(["cpu", "cpu:0"]),
)
def test_equals_the_ranking_written_out(seed: int, k: int | None, depth: int, device: str) -> None:
    queries, database, query_labels, labels = case(seed)
    result = metrics.evaluate_retrieval(
        queries,
        database,
        query_labels,
        labels,
        k=k,
        reranking=Reranking(depth, BACKWARDS.order),
        device=device,
    )
    for row, (query, label) in enumerate(zip(queries, query_labels, strict=True)):
        hits = (labels == label) & (label >= 0)
        for name, value in literal(query, database, hits, k, depth).items():
            assert result.average_precision[name][row] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("k", [None, 3, 40])
def test_every_blur_level_is_a_database_of_its_own(k: int | None) -> None:
    queries, database, query_labels, labels = case(1)
    levels, query_levels = np.arange(200) % 3 + 1, np.arange(30) % 2 + 1
    result = metrics.evaluate_by_database_blur_level(
        queries, database, query_labels, labels, k=k, reranking=BACKWARDS,
        query_blur_levels=query_levels, database_blur_levels=levels,
    )  # fmt: skip
    for level, one in result.by_database_blur_level.items():
        rows = levels == level
        alone = metrics.evaluate_retrieval(
            queries, database[rows], query_labels, labels[rows], k=k, reranking=BACKWARDS,
            query_blur_levels=query_levels,
        )  # fmt: skip
        assert one.map == alone.map
        assert one.map_by_query_blur_level == alone.map_by_query_blur_level
        assert one.num_queries_without_positives == alone.num_queries_without_positives


@pytest.mark.parametrize("k", [None, 3, 40])
def test_the_order_as_it_was_gives_the_plain_result(k: int | None) -> None:
    plain = metrics.evaluate_retrieval(*case(2), k=k)
    same = metrics.evaluate_retrieval(*case(2), k=k, reranking=Reranking(9, lambda _, best: best))
    for name, values in plain.average_precision.items():
        np.testing.assert_allclose(same.average_precision[name], values, rtol=1e-12)


def test_other_rows_than_the_first_are_refused() -> None:
    def order(queries: np.ndarray, best: np.ndarray) -> np.ndarray:
        return best + 1

    with pytest.raises(ValueError, match="must return the rows"):
        metrics.evaluate_retrieval(*case(3), reranking=Reranking(5, order))
