from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.bliss import BlissConfig, BlissSampler
from bridge.errors import InputError


def selection(seed: int, num_objects: int, per_object: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    objects = np.repeat(np.arange(num_objects), per_object)
    order = rng.permutation(len(objects))
    return objects[order], rng.integers(1, 7, len(objects))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(0, 9), st.integers(1, 3), st.integers(0, 6))
def test_window_and_objects_are_respected(seed: int, r: int, num_p: int, num_n: int) -> None:
    objects, levels = selection(seed, 7, 9)
    config = BlissConfig(contrastive_range=r, num_positives=num_p, num_negatives=num_n)
    sampler = BlissSampler(objects, levels, config, seed)
    plan = sampler.plan(0)
    assert plan.shape == (len(sampler), 1 + num_p + num_n) and plan.dtype == np.int32
    query, positives, negatives = plan[:, :1], plan[:, 1 : 1 + num_p], plan[:, 1 + num_p :]
    assert len(np.unique(query)) == len(query)
    assert (np.abs(levels[plan] - levels[query]) <= r).all()
    assert (objects[positives] == objects[query]).all() and (positives != query).all()
    assert (objects[negatives] != objects[query]).all()


def test_every_image_with_candidates_is_a_query_and_the_others_are_counted() -> None:
    objects = np.array([0, 0, 1, 1, 2])
    levels = np.array([1, 1, 1, 6, 1])
    sampler = BlissSampler(objects, levels, BlissConfig(0, 1, 1), seed=0)
    # Object 1 has no pair within the range and object 2 has one image only.
    assert sorted(sampler.plan(0)[:, 0]) == [0, 1]
    assert sampler.num_left_out == 3


def test_negatives_repeat_only_where_there_are_too_few() -> None:
    objects, levels = selection(0, 3, 4)
    enough = BlissSampler(objects, levels, BlissConfig(5, 1, 8), seed=0).plan(0)[:, 2:]
    assert all(len(set(row)) == 8 for row in enough.tolist())
    too_few = BlissSampler(objects, levels, BlissConfig(5, 1, 9), seed=0).plan(0)[:, 2:]
    assert too_few.shape[1] == 9


def test_samples_are_uniform_over_the_candidates() -> None:
    objects = np.array([0, 0, 0, 1, 1, 2])
    levels = np.array([1, 2, 6, 1, 3, 2])
    sampler = BlissSampler(objects, levels, BlissConfig(2, 1, 1), seed=0)
    plans = np.concatenate([sampler.plan(epoch) for epoch in range(6000)])
    of_first = plans[plans[:, 0] == 0]
    # Row 0 has level 1: positives within 1..3 are row 1 alone, negatives rows 3, 4 and 5.
    assert set(of_first[:, 1]) == {1}
    counts = np.bincount(of_first[:, 2], minlength=6)
    assert counts[[0, 1, 2]].sum() == 0
    # Three equal chances in 6000 draws: five standard deviations are about 180.
    assert np.abs(counts[[3, 4, 5]] - 2000).max() < 185


def test_plan_is_a_function_of_seed_and_epoch() -> None:
    objects, levels = selection(1, 5, 8)

    def plan(seed: int, epoch: int) -> np.ndarray:
        return BlissSampler(objects, levels, BlissConfig(), seed).plan(epoch)

    assert np.array_equal(plan(3, 4), plan(3, 4))
    assert not np.array_equal(plan(3, 4), plan(3, 5))
    assert not np.array_equal(plan(3, 4), plan(4, 4))


def test_no_tuple_at_all_is_an_input_error() -> None:
    with pytest.raises(InputError, match="contrastive range"):
        BlissSampler(np.array([0, 0]), np.array([1, 1]), BlissConfig(), seed=0)
