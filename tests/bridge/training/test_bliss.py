from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import open_manifest
from bridge.dataset.splits import training_rows
from bridge.training.bliss import BlissConfig, BlissSampler, positions
from tests.factories import make_dataset

Window = Literal["level", "severity"]
WINDOWS: tuple[Window, ...] = get_args(Window)


def selection(seed: int, num_objects: int, per_object: int) -> tuple[np.ndarray, np.ndarray]:
    """Objects and blur severities (levels 1..6) in a random order."""
    rng = np.random.default_rng(seed)
    objects = np.repeat(np.arange(num_objects), per_object)
    order = rng.permutation(len(objects))
    return objects[order], rng.uniform(0.001, 0.6, len(objects)).astype(np.float32)


def places(severities: np.ndarray, window: Window) -> np.ndarray:
    levels = np.ceil(10 * severities).astype(np.int32)
    return positions(levels, severities, BlissConfig(window=window))


def candidates(objects: np.ndarray, positions: np.ndarray, r: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether image j may be a positive or a negative of image i, pair by pair: bool [N, N]."""
    near = np.abs(positions[:, None].astype(float) - positions) <= r + 1e-4
    same = objects[:, None] == objects
    return near & same & ~np.eye(len(objects), dtype=bool), near & ~same


def distance_from_uniform(drawn: np.ndarray, allowed: np.ndarray) -> float:
    """How far draws are from uniform, in standard deviations of the chi-square statistic.

    Args:
        drawn: int [queries, draws], the images drawn for each query.
        allowed: bool [queries, N], its candidates.
    """
    counts = np.stack([np.bincount(row, minlength=allowed.shape[1]) for row in drawn])
    assert not counts[~allowed].any()
    expected = np.broadcast_to(
        drawn.shape[1] / allowed.sum(axis=1, keepdims=True).clip(1), allowed.shape
    )
    statistic = ((counts - expected) ** 2 / expected)[allowed].sum()
    freedom = (allowed.sum(axis=1) - 1).clip(0).sum()
    return float((statistic - freedom) / np.sqrt(2 * freedom))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1000),
    st.sampled_from(WINDOWS),
    st.integers(1, 9),
    st.integers(0, 3),
    st.integers(0, 6),
)
def test_window_and_objects_are_respected(
    seed: int, window: Window, r: int, num_p: int, num_n: int
) -> None:
    objects, severities = selection(seed, 7, 9)
    where = places(severities, window)
    sampler = BlissSampler(objects, where, BlissConfig(r, num_p, num_n, window), seed)
    plan = sampler.plan(0)
    assert plan.shape == (len(sampler), 1 + num_p + num_n) and plan.dtype == np.int32
    own, others = candidates(objects, where, r)
    query, positives, negatives = plan[:, :1], plan[:, 1 : 1 + num_p], plan[:, 1 + num_p :]
    assert own[query, positives].all()
    assert others[query, negatives].all()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("r", [1, 3])
def test_every_image_with_candidates_is_the_query_once(window: Window, r: int) -> None:
    objects, severities = selection(5, 6, 7)
    where = places(severities, window)
    own, others = candidates(objects, where, r)
    usable = np.flatnonzero(own.any(axis=1) & others.any(axis=1))
    assert window == "level" or r == 3 or len(usable) < len(objects)
    sampler = BlissSampler(objects, where, BlissConfig(r, 1, 1, window), seed=0)
    for epoch in range(3):
        assert np.array_equal(np.sort(sampler.plan(epoch)[:, 0]), usable)
    assert sampler.num_left_out == len(objects) - len(usable)


def test_images_without_candidates_are_left_out_and_counted() -> None:
    objects = np.array([0, 0, 1, 1, 2])
    levels = np.array([1, 1, 1, 6, 1])
    sampler = BlissSampler(objects, levels, BlissConfig(0, 1, 1), seed=0)
    # Object 1 has no pair within the range and object 2 has one image only.
    assert sorted(sampler.plan(0)[:, 0]) == [0, 1]
    assert sampler.num_left_out == 3
    # Where no samples of a kind are wanted, none are needed.
    assert BlissSampler(objects, levels, BlissConfig(0, 0, 1), seed=0).num_left_out == 1
    assert BlissSampler(objects, levels, BlissConfig(0, 0, 0), seed=0).num_left_out == 0


def test_severities_are_compared_without_the_rounding_to_levels() -> None:
    # Levels 2, 2, 3 and 3: by severity the second is close to the third and not to the first.
    severities = np.array([0.11, 0.195, 0.205, 0.29], np.float32)
    objects = np.array([0, 1, 0, 1])
    config = BlissConfig(1, 1, 0, "severity")
    with pytest.raises(InputError, match="contrastive range 0"):
        BlissSampler(objects, places(severities, "severity"), BlissConfig(0, 1, 0), seed=0)
    assert len(BlissSampler(objects, places(severities, "severity"), config, seed=0)) == 4
    assert BlissSampler(objects, places(severities, "level"), config, seed=0).num_left_out == 0
    negatives = BlissConfig(0, 0, 1)
    by_level = BlissSampler(objects, places(severities, "level"), negatives, seed=0).plan(0)
    assert dict(by_level.tolist()) == {0: 1, 1: 0, 2: 3, 3: 2}


def test_the_edge_of_the_window_belongs_to_it() -> None:
    # Two levels apart, but for the rounding of float32.
    where = places(np.array([0.112, 0.312, 0.512], np.float32), "severity")
    assert (np.diff(where.astype(float)) > 2).all()
    plan = BlissSampler(np.arange(3), where, BlissConfig(2, 0, 2, "severity"), seed=0).plan(0)
    drawn = {int(row[0]): set(row[1:].tolist()) for row in plan}
    assert drawn == {0: {1}, 1: {0, 2}, 2: {1}}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("r", [2, 9])
def test_samples_are_uniform_over_the_candidates(window: Window, r: int) -> None:
    objects, severities = selection(3, 4, 6)
    where = places(severities, window)
    sampler = BlissSampler(objects, where, BlissConfig(r, 2, 3, window), seed=0)
    plans = np.stack([sampler.plan(epoch) for epoch in range(1500)])
    # Each epoch has the queries in another order: sort it, so that draws line up.
    plans = np.take_along_axis(plans, np.argsort(plans[:, :, :1], axis=1), axis=1)
    queries = plans[0, :, 0]
    assert (plans[:, :, 0] == queries).all()
    own, others = candidates(objects, where, r)
    for place in range(1, 6):
        allowed = own if place <= 2 else others
        distance = distance_from_uniform(plans[:, :, place].T, allowed[queries])
        # Too even would not be random either.
        assert -5 < distance < 5


def test_sets_of_samples_are_uniform() -> None:
    # Image 0 has one object beside it with four images: twelve ordered pairs.
    objects, levels = np.array([0, 1, 1, 1, 1]), np.ones(5)
    sampler = BlissSampler(objects, levels, BlissConfig(5, 0, 2), seed=0)
    plans = np.concatenate([sampler.plan(epoch) for epoch in range(1500)])
    pairs = plans[plans[:, 0] == 0][:, 1:]
    numbers = np.array([[5 * one + other for one, other in pairs.tolist()]])
    allowed = np.zeros((1, 25), dtype=bool)
    allowed[0, [5 * i + j for i in range(1, 5) for j in range(1, 5) if i != j]] = True
    assert -3 < distance_from_uniform(numbers, allowed) < 5


def test_samples_repeat_only_where_there_are_too_few() -> None:
    objects, severities = selection(0, 3, 4)
    where = places(severities, "level")

    def rows(num_p: int, num_n: int, kind: slice) -> list[list[int]]:
        config = BlissConfig(5, num_p, num_n)
        return BlissSampler(objects, where, config, seed=0).plan(0)[:, kind].tolist()

    # 3 other images of the query's object, 8 images of others.
    assert all(len(set(row)) == 8 for row in rows(1, 8, slice(2, None)))
    assert all(len(set(row)) == 3 for row in rows(3, 1, slice(1, 4)))
    many = rows(4, 9, slice(1, None))
    assert all(len(row) == 13 and len(set(row[:4])) <= 3 for row in many)
    # Too few are drawn independently, so that not every one of them has to be there.
    assert any(len(set(row[:4])) < 3 for row in many)


def test_range_0_stays_within_the_level() -> None:
    objects, severities = selection(2, 8, 20)
    where = places(severities, "level")
    plan = BlissSampler(objects, where, BlissConfig(0, 2, 4), seed=0).plan(0)
    assert len(plan) > 100
    assert (where[plan] == where[plan[:, :1]]).all()


def test_range_9_restricts_no_level() -> None:
    objects = np.array([0, 1])
    plan = BlissSampler(objects, np.array([1, 10]), BlissConfig(9, 0, 1), seed=0).plan(0)
    assert len(plan) == 2


def test_plan_is_a_function_of_seed_and_epoch() -> None:
    objects, severities = selection(1, 5, 8)
    where = places(severities, "severity")

    def plan(seed: int, epoch: int) -> np.ndarray:
        return BlissSampler(objects, where, BlissConfig(window="severity"), seed).plan(epoch)

    sampler = BlissSampler(objects, where, BlissConfig(window="severity"), 3)
    sampler.plan(0)
    assert np.array_equal(plan(3, 4), sampler.plan(4))
    assert not np.array_equal(plan(3, 4), plan(3, 5))
    assert not np.array_equal(plan(3, 4), plan(4, 4))
    # Another order of queries, and other samples of them.
    first, second = (p[np.argsort(p[:, 0])] for p in (plan(3, 4), plan(3, 5)))
    assert np.array_equal(first[:, 0], second[:, 0])
    assert (first[:, 1:] != second[:, 1:]).mean() > 0.5


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    folder = tmp_path_factory.mktemp("dataset")
    make_dataset(folder, {"train": 4}, trajectories=14)
    return read_labels(str(folder), open_manifest(str(folder)), "train")


@pytest.mark.parametrize("sharp_only", [False, True])
@pytest.mark.parametrize("window", WINDOWS)
def test_positives_show_other_trajectories(
    labels: Labels, sharp_only: bool, window: Window
) -> None:
    chosen = labels.take(training_rows(labels, 0, sharp_only=sharp_only))
    config = BlissConfig(num_positives=2, num_negatives=2, window=window)
    where = positions(chosen.blur_level, chosen.blur_severity, config)
    plan = BlissSampler(chosen.object, where, config, seed=0).plan(0)
    assert len(plan) == len(chosen) == 4 * 14
    query, positives = plan[:, :1], plan[:, 1:3]
    assert (chosen.object[positives] == chosen.object[query]).all()
    assert (chosen.trajectory[positives] != chosen.trajectory[query]).all()
    assert (chosen.window[plan] == 0).all() == sharp_only


def test_positions_are_levels_or_severities() -> None:
    levels = np.array([1, 4], np.int32)
    severities = np.array([0.05, 0.375], np.float32)
    by_level = positions(levels, severities, BlissConfig())
    by_severity = positions(levels, severities, BlissConfig(window="severity"))
    assert by_level.dtype == by_severity.dtype == np.float32
    assert by_level.tolist() == [1, 4] and by_severity.tolist() == [0.5, 3.75]
    unknown = np.array([0.05, np.nan], np.float32)
    assert positions(levels, unknown, BlissConfig()).tolist() == [1, 4]
    with pytest.raises(InputError, match="1 of 2 training images have no blur severity"):
        positions(levels, unknown, BlissConfig(window="severity"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrastive_range": -1}, "must be at least 0, not -1"),
        ({"contrastive_range": 10}, "must be at most 9, not 10"),
        ({"num_positives": -1}, "`num_positives` must be at least 0"),
        ({"num_negatives": -2}, "`num_negatives` must be at least 0"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BlissConfig(**options)


def test_no_tuple_at_all_is_an_input_error() -> None:
    with pytest.raises(InputError, match="contrastive range"):
        BlissSampler(np.array([0, 0]), np.array([1, 1]), BlissConfig(), seed=0)
    with pytest.raises(InputError, match="contrastive range"):
        BlissSampler(np.zeros(0, int), np.zeros(0), BlissConfig(), seed=0)
