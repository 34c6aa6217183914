from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from bridge.dataset.labels import Labels
from bridge.dataset.splits import (
    assign_levels,
    distractor_rows,
    queries_and_database,
    real_queries_and_database,
    split_objects,
    training_rows,
)


def labels(num_objects: int, trajectories: int, seed: int = 0) -> Labels:
    """Labels like the simulator's: blur grows with the window, faster for some trajectories."""
    rng = np.random.default_rng(seed)
    grid = np.array(
        [(o, t, w) for o in range(num_objects) for t in range(trajectories) for w in range(11)]
    )
    speed = np.repeat(rng.uniform(0.2, 1.0, num_objects * trajectories), 11)
    levels = np.maximum(1, np.ceil(speed * grid[:, 2])).astype(np.int32)
    names = tuple(f"a/{o:04d}" for o in range(num_objects))
    return Labels(
        dataset="",
        objects=names,
        object=grid[:, 0].astype(np.int32),
        trajectory=grid[:, 1].astype(np.int32),
        window=grid[:, 2].astype(np.int32),
        blur_level=levels,
        blur_severity=(levels - 0.5).astype(np.float32) / 10,
        mean_opacity=np.full(len(grid), np.nan, np.float32),
        bbox=np.zeros((len(grid), 4), np.float32),
        image_id=pa.array([f"{names[o]}/{t}/{w}" for o, t, w in grid]),
        shards=(),
        shard=np.zeros(len(grid), np.int32),
        row=np.arange(len(grid)),
    )


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 40), min_size=1), st.integers(0, 99))
def test_objects_divide_70_15_15_rounded_down(sizes: dict[str, int], seed: int) -> None:
    members = {c: [f"{c}/{i}" for i in range(n)] for c, n in sizes.items()}
    splits = split_objects(members, seed)
    assert splits.keys() == {name for names in members.values() for name in names}
    for category, size in sizes.items():
        counts = Counter(splits[name] for name in members[category])
        assert counts["train"] == size * 7 // 10
        assert counts["validation"] == size * 15 // 100


def test_split_follows_the_seed_and_not_the_order_of_files() -> None:
    members = [f"a/{i}" for i in range(30)]
    assert split_objects({"a": members}, 1) == split_objects({"a": members[::-1]}, 1)
    assert split_objects({"a": members}, 1) != split_objects({"a": members}, 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_every_trajectory_goes_to_one_level_that_it_has(seed: int, trajectories: int) -> None:
    rng = np.random.default_rng(seed)
    has_level = rng.random((trajectories, 10)) < 0.4
    has_level[:, 0] = True
    assigned = assign_levels(has_level, rng)
    for trajectory in range(trajectories):
        if assigned[trajectory]:
            assert has_level[trajectory, assigned[trajectory] - 1]
    # Every trajectory has a sharp image, so nothing is left over once level 1 has been served,
    # which is last where it is the most frequent.
    if has_level[:, 1:6].sum(axis=0).max() < trajectories:
        assert (assigned > 0).all()


def test_levels_are_balanced_where_all_have_enough() -> None:
    assigned = assign_levels(np.ones((120, 10), dtype=bool), np.random.default_rng(0))
    assert np.bincount(assigned).tolist() == [0, 20, 20, 20, 20, 20, 20]


def test_what_a_rare_level_lacks_is_spread_over_the_others() -> None:
    has_level = np.ones((120, 10), dtype=bool)
    has_level[5:, 5] = False
    counts = np.bincount(assign_levels(has_level, np.random.default_rng(0)), minlength=7)[1:]
    assert counts[5] == 5
    assert counts[:5].sum() == 115 and counts[:5].min() == counts[:5].max() == 23


def test_training_takes_one_image_per_trajectory_of_levels_1_to_6() -> None:
    data = labels(6, 60)
    rows = training_rows(data, seed=0)
    pairs = set(zip(data.object[rows].tolist(), data.trajectory[rows].tolist(), strict=True))
    assert len(pairs) == len(rows) == 6 * 60
    counts = np.bincount(data.blur_level[rows], minlength=7)
    assert len(counts) == 7 and counts[1:].min() > 20


def test_sharp_only_training_takes_the_sharp_images() -> None:
    data = labels(2, 5)
    assert set(data.window[training_rows(data, 0, sharp_only=True)]) == {0}


def test_queries_and_database_share_no_trajectory() -> None:
    data = labels(5, 60)
    sides = queries_and_database(data, seed=0)

    def pairs(rows: np.ndarray) -> set[tuple[int, int]]:
        return set(zip(data.object[rows].tolist(), data.trajectory[rows].tolist(), strict=True))

    queries, database = pairs(sides.queries), pairs(sides.database)
    assert not queries & database
    assert len(queries | database) == 5 * 60
    assert len(database) == len(sides.database)
    # A sixth of each level's trajectories, rounded up per level: a little more than a sixth.
    assert 60 // 6 <= len(queries) / 5 <= 60 // 6 + 6


def test_few_trajectories_still_make_a_database() -> None:
    for trajectories in range(2, 30):
        data = labels(2, trajectories)
        sides = queries_and_database(data, seed=0)
        objects = [set(data.object[rows].tolist()) for rows in (sides.queries, sides.database)]
        assert objects == [{0, 1}, {0, 1}], trajectories
    assert len(queries_and_database(labels(1, 4), 0).database) == 3


def test_a_query_trajectory_gives_one_image_of_each_level_it_has() -> None:
    data = labels(3, 30)
    queries = queries_and_database(data, seed=0).queries
    found = Counter(
        (int(data.object[r]), int(data.trajectory[r]), int(data.blur_level[r])) for r in queries
    )
    assert set(found.values()) == {1}
    for number, trajectory in {key[:2] for key in found}:
        own = (data.object == number) & (data.trajectory == trajectory)
        levels = set(data.blur_level[own & (data.blur_level <= 6)].tolist())
        assert levels == {key[2] for key in found if key[:2] == (number, trajectory)}


def test_selections_depend_on_the_seed_and_not_on_other_objects() -> None:
    small, large = labels(3, 30), labels(5, 30)
    chosen = training_rows(large, seed=4)
    assert np.array_equal(training_rows(small, seed=4), chosen[large.object[chosen] < 3])
    assert not np.array_equal(training_rows(small, seed=4), training_rows(small, seed=5))


def test_distractors_are_all_images_of_levels_1_to_6() -> None:
    data = labels(3, 10)
    rows = distractor_rows(data.blur_level)
    assert set(data.blur_level[rows]) <= set(range(1, 7))
    assert len(rows) == (data.blur_level <= 6).sum() < len(data)


def test_per_level_database_has_each_level_of_each_database_trajectory_once() -> None:
    data = labels(3, 30)
    sides = queries_and_database(data, seed=0)

    def keys(rows: np.ndarray) -> list[tuple[int, int]]:
        return list(zip(data.object[rows].tolist(), data.trajectory[rows].tolist(), strict=True))

    database = set(keys(sides.database))
    found = Counter(zip(keys(sides.per_level), data.blur_level[sides.per_level], strict=True))
    expected = {
        ((o, t), level)
        for o, t, level in zip(data.object, data.trajectory, data.blur_level, strict=True)
        if (o, t) in database and level <= 6
    }
    assert set(found) == expected and set(found.values()) == {1}


def test_the_shortest_real_trajectory_is_the_query() -> None:
    data = labels(3, 4)
    shorter = data.take(np.flatnonzero(~((data.trajectory == 2) & (data.window > 5))))
    sides = real_queries_and_database(shorter)
    assert set(shorter.trajectory[sides.queries]) == {2}
    assert set(shorter.trajectory[sides.database]) == {0, 1, 3}
    assert len(sides.queries) + len(sides.database) == len(shorter) and not len(sides.per_level)
    # Of equally short ones it is the first.
    assert set(data.trajectory[real_queries_and_database(data).queries]) == {0}


def test_unlabelled_images_are_searched_and_nothing_else() -> None:
    plain = labels(3, 12)
    unlabelled = np.arange(5, len(plain), 7)
    known = np.ones(len(plain), bool)
    known[unlabelled] = False
    mixed = replace(plain, object=np.where(known, plain.object, -1))
    for sharp in (False, True):
        assert known[training_rows(mixed, 0, sharp_only=sharp)].all()
    for sides in (queries_and_database(mixed, 0), real_queries_and_database(mixed)):
        assert np.isin(unlabelled, sides.database).all()
        assert known[sides.queries].all() and known[sides.per_level].all()
        assert len(np.unique(sides.database)) == len(sides.database)
    nothing = replace(plain, object=np.full(len(plain), -1), objects=())
    for sides in (queries_and_database(nothing, 0), real_queries_and_database(nothing)):
        assert not len(sides.queries) and len(sides.database) == len(plain)


def test_images_of_unknown_blur_level_are_not_balanced_by_level() -> None:
    plain = labels(2, 12)
    known = np.arange(len(plain)) % 3 > 0
    mixed = replace(plain, blur_level=np.where(known, plain.blur_level, 0))
    sides = queries_and_database(mixed, 0)
    for rows in (training_rows(mixed, 0), sides.queries, sides.database, sides.per_level):
        assert len(rows) and known[rows].all()
    assert len(distractor_rows(np.array([0, 1, 7]))) == 2
