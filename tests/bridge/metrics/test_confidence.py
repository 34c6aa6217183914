"""Tests of bridge/metrics/confidence.py against drawing the objects one by one."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.metrics.confidence import bootstrap, standard_error


def queries(num: int = 300, num_objects: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    objects = generator.integers(100, 100 + num_objects, num)
    levels = generator.choice([1, 2, 6], num, p=[0.6, 0.38, 0.02])
    difficulty = generator.random(200)[objects]
    return np.clip(difficulty + 0.1 * generator.standard_normal(num), 0, 1), objects, levels


def literal_intervals(
    values: np.ndarray, objects: np.ndarray, selected: np.ndarray, level: float
) -> np.ndarray:
    """Draw objects with replacement, take all selected queries of each, and average."""
    generator = np.random.default_rng(1)
    names = np.unique(objects)
    parts = {name: values[selected & (objects == name)] for name in names}
    means = []
    for _ in range(4_000):
        chosen = np.concatenate([parts[name] for name in generator.choice(names, len(names))])
        if len(chosen):
            means.append(chosen.mean())
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2])


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_agrees_with_drawing_objects_one_by_one(level: float) -> None:
    values, objects, levels = queries()
    ours = bootstrap({"all": values}, objects, levels, level=level, samples=20_000)
    expected = literal_intervals(values, objects, levels > 0, level)
    np.testing.assert_allclose(ours.map["all"], expected, atol=0.006)


def test_a_blur_level_counts_only_draws_that_hold_its_queries() -> None:
    values, objects, levels = queries(num_objects=60)
    levels[objects < 158] = 1
    levels[objects >= 158] = 6
    ours = bootstrap({"all": values}, objects, levels, samples=20_000)
    assert sorted(ours.map_by_query_blur_level) == [1, 6]
    # The two objects of level 6 are both missing from one draw in seven.
    expected = literal_intervals(values, objects, levels == 6, 0.95)
    assert expected[0] < expected[1]
    np.testing.assert_allclose(ours.map_by_query_blur_level[6]["all"], expected, atol=0.006)


def test_intervals_hold_the_mean_and_widen_with_the_level() -> None:
    values, objects, levels = queries()
    narrow, wide = (
        bootstrap({"all": values}, objects, levels, level=level).map["all"] for level in (0.5, 0.99)
    )
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]


def test_objects_are_drawn_and_not_queries() -> None:
    """Ten equal queries of every object say as much as one."""
    generator = np.random.default_rng(2)
    values, objects = generator.random(40), np.arange(40)
    none = np.empty(0, np.int64)
    one = bootstrap({"all": values}, objects, none).map["all"]
    ten = bootstrap({"all": np.tile(values, 10)}, np.tile(objects, 10), none).map["all"]
    np.testing.assert_allclose(ten, one, atol=1e-12)


def test_follows_from_the_seed() -> None:
    values, objects, levels = queries()
    first, again, other = (
        bootstrap({"all": values}, objects, levels, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_a_single_object_has_no_spread() -> None:
    ours = bootstrap({"all": np.array([0.25, 0.75])}, np.zeros(2, int), np.array([1, 2]))
    assert ours.map["all"] == (0.5, 0.5)
    assert ours.map_by_query_blur_level == {1: {"all": (0.25, 0.25)}, 2: {"all": (0.75, 0.75)}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": 0.0}, "between 0 and 1"),
        ({"level": 95}, "between 0 and 1"),
        ({"samples": 99}, "at least 100 samples"),
        ({"query_labels": np.zeros(2, int)}, "label of every query"),
    ],
)
def test_unusable_arguments_are_refused(change: dict[str, object], message: str) -> None:
    arguments = {
        "average_precision": {"all": np.ones(3)},
        "query_labels": np.zeros(3, int),
        "query_blur_levels": np.zeros(0, int),
    }
    with pytest.raises(ValueError, match=message):
        bootstrap(**(arguments | change))  # type: ignore[arg-type]


def test_the_standard_error_is_that_of_drawing_objects() -> None:
    values, objects, _ = queries()
    # Half of a 68 % interval, where draws are nearly normal.
    low, high = literal_intervals(values, objects, objects > 0, 0.6827)
    assert standard_error(values, objects) == pytest.approx((high - low) / 2, rel=0.08)
    assert standard_error(values, np.full(len(values), 7)) is None
    with pytest.raises(ValueError, match="label of every query"):
        standard_error(values, objects[1:])
