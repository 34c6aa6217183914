"""Tests of bridge/metrics/ranking.py and ranking_torch.py: one result, however computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.metrics import ranking, ranking_torch
from bridge.metrics.ranking import PrecisionSums

Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
WAYS = pytest.mark.parametrize("k", [None, 3, 200])
"""The whole ranking, a small cut-off, and one that is large beside 1500 rows."""


def near_ties(seed: int, num_queries: int = 203, num_database: int = 1500) -> Case:
    """Unit descriptors, each of them many times in the database, and a last bit beside it."""
    generator = np.random.default_rng(seed)
    distinct = generator.standard_normal((60, 37)).astype(np.float32)
    distinct /= np.linalg.norm(distinct, axis=1, keepdims=True)
    database = distinct[generator.integers(60, size=num_database)]
    nudged = generator.random(database.shape) < 0.02
    database[nudged] = np.nextafter(database[nudged], np.float32(1))
    return (
        distinct[generator.integers(60, size=num_queries)],
        database,
        generator.integers(-1, 8, num_queries),
        generator.integers(-1, 8, num_database),
    )


def integers(seed: int, num_queries: int = 50, num_database: int = 1500) -> Case:
    """Small integers, whose products are exact and mostly equal to others."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(-2, 3, (num_queries, 6)).astype(np.float32),
        generator.integers(-2, 3, (num_database, 6)).astype(np.float32),
        generator.integers(-1, 12, num_queries),
        generator.integers(-1, 10, num_database),
    )


def assert_equal(ours: PrecisionSums, theirs: PrecisionSums, order: Sequence[int] | None = None):  # type: ignore[no-untyped-def]
    """Equal to the last bit."""
    for name in ("precision_sum", "num_found", "num_positives"):
        expected = getattr(theirs, name)
        expected = expected if order is None else expected[order]
        np.testing.assert_array_equal(getattr(ours, name), expected)


@WAYS
def test_equal_descriptors_are_equally_similar_wherever_they_stand(k: int | None) -> None:
    """Ranks of duplicates follow from their rows alone, as if every similarity were looked up."""
    queries, database, query_labels, database_labels = near_ties(0)
    distinct, place = np.unique(database, axis=0, return_inverse=True)
    ours = ranking.precision_sums(queries, database, query_labels, database_labels, k)
    for q, label in enumerate(query_labels):
        one = np.repeat(queries[q][None], 4, axis=0)
        similarities = np.empty((4, 512), np.float32)
        tile = ranking._packed(distinct, np.arange(len(distinct)))
        table = []
        for i in range(len(tile)):
            ranking._similarities(ranking._padded(one, 4), 0, tile[i], similarities)
            table.append(similarities[0].copy())
        scores = np.concatenate(table)[place]
        hits = (database_labels == label)[np.argsort(-scores, kind="stable")[:k]] & (label != -1)
        expected = (hits.cumsum() / np.arange(1, len(hits) + 1))[hits].sum()
        assert ours.num_found[q] == hits.sum()
        assert ours.precision_sum[q] == pytest.approx(expected, abs=1e-12)


def test_similarities_are_dot_products() -> None:
    queries, database, *_ = near_ties(1, num_queries=4)
    tiles = ranking._packed(database, np.arange(len(database)))
    scores = np.empty((4, 512), np.float32)
    ranking._similarities(ranking._padded(queries, 4), 0, tiles[1], scores)
    expected = queries.astype(float) @ database[512:1024].T.astype(float)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@WAYS
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_and_blocks_are_irrelevant(
    k: int | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = near_ties(2)
    whole = ranking.precision_sums(*case, k, threads=1)
    assert_equal(ranking.precision_sums(*case, k, threads=threads), whole)
    for num_bytes in (1, 200_000):
        monkeypatch.setattr(ranking, "_BLOCK_BYTES", num_bytes)
        assert_equal(ranking.precision_sums(*case, k, threads=threads), whole)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), k=st.sampled_from([None, 3, 200]))
def test_the_place_of_a_query_is_irrelevant(seed: int, k: int | None) -> None:
    queries, database, query_labels, database_labels = near_ties(seed, num_queries=41)
    whole = ranking.precision_sums(queries, database, query_labels, database_labels, k)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(queries))
    for rows in np.split(order, np.sort(generator.integers(0, len(order) + 1, 3))):
        if len(rows):
            part = ranking.precision_sums(
                queries[rows], database, query_labels[rows], database_labels, k
            )
            assert_equal(part, whole, rows)


@pytest.mark.parametrize("case", [integers(3), near_ties(3)])
@pytest.mark.parametrize("k", [1, 5, 23])
def test_both_ways_to_the_best_rows_agree(
    case: Case, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = ranking.precision_sums(*case, k)
    monkeypatch.setattr(ranking, "_SMALL_CUT_OFF", 10**9)
    counted = ranking.precision_sums(*case, k)
    assert counted.num_found.sum() > 0
    assert_equal(collected, counted)


def test_rising_similarities_are_collected_as_well() -> None:
    """Every row is above the threshold, so that the best are chosen again and again."""
    database = np.arange(3000, dtype=np.float32)[:, None]
    labels = np.arange(3000) // 10
    sums = ranking.precision_sums(
        np.ones((1, 1), np.float32), database, np.array([298]), labels, 15
    )
    assert sums.num_found[0] == 5
    assert sums.precision_sum[0] == pytest.approx(sum(i / (10 + i) for i in range(1, 6)))


@WAYS
def test_a_selection_of_rows_is_a_database_of_its_own(k: int | None) -> None:
    queries, database, query_labels, database_labels = integers(4)
    rows = np.flatnonzero(np.random.default_rng(4).random(len(database)) < 0.6)
    ours = ranking.precision_sums(queries, database, query_labels, database_labels, k, rows)
    copied = ranking.precision_sums(queries, database[rows], query_labels, database_labels[rows], k)
    assert_equal(ours, copied)
    theirs = ranking_torch.precision_sums(
        queries, database, query_labels, database_labels, k, rows, device="cpu"
    )
    np.testing.assert_array_equal(theirs.num_found, ours.num_found)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    num_database=st.integers(1, 700),
    k=st.none() | st.integers(1, 800),
    block=st.sampled_from([1, 7, 64]),
)
def test_torch_ranks_as_the_kernels_do(
    seed: int, num_database: int, k: int | None, block: int
) -> None:
    case = integers(seed, 20, num_database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking_torch, "_LARGEST_BLOCK", block)
        theirs = ranking_torch.precision_sums(*case, k, device="cpu")
    ours = ranking.precision_sums(*case, k)
    np.testing.assert_array_equal(theirs.num_found, ours.num_found)
    np.testing.assert_array_equal(theirs.num_positives, ours.num_positives)
    np.testing.assert_allclose(theirs.precision_sum, ours.precision_sum, rtol=1e-12)


def test_torch_bounds_its_memory_by_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    case = integers(5)
    whole = ranking_torch.precision_sums(*case, device="cpu")
    sizes = []
    product = ranking_torch._product
    monkeypatch.setattr(
        ranking_torch, "_product", lambda *a: sizes.append(len(a[0])) or product(*a)
    )
    monkeypatch.setattr(ranking_torch, "_BLOCK_BYTES", 3 * ranking_torch._SORTING_BYTES * 1500)
    assert_equal(ranking_torch.precision_sums(*case, device="cpu"), whole)
    assert sizes == [3] * 17


def test_torch_takes_no_tf32_and_leaves_the_choice_as_it_was() -> None:
    import torch

    torch.set_float32_matmul_precision("high")
    try:
        ranking_torch.precision_sums(*integers(6), 5, device="cpu")
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("values", [[-1.5, -0.0, 0.0, 1e-40, 3.0, -1e-40, 2.0, np.inf, -np.inf]])
def test_keys_order_by_similarity_then_row(values: list[float]) -> None:
    scores = np.array(values, np.float32)
    keys = [
        ranking._sort_key(bits, row) for row, bits in enumerate(scores.view(np.uint32).tolist())
    ]
    descending = np.argsort(-scores, kind="stable").tolist()
    assert sorted(range(len(keys)), key=lambda row: -int(keys[row])) == descending
    assert [ranking._score(np.uint64(key)) for key in keys] == scores.tolist()
