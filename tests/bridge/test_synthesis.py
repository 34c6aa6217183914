from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator import (
    ObjectEntry,
    ProceduralBackgrounds,
    SimulatorConfig,
    procedural_objects,
    scan_meshes,
)
from bridge.synthesis import (
    SynthesisPlan,
    check_object,
    make_shard,
    plan_shards,
    select_objects,
)
from tests.factories import make_meshes


@given(st.integers(1, 9), st.integers(1, 13), st.integers(1, 40), st.integers(0, 5))
def test_shards_hold_every_trajectory_once(
    per_category: int, trajectories: int, shard_size: int, seed: int
) -> None:
    entries = procedural_objects(per_category, seed, 0)[: 3 * per_category]
    tasks = plan_shards(entries, "dataset", trajectories, shard_size, seed)
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
    assert len({task.path for task in tasks}) == len(tasks)


def test_dataset_and_distractors_take_from_opposite_ends() -> None:
    entries = procedural_objects(10, 0, 0)
    dataset = {e.object_id for e in select_objects(entries, 6, 1, "dataset")}
    distractors = {e.object_id for e in select_objects(entries, 4, 1, "distractors")}
    assert not dataset & distractors and len(dataset | distractors) == len(entries)
    assert dataset != {e.object_id for e in select_objects(entries, 6, 2, "dataset")}


def test_a_shard_is_a_function_of_its_task(tmp_path: Path) -> None:
    make_meshes(tmp_path / "meshes", {"box": 2})
    entries = scan_meshes(tmp_path / "meshes")
    tasks = plan_shards(entries, "distractors", 2, 3, seed=0)
    plan = SynthesisPlan(SimulatorConfig(image_size=(24, 32)), "png", ())
    results = [make_shard(t, plan, ProceduralBackgrounds(), str(tmp_path / "a")) for t in tasks]
    # In another order, after a trip through pickle as to another process, with other neighbours.
    again = [
        make_shard(
            pickle.loads(pickle.dumps(task)), plan, ProceduralBackgrounds(), str(tmp_path / "b")
        )
        for task in reversed(tasks)
    ]
    assert results == again[::-1]
    whole = plan_shards(entries, "distractors", 2, 100, seed=0)
    single = make_shard(whole[0], plan, ProceduralBackgrounds(), str(tmp_path / "c"))
    assert single.record.rows == sum(r.record.rows for r in results)
    levels: Counter[str] = Counter()
    for result in results:
        levels.update(result.by_blur_level)
    assert single.by_blur_level == levels


def test_unusable_objects_say_why(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.glb").write_bytes(np.random.default_rng(0).bytes(100))
    rejection = check_object(scan_meshes(tmp_path)[0])
    assert rejection is not None
    assert (rejection.reason, rejection.item) == ("unreadable", "a/bad")
    good: ObjectEntry = procedural_objects(1, 0, 0)[0]
    assert check_object(good) is None
