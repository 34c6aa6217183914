from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bridge.metrics import evaluate_by_database_blur_level, evaluate_retrieval
from bridge.metrics.repeats import Repeats, difference, joined, repeats_of


def made(*by_seed: list[float], labels: list[int], levels: list[int]) -> Repeats:
    """Trainings with these average precisions, against one database."""
    values = np.array(by_seed)[:, None]
    return Repeats(values, np.array(labels), np.array(levels), (), 10, None)


FOUR = {"labels": [0, 0, 1, 1], "levels": [1, 2, 1, 2]}


def test_mean_and_spread_over_seeds() -> None:
    # mAPs 0.5 and 0.7: their mean is 0.6, their sample deviation 0.1 times the root of two.
    two = made([0.2, 0.4, 0.6, 0.8], [0.4, 0.6, 0.8, 1.0], **FOUR)
    assert two.by_seed.tolist() == pytest.approx([0.5, 0.7])
    assert two.map == pytest.approx(0.6) and two.std == pytest.approx(0.1 * 2**0.5)
    assert two.by_query_blur_level() == pytest.approx({1: 0.5, 2: 0.7})
    assert made([0.2, 0.4, 0.6, 0.8], **FOUR).std is None


def test_the_interval_is_over_objects_and_not_over_queries() -> None:
    # Two objects of mean 0.3 and 0.7: a draw has 0.3, 0.5 or 0.7, the outer ones a quarter each.
    (low, high), by_level = made([0.2, 0.4, 0.6, 0.8], **FOUR).intervals()
    assert (low, high) == pytest.approx((0.3, 0.7))
    assert by_level[1] == pytest.approx((0.2, 0.6)) and by_level[2] == pytest.approx((0.4, 0.8))


def test_a_difference_is_paired() -> None:
    # Queries differ by far more than the methods do, and every one is 0.1 higher.
    hard_and_easy = made([0.1, 0.1, 0.8, 0.8], [0.1, 0.1, 0.8, 0.8], **FOUR)
    better = replace(hard_and_easy, average_precision=hard_and_easy.average_precision + 0.1)
    found = difference(better, hard_and_easy)
    assert found.map == pytest.approx(0.1) and found.interval == pytest.approx((0.1, 0.1))
    assert found.by_query_blur_level[2][0] == pytest.approx(0.1)
    assert found.seeds_apart and found.counts
    back = difference(hard_and_easy, better)
    assert back.map == pytest.approx(-0.1) and back.counts


@pytest.mark.parametrize(
    ("one", "other", "apart", "counts"),
    [
        # Once trained: nothing is known of the seeds.
        ([[0.5, 0.5, 0.5, 0.5]], [[0.4, 0.4, 0.4, 0.4]], None, False),
        # The seeds of the one are on both sides of the other's.
        ([[0.9] * 4, [0.3] * 4], [[0.5] * 4, [0.4] * 4], False, False),
        # The seeds agree, but one object is better and the other is worse.
        ([[0.9, 0.9, 0.4, 0.4]] * 2, [[0.5] * 4] * 2, True, False),
        ([[0.9, 0.9, 0.6, 0.6]] * 2, [[0.5] * 4], True, True),
    ],
)
def test_what_counts_as_a_difference(
    one: list[list[float]], other: list[list[float]], apart: bool | None, counts: bool
) -> None:
    found = difference(made(*one, **FOUR), made(*other, **FOUR))
    assert found.seeds_apart is apart and found.counts is counts


def test_only_equal_queries_and_databases_are_compared() -> None:
    one = made([0.2, 0.4, 0.6, 0.8], **FOUR)
    for other in (
        replace(one, query_labels=np.array([0, 0, 1, 2])),
        replace(one, query_blur_levels=np.array([1, 2, 1, 3])),
        replace(one, num_database=11),
        replace(one, k=100),
        made([0.2, 0.4, 0.6], labels=[0, 0, 1], levels=[1, 2, 1]),
    ):
        with pytest.raises(ValueError, match="same queries and database"):
            difference(one, other)
        with pytest.raises(ValueError, match="same queries and database"):
            joined([one, other])


def test_what_was_evaluated_is_taken_over() -> None:
    rng = np.random.default_rng(0)
    x, labels, levels = rng.standard_normal((60, 8)), np.arange(60) % 5, np.arange(60) % 3 + 1
    sides = (x[:20], x[20:], labels[:20], labels[20:])
    mixed = evaluate_retrieval(*sides, query_blur_levels=levels[:20])
    single = repeats_of(mixed)
    assert single.map == pytest.approx(mixed.map["retrieved"])
    assert single.by_query_blur_level() == pytest.approx(
        {level: m["retrieved"] for level, m in mixed.map_by_query_blur_level.items()}
    )
    assert single.intervals()[0] == pytest.approx(mixed.confidence().map["retrieved"])
    twice = joined([single, single])
    assert twice.num_seeds == 2 and twice.std == 0 and twice.map == pytest.approx(single.map)
    alone = evaluate_by_database_blur_level(
        *sides, query_blur_levels=levels[:20], database_blur_levels=levels[20:]
    )
    per_level = repeats_of(alone)
    assert per_level.database_blur_levels == (1, 2, 3)
    assert per_level.map == pytest.approx(alone.map["retrieved"])
    cells = [list(per_level.by_query_blur_level(level).values()) for level in (1, 2, 3)]
    assert np.allclose(cells, alone.cells())
    assert per_level.map_of_database_blur_level(2) == pytest.approx(
        alone.by_database_blur_level[2].map["retrieved"]
    )
    with pytest.raises(ValueError, match="label and the blur level"):
        repeats_of(evaluate_retrieval(*sides))
