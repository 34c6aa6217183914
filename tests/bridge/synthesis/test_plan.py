from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator import ObjectEntry, procedural_objects
from bridge.synthesis.plan import ShardPlan, plan_shards, select_objects, spread


def named(*sizes: int) -> list[ObjectEntry]:
    """Objects of categories a, b, ... with so many members."""
    return [
        ObjectEntry(f"{chr(97 + c)}/{i:03d}", chr(97 + c))
        for c, n in enumerate(sizes)
        for i in range(n)
    ]


@given(st.integers(1, 9), st.integers(1, 13), st.integers(1, 40), st.integers(0, 5))
def test_shards_hold_every_trajectory_once(
    per_category: int, trajectories: int, shard_size: int, seed: int
) -> None:
    entries = procedural_objects(per_category, seed, 0)[: 3 * per_category]
    plan = plan_shards(entries, "dataset", trajectories, shard_size, seed)
    tasks = list(plan.missing(()))
    pairs = Counter(
        (entry.object_id, number)
        for task in tasks
        for entry, numbers in task.trajectories
        for number in numbers
    )
    assert set(pairs.values()) == {1} and len(pairs) == len(entries) * trajectories
    splits: dict[str, set[str]] = {}
    for task in tasks:
        assert 1 <= sum(len(numbers) for _, numbers in task.trajectories) <= shard_size
        splits.setdefault(task.split, set()).update(e.object_id for e, _ in task.trajectories)
    assert sum(map(len, splits.values())) == len(entries)
    assert len({task.path for task in tasks}) == len(tasks) == plan.num_shards
    assert plan.num_trajectories == len(pairs)


@given(st.integers(1, 30), st.integers(1, 13), st.integers(1, 40), st.sets(st.integers(0, 60)))
def test_missing_shards_are_those_not_finished(
    objects: int, trajectories: int, shard_size: int, finished: set[int]
) -> None:
    plan = plan_shards(named(objects), "distractors", trajectories, shard_size, 0)
    every = list(plan.missing(()))
    paths = {task.path for number, task in enumerate(every) if number in finished}
    missing = list(plan.missing(paths))
    assert missing == [task for task in every if task.path not in paths]
    sizes = [sum(len(numbers) for _, numbers in task.trajectories) for task in missing]
    left = plan.missing(paths)
    assert (len(left), left.num_trajectories) == (len(missing), sum(sizes))


def test_a_plan_of_a_hundred_thousand_shards_is_its_objects() -> None:
    plan = plan_shards(named(*[1000] * 50), "dataset", 180, 90, 0)
    assert plan.num_shards == 100_000
    every = {split.path(number) for split in plan.splits for number in range(len(split))}
    last = plan.splits[-1].task(len(plan.splits[-1]) - 1)
    missing = list(plan.missing(every - {last.path}))
    assert missing == [last]


def test_splits_keep_their_objects_whatever_the_shards() -> None:
    def objects(plan: ShardPlan) -> dict[str, list[str]]:
        return {split.split: [e.object_id for e in split.entries] for split in plan.splits}

    entries = named(20, 7)
    assert objects(plan_shards(entries, "dataset", 3, 4, 1)) == objects(
        plan_shards(entries, "dataset", 5, 9, 1)
    )
    assert list(objects(plan_shards(entries, "dataset", 3, 4, 1))) == [
        "train",
        "validation",
        "test",
    ]


def test_dataset_and_distractors_take_from_opposite_ends() -> None:
    entries = procedural_objects(10, 0, 0)
    dataset = {e.object_id for e in select_objects(entries, 6, 1, "dataset")}
    distractors = {e.object_id for e in select_objects(entries, 4, 1, "distractors")}
    assert not dataset & distractors and len(dataset | distractors) == len(entries)
    assert dataset != {e.object_id for e in select_objects(entries, 6, 2, "dataset")}


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 20), st.integers(0, 3))
def test_spread_begins_with_as_many_categories_as_there_are(
    sizes: list[int], length: int, seed: int
) -> None:
    entries = named(*sizes)
    order = spread(entries, seed)
    assert sorted(e.object_id for e in order) == sorted(e.object_id for e in entries)
    assert len({e.category for e in order[:length]}) == min(length, len(sizes))
    assert order == spread(entries, seed)
