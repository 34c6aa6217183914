"""Tests of bridge/index/rerank.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.index import rerank
from bridge.index.config import AlphaQE, Rerank, SuperGlobal, rerank_of
from bridge.index.layouts import Layout, layouts, new_index
from bridge.index.rerank import expanded_queries, new_order, search_reranked
from bridge.index.search import build_index, load_index, save_index, search

RERANKS = (AlphaQE(), SuperGlobal(), SuperGlobal(candidates=7, nearest=3), AlphaQE(3, 0.5))
each_rerank = pytest.mark.parametrize("options", RERANKS, ids=str)


def at(*degrees: float) -> np.ndarray:
    """Descriptors on the unit circle."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def unit_rows(count: int, dimension: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def literal_scores(query: np.ndarray, rows: np.ndarray, options: SuperGlobal) -> np.ndarray:
    """The scores of SuperGlobal re-ranking in float64, one row at a time."""
    refined = []
    for place, row in enumerate(rows):
        others = [other for other in range(len(rows)) if other != place]
        others.sort(key=lambda other: -float(row @ rows[other]))
        total, weights = row.copy(), 1.0
        for other in others[: options.nearest]:
            weight = options.beta * max(float(row @ rows[other]), 0.0)
            total, weights = total + weight * rows[other], weights + weight
        refined.append(total / weights)
    first = np.array([query @ row for row in refined])
    leaders = sorted(range(len(rows)), key=lambda place: -first[place])[: options.nearest + 1]
    pooled = np.max([refined[place] for place in leaders], axis=0)
    return (first + [pooled @ row for row in refined]) / 2


def test_the_best_results_turn_the_query_towards_them() -> None:
    # 60 degrees on the side of the best two overtakes 50 degrees on the other side.
    index, query = build_index(at(30, 35, -50, 60)), at(0)
    assert search(index, query, 4)[1].tolist() == [[0, 1, 2, 3]]
    similarities, rows = search_reranked(index, query, 4, AlphaQE(neighbours=2))
    assert rows.tolist() == [[0, 1, 3, 2]]
    expected = np.cos(np.radians([30, 35, 60, 50]))
    np.testing.assert_allclose(similarities[0], expected, atol=1e-6)


def test_results_are_weighted_by_a_power_of_their_similarity() -> None:
    query, best = at(0), at(30, 60)
    made = expanded_queries(query, best[None], AlphaQE(2, 3.0))
    summed = query[0] + np.cos(np.pi / 6) ** 3 * best[0] + 0.5**3 * best[1]
    np.testing.assert_allclose(made[0], summed / np.linalg.norm(summed), rtol=1e-6)
    even = expanded_queries(query, best[None], AlphaQE(2, 0.0))
    np.testing.assert_allclose(even[0], at(30)[0], rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 3.0])
def test_opposites_and_missing_rows_weigh_nothing(alpha: float) -> None:
    best = np.stack([at(20)[0], at(100)[0], at(180)[0], np.zeros(2, np.float32)])
    made = expanded_queries(at(0), best[None], AlphaQE(4, alpha))
    np.testing.assert_array_equal(made, expanded_queries(at(0), best[None, :1], AlphaQE(1, alpha)))


def test_what_is_like_the_best_result_overtakes_what_has_other_friends() -> None:
    # Rows at 10 and 32 degrees refine each other, those at -30 and -69 pull each other away.
    query, rows = at(0), at(10, -30, 32, -69)
    index, options = build_index(rows), SuperGlobal(nearest=1, beta=1.0)
    assert search(index, query, 4)[1].tolist() == [[0, 1, 2, 3]]
    scores = literal_scores(query[0].astype(float), rows.astype(float), options)
    assert scores[2] > scores[1] + 0.1
    found = search_reranked(index, query, 4, options)[1][0].tolist()
    assert found == np.argsort(-scores).tolist() and found.index(2) < found.index(1)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 40),
    nearest=st.integers(1, 12),
    beta=st.sampled_from([0.0, 0.15, 2.0]),
)
def test_the_order_is_that_of_the_scores(seed: int, count: int, nearest: int, beta: float) -> None:
    options = SuperGlobal(nearest=nearest, beta=beta)
    queries, rows = unit_rows(3, 6, seed), unit_rows(count, 6, seed + 1)
    best = np.take_along_axis(rows[None], np.argsort(-queries @ rows.T, axis=1)[..., None], axis=1)
    for query, near, order in zip(queries, best, new_order(queries, best, options), strict=True):
        scores = literal_scores(query.astype(float), near.astype(float), options)
        assert sorted(order.tolist()) == list(range(count))
        np.testing.assert_allclose(scores[order], -np.sort(-scores), atol=1e-5)


@pytest.mark.parametrize("options", [AlphaQE(neighbours=0), SuperGlobal(nearest=0), None])
def test_without_neighbours_it_is_the_plain_search(options: Rerank | None) -> None:
    index, queries = build_index(unit_rows(200, 8, seed=0)), unit_rows(9, 8, seed=1)
    similarities, rows = search_reranked(index, queries, 12, options)
    plain = search(index, queries, 12)
    np.testing.assert_array_equal(rows, plain[1])
    np.testing.assert_allclose(similarities, plain[0], atol=1e-6)


def test_equal_scores_keep_the_order_of_the_search() -> None:
    rows = np.repeat(at(10), 5, axis=0)
    assert new_order(at(0), rows[None], SuperGlobal(nearest=2)).tolist() == [[0, 1, 2, 3, 4]]


def test_those_behind_the_candidates_stay_there() -> None:
    index, queries = build_index(unit_rows(300, 8, seed=2)), unit_rows(20, 8, seed=3)
    plain = search(index, queries, 30)[1]
    rows = search_reranked(index, queries, 30, SuperGlobal(candidates=10, nearest=4))[1]
    np.testing.assert_array_equal(rows[:, 10:], plain[:, 10:])
    np.testing.assert_array_equal(np.sort(rows[:, :10]), np.sort(plain[:, :10]))
    assert (rows[:, :10] != plain[:, :10]).any()
    # Candidates beyond the results that are asked for have a part in their order.
    few = search_reranked(index, queries, 3, SuperGlobal(candidates=10, nearest=4))[1]
    np.testing.assert_array_equal(few, rows[:, :3])


@each_rerank
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_database_is_irrelevant(options: Rerank, seed: int) -> None:
    database, queries = unit_rows(80, 12, seed), unit_rows(4, 12, seed + 1)
    lots = np.random.default_rng(seed).permutation(len(database))
    one = search_reranked(build_index(database), queries, 10, options)
    other = search_reranked(build_index(database[lots]), queries, 10, options)
    np.testing.assert_allclose(other[0], one[0], atol=1e-5)
    np.testing.assert_array_equal(lots[other[1]], one[1])


@each_rerank
def test_queries_have_nothing_to_do_with_each_other(
    options: Rerank, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, queries = build_index(unit_rows(500, 16, seed=4)), unit_rows(15, 16, seed=5)
    together = search_reranked(index, queries, 8, options)
    monkeypatch.setattr(rerank, "_BLOCK_BYTES", 1)
    for ours, theirs in zip(search_reranked(index, queries, 8, options), together, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@each_rerank
@pytest.mark.parametrize("layout", layouts(600, 16), ids=lambda layout: layout.factory)
@pytest.mark.parametrize("few", [False, True])
def test_filters_decide_what_the_database_is(
    options: Rerank, layout: Layout, few: bool, tmp_path: Path
) -> None:
    database, queries = unit_rows(600, 16, seed=6), unit_rows(5, 16, seed=7)
    made = new_index(layout, 16, database)
    made.add(database)
    save_index(made, tmp_path / "index.faiss")
    index = load_index(tmp_path / "index.faiss", mmap=True)
    allowed = np.arange(600) < 3 if few else np.arange(600) % 2 == 0
    similarities, rows = search_reranked(index, queries, 9, options, allowed=allowed)
    assert rows.shape == similarities.shape == (5, 9)
    for numbers, scores in zip(rows, similarities, strict=True):
        found = numbers[numbers >= 0]
        assert allowed[found].all() and len(set(found.tolist())) == len(found)
        # Missing rows come last.
        assert (numbers[len(found) :] == -1).all() and np.isneginf(scores[len(found) :]).all()
        assert len(found) == 3 or not few
    if layout.type == "exact":
        own = search_reranked(build_index(database[allowed]), queries, 9, options)[1]
        np.testing.assert_array_equal(rows[:, : own.shape[1]], np.flatnonzero(allowed)[own])


@each_rerank
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_database_of_almost_nothing(options: Rerank, count: int) -> None:
    index = build_index(unit_rows(3, 4, seed=0)[:count].reshape(count, 4))
    similarities, rows = search_reranked(index, unit_rows(2, 4, seed=1), 5, options)
    assert rows.shape == similarities.shape == (2, count)
    assert (np.sort(rows) == np.arange(count)).all()
    allowed = np.zeros(count, bool)
    rows = search_reranked(index, unit_rows(2, 4, seed=1), 5, options, allowed=allowed)[1]
    assert (rows == -1).all()


@each_rerank
def test_unusable_queries_are_refused(options: Rerank) -> None:
    index = build_index(unit_rows(3, 4, seed=0))
    with pytest.raises(ValueError, match="dimensions"):
        search_reranked(index, np.zeros((1, 5)), 1, options)
    with pytest.raises(ValueError, match="top must be"):
        search_reranked(index, np.zeros((1, 4)), 0, options)


def test_options_have_ranges_and_names() -> None:
    with pytest.raises(InputError, match="`neighbours` must be at least 0"):
        AlphaQE(neighbours=-1)
    with pytest.raises(InputError, match="`candidates` must be at most 4096"):
        SuperGlobal(candidates=5000)
    aqe, superglobal = AlphaQE(3), SuperGlobal(30)
    assert rerank_of("none", aqe, superglobal) is None
    assert rerank_of("aqe", aqe, superglobal) is aqe
    assert rerank_of("superglobal", aqe, superglobal) is superglobal
