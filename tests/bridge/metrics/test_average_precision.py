"""Tests of bridge/metrics/average_precision.py against its literal definition and two peers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import metrics
from bridge.metrics import (
    DENOMINATORS,
    K_BY_PROTOCOL,
    average_precision,
    evaluate_by_database_blur_level,
    evaluate_retrieval,
)


def literal_average_precision(
    scores: np.ndarray, is_positive: np.ndarray, k: int | None
) -> dict[str, float]:
    """The definition: a full stable sort of one query's similarities."""
    order = np.argsort(-scores, kind="stable")[:k]
    hits = is_positive[order]
    precisions = hits.cumsum() / np.arange(1, len(order) + 1)
    total = precisions[hits].sum()
    positives = int(is_positive.sum())
    divisors = (int(hits.sum()), min(positives, k or positives), positives)
    return {n: total / d if d else 0.0 for n, d in zip(DENOMINATORS, divisors, strict=True)}


def literal_evaluation(
    queries: np.ndarray,
    database: np.ndarray,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    k: int | None,
) -> dict[str, np.ndarray]:
    """Average precision of every query, by denominator."""
    per_query = [
        literal_average_precision(scores, (database_labels == label) & (label != -1), k)
        for scores, label in zip(queries @ database.T, query_labels, strict=True)
    ]
    return {name: np.array([ap[name] for ap in per_query]) for name in DENOMINATORS}


def random_case(
    seed: int, num_queries: int = 30, num_database: int = 400, num_objects: int = 9
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors of small integers: float32 products are exact and many of them are equal."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(-2, 3, (num_queries, 5)).astype(np.float32),
        generator.integers(-2, 3, (num_database, 5)).astype(np.float32),
        generator.integers(-1, num_objects, num_queries),
        generator.integers(-1, num_objects - 1, num_database),
    )


def assert_per_query_equal(result: metrics.RetrievalResult, expected: dict[str, Any]) -> None:
    for name in DENOMINATORS:
        np.testing.assert_allclose(result.average_precision[name], expected[name], atol=1e-12)
        assert result.map[name] == pytest.approx(expected[name].mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (None, {"retrieved": 2 / 3, "capped": 2 / 3, "all": 2 / 3}),
        (2, {"retrieved": 1.0, "capped": 0.5, "all": 1 / 3}),
        (4, {"retrieved": 0.75, "capped": 0.5, "all": 0.5}),
    ],
)
def test_worked_example_with_positives_at_ranks_1_4_6(
    k: int | None, expected: dict[str, float]
) -> None:
    assert average_precision([1, 4, 6], 3, k) == pytest.approx(expected)
    scores = np.arange(6, 0, -1, dtype=np.float32)[:, None]
    result = evaluate_retrieval(np.ones((1, 1)), scores, [7], [7, 1, 2, 7, -1, 7], k=k)
    assert result.map == pytest.approx(expected)


def test_no_positive_in_the_top_k_scores_zero() -> None:
    assert average_precision([5], 1, 4) == dict.fromkeys(DENOMINATORS, 0.0)
    assert average_precision([], 0) == dict.fromkeys(DENOMINATORS, 0.0)


@pytest.mark.parametrize("ranks", [[0], [2, 2], [3, 1]])
def test_ranks_that_no_ranking_has_are_refused(ranks: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        average_precision(ranks, 5)


def test_more_ranks_than_positives_are_refused() -> None:
    with pytest.raises(ValueError, match="2 ranks for 1"):
        average_precision([1, 2], 1)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    num_database=st.integers(1, 1500),
    num_objects=st.integers(1, 40),
    k=st.none() | st.sampled_from([1, 5, 20, 100]) | st.integers(1, 2000),
)
def test_equals_the_literal_definition_with_many_ties(
    seed: int, num_database: int, num_objects: int, k: int | None
) -> None:
    case = random_case(seed, 8, num_database, num_objects)
    assert_per_query_equal(evaluate_retrieval(*case, k=k), literal_evaluation(*case, k))


@pytest.mark.parametrize("k", [None, 1, 10, 100])
def test_equals_the_literal_definition_on_continuous_similarities(k: int | None) -> None:
    generator = np.random.default_rng(3)
    labels, centres = generator.integers(20, size=2000), generator.standard_normal((20, 17))
    database = (centres[labels] + generator.standard_normal((2000, 17))).astype(np.float32)
    case = database[:200], database[200:], labels[:200], labels[200:]
    assert_per_query_equal(evaluate_retrieval(*case, k=k), literal_evaluation(*case, k))


def test_equal_similarities_rank_by_database_row() -> None:
    same = np.ones((4, 2))
    labels = [[1, 0, 0, 0], [0, 0, 0, 1]]
    first, last = (evaluate_retrieval(same[:1], same, [1], row).map["all"] for row in labels)
    assert (first, last) == (1.0, 0.25)


def test_negative_zero_ties_with_zero() -> None:
    result = evaluate_retrieval([[1.0]], [[-0.0], [0.0]], [1], [0, 1])
    assert result.map["all"] == 0.5
    result = evaluate_retrieval([[1.0]], [[0.0], [-0.0]], [1], [0, 1])
    assert result.map["all"] == 0.5


def test_similarities_beyond_float32_are_ranked_too() -> None:
    database = np.repeat([[-1e30], [1.0], [1e30]], 100, axis=0)
    labels = np.repeat([2, 1, 0], 100)
    for k in (1, 150, 250, 300):
        result = evaluate_retrieval(np.full((1, 1), 1e30), database, [2], labels, k=k)
        found = np.arange(1, max(k - 200, 0) + 1)
        expected = (found / (found + 200)).sum() / 100
        assert result.map["all"] == pytest.approx(expected)


def test_similarities_of_very_different_size_keep_their_order() -> None:
    database = np.array([[1e-38], [1e30], [-1e30], [0.0], [1e-30], [-1e-38]])
    result = evaluate_retrieval([[1.0]], database, [1], [1, 0, 1, 0, 1, 1])
    # Descending: row 1, 4, 0, 3, 5, 2; positives at ranks 2, 3, 5, 6.
    assert result.map["all"] == pytest.approx((1 / 2 + 2 / 3 + 3 / 5 + 4 / 6) / 4)


def test_a_collapsed_descriptor_scores_as_the_order_of_the_rows() -> None:
    _, _, query_labels, database_labels = random_case(1)
    case = np.ones((30, 3), np.float32), np.ones((400, 3), np.float32)
    result = evaluate_retrieval(*case, query_labels, database_labels)
    assert_per_query_equal(result, literal_evaluation(*case, query_labels, database_labels, None))


def test_map_by_query_blur_level_averages_the_queries_of_that_level() -> None:
    case = random_case(5)
    levels = np.random.default_rng(5).choice([1, 2, 6], 30)
    result = evaluate_retrieval(*case, k=20, query_blur_levels=levels)
    expected = literal_evaluation(*case, 20)
    assert sorted(result.map_by_query_blur_level) == [1, 2, 6]
    for level, by_denominator in result.map_by_query_blur_level.items():
        assert result.num_queries_by_blur_level[level] == (levels == level).sum()
        for name in DENOMINATORS:
            mean = expected[name][levels == level].mean()
            assert by_denominator[name] == pytest.approx(mean, abs=1e-12)
    weighted = sum(
        by_denominator["retrieved"] * result.num_queries_by_blur_level[level]
        for level, by_denominator in result.map_by_query_blur_level.items()
    )
    assert result.map["retrieved"] == pytest.approx(weighted / 30)


def test_database_blur_levels_evaluate_each_level_alone() -> None:
    queries, database, query_labels, labels = random_case(6)
    levels = np.random.default_rng(6).integers(1, 4, len(database))
    result = evaluate_retrieval(
        queries, database, query_labels, labels, k=15, database_blur_levels=levels
    )
    assert sorted(result.by_database_blur_level) == [1, 2, 3]
    for level, alone in result.by_database_blur_level.items():
        part = levels == level
        expected = literal_evaluation(queries, database[part], query_labels, labels[part], 15)
        assert_per_query_equal(alone, expected)
        assert alone.num_database == part.sum()
    assert_per_query_equal(result, literal_evaluation(queries, database, query_labels, labels, 15))


def test_evaluation_by_database_blur_level_is_that_of_each_level_alone() -> None:
    case = random_case(6, num_database=900)
    generator = np.random.default_rng(6)
    levels, query_levels = generator.integers(1, 4, 900), generator.integers(1, 4, 30)
    result = evaluate_by_database_blur_level(
        *case, k=3, query_blur_levels=query_levels, database_blur_levels=levels
    )
    assert list(result.by_database_blur_level) == [1, 2, 3]
    for level, alone in result.by_database_blur_level.items():
        part = levels == level
        expected = evaluate_retrieval(
            case[0], case[1][part], case[2], case[3][part], k=3, query_blur_levels=query_levels
        )
        assert alone.map_by_query_blur_level == expected.map_by_query_blur_level
        assert_per_query_equal(alone, expected.average_precision)
        assert alone.num_queries_without_positives == expected.num_queries_without_positives


def test_evaluation_by_database_blur_level_needs_both_blur_levels() -> None:
    case = random_case(6)
    with pytest.raises(ValueError, match="database_blur_levels must be 400 integers"):
        evaluate_by_database_blur_level(
            *case, query_blur_levels=np.ones(30, int), database_blur_levels=np.ones(3, int)
        )


def test_queries_without_positives_count_and_score_zero() -> None:
    result = evaluate_retrieval(np.ones((3, 1)), np.ones((2, 1)), [0, 9, -1], [0, -1])
    assert result.num_queries == 3
    assert result.num_database == 2
    assert result.num_queries_without_positives == 2
    assert result.map == pytest.approx(dict.fromkeys(DENOMINATORS, 1 / 3))


def test_k_beyond_the_database_is_the_whole_database() -> None:
    case = random_case(7)
    assert evaluate_retrieval(*case, k=10**6).map == evaluate_retrieval(*case).map


def test_all_denominators_agree_without_a_cut_off() -> None:
    result = evaluate_retrieval(*random_case(8))
    assert result.map["retrieved"] == result.map["capped"] == result.map["all"] > 0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 100))
def test_denominators_are_ordered_and_bounded(seed: int, k: int) -> None:
    result = evaluate_retrieval(*random_case(seed), k=k).average_precision
    assert (result["all"] >= 0).all()
    assert (result["all"] <= result["capped"]).all()
    assert (result["capped"] <= result["retrieved"]).all()
    assert (result["retrieved"] <= 1).all()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_a_database_without_ties_is_irrelevant(seed: int) -> None:
    generator = np.random.default_rng(seed)
    similarities = generator.permutation(100).astype(np.float32)[:, None]
    labels = generator.integers(0, 5, 100)
    order = generator.permutation(100)
    query = np.ones((5, 1)), np.arange(5)
    ours, shuffled = (
        evaluate_retrieval(query[0], similarities[rows], query[1], labels[rows], k=30)
        for rows in (np.arange(100), order)
    )
    assert_per_query_equal(shuffled, ours.average_precision)


def test_concurrent_evaluations_do_not_disturb_each_other() -> None:
    cases = [random_case(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda case: evaluate_retrieval(*case), cases))
    for case, result in zip(cases, results, strict=True):
        assert_per_query_equal(result, literal_evaluation(*case, None))


def test_retrieved_agrees_with_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.retrieval")
    torch = pytest.importorskip("torch")
    similarities = np.random.default_rng(11).permutation(200).astype(np.float32)
    labels = np.random.default_rng(12).integers(0, 4, 200)
    ours = evaluate_retrieval([[1.0]], similarities[:, None], [2], labels, k=25)
    # torchmetrics drops hits of similarity 0 and below, so shift all of them above.
    theirs = functional.retrieval_average_precision(
        torch.from_numpy(similarities + 1), torch.from_numpy(labels == 2), top_k=25
    )
    assert ours.map["retrieved"] == pytest.approx(float(theirs), abs=1e-6)


def test_all_agrees_with_ranx() -> None:
    ranx = pytest.importorskip("ranx")
    similarities = np.random.default_rng(13).permutation(150).astype(np.float32)
    labels = np.random.default_rng(14).integers(0, 4, 150)
    ours = evaluate_retrieval([[1.0]], similarities[:, None], [2], labels, k=25)
    relevant = {str(row): 1 for row in np.flatnonzero(labels == 2)}
    run = {str(row): float(score) for row, score in enumerate(similarities)}
    theirs = ranx.evaluate(ranx.Qrels({"q": relevant}), ranx.Run({"q": run}), "map@25")
    assert ours.map["all"] == pytest.approx(float(theirs), abs=1e-6)


def test_torch_tensors_are_taken_as_they_are() -> None:
    torch = pytest.importorskip("torch")
    case = random_case(15)
    tensors = [torch.from_numpy(array) for array in case]
    assert evaluate_retrieval(*tensors).map == evaluate_retrieval(*case).map


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_descriptors": np.full((2, 3), np.nan)}, "query_descriptors contain NaN"),
        ({"database_descriptors": np.full((4, 3), np.inf)}, "database_descriptors contain NaN"),
        ({"query_descriptors": np.ones(3)}, "query_descriptors must be"),
        ({"query_descriptors": np.ones((0, 3))}, "query_descriptors must be"),
        ({"database_descriptors": np.ones((0, 3))}, "database_descriptors must be"),
        ({"database_descriptors": np.ones((4, 2))}, "3 dimensions"),
        ({"query_labels": np.zeros(3, int)}, "query_labels must be 2 integers"),
        ({"database_labels": np.zeros(4)}, "database_labels must be 4 integers, not float64"),
        ({"query_blur_levels": [1]}, "query_blur_levels must be 2 integers"),
        ({"database_blur_levels": [1]}, "database_blur_levels must be 4 integers"),
        ({"k": 0}, "k must be at least 1"),
    ],
)
def test_unusable_input_is_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "query_descriptors": np.ones((2, 3)),
        "database_descriptors": np.ones((4, 3)),
        "query_labels": np.zeros(2, int),
        "database_labels": np.zeros(4, int),
    }
    with pytest.raises(ValueError, match=message):
        evaluate_retrieval(**(arguments | change))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match="There is no device 'abacus' here"):
        evaluate_retrieval(*random_case(2), device="abacus")


def test_protocols_have_the_papers_cut_offs() -> None:
    cut_off = {name for name, k in K_BY_PROTOCOL.items() if k == 100}
    assert cut_off == {"mixed_with_distractors", "per_level_with_distractors"}
    whole = {name for name, k in K_BY_PROTOCOL.items() if k is None}
    assert whole == {"mixed", "per_level", "real"}
