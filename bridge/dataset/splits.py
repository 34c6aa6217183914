"""Which objects and images are for training, queries and database (Sec. 5 of the paper).

Everything here follows from the labels and a seed alone. The rules are those of the published
code (`reference` below) where it is more exact than the paper; random draws are keyed by object,
so that adding an object to a dataset changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.blur import NUM_LEVELS
from bridge.common.chance import rng_for
from bridge.dataset.labels import Labels
from bridge.dataset.schema import TEST_SPLIT, TRAIN_SPLIT, VALIDATION_SPLIT

BLUR_LEVELS = 6
"""The benchmark uses levels 1..6; images of levels 7..10 are neither trained on nor searched."""


def split_objects(objects_by_category: Mapping[str, Iterable[str]], seed: int) -> dict[str, str]:
    """Divide objects 70/15/15 into train, validation and test, category by category.

    Per category, train and validation are rounded down and test takes the rest (Sec. 5).

    Returns:
        Split name by object identifier.
    """
    splits = {}
    for category, members in objects_by_category.items():
        names = sorted(members)
        shuffled = [names[i] for i in rng_for(seed, "split", category).permutation(len(names))]
        # In integers, because 0.7 * 90 is less than 63 in floats.
        train, validation = len(names) * 70 // 100, len(names) * 15 // 100
        for position, name in enumerate(shuffled):
            if position < train:
                splits[name] = TRAIN_SPLIT
            else:
                in_validation = position < train + validation
                splits[name] = VALIDATION_SPLIT if in_validation else TEST_SPLIT
    return splits


def assign_levels(has_level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each trajectory of one object to one blur level so that levels are balanced.

    Levels are served from the rarest to the most frequent; what a level cannot fill is spread
    over those after it.

    Args:
        has_level: bool [T, 10]; whether trajectory t has an image of blur level l+1.
        rng: source of the random choices.

    Returns:
        int [T], the 1-based blur level (1..6) of each trajectory, 0 for one left over.
    """
    available_counts = has_level.sum(axis=0)
    total = int(available_counts.max(initial=0))
    quotas = np.full(BLUR_LEVELS, total // BLUR_LEVELS)
    quotas[rng.choice(BLUR_LEVELS, total % BLUR_LEVELS, replace=False)] += 1
    assigned = np.zeros(len(has_level), dtype=np.int32)
    for position, level in enumerate(np.argsort(available_counts[:BLUR_LEVELS], kind="stable")):
        free = np.flatnonzero(has_level[:, level] & (assigned == 0))
        deficit = max(0, quotas[position] - len(free))
        later = np.arange(position + 1, BLUR_LEVELS)
        if deficit and len(later):
            quotas[later] += deficit // len(later)
            quotas[rng.choice(later, deficit % len(later), replace=False)] += 1
        chosen = free if deficit else rng.choice(free, quotas[position], replace=False)
        assigned[chosen] = level + 1
    return assigned


@dataclass(frozen=True)
class _ObjectTable:
    """The images of one object: rows by (trajectory, blur level)."""

    rows: np.ndarray
    trajectory: np.ndarray
    level: np.ndarray

    def pick(self, trajectory: int, level: int, rng: np.random.Generator) -> int:
        """One image of that trajectory and level, uniformly at random."""
        return int(rng.choice(self.rows[(self.trajectory == trajectory) & (self.level == level)]))

    def levels_of(self, trajectory: int) -> np.ndarray:
        """The blur levels 1..6 that a trajectory has, most blurred first."""
        levels = np.unique(self.level[self.trajectory == trajectory])
        return levels[levels <= BLUR_LEVELS][::-1]

    def assignment(self, rng: np.random.Generator) -> dict[int, list[int]]:
        """Trajectories by the blur level that they are assigned to."""
        names, index = np.unique(self.trajectory, return_inverse=True)
        has_level = np.zeros((len(names), NUM_LEVELS), dtype=bool)
        has_level[index, self.level - 1] = True
        assigned = assign_levels(has_level, rng)
        return {level: names[assigned == level].tolist() for level in range(1, BLUR_LEVELS + 1)}


def _tables(labels: Labels, chosen: np.ndarray) -> Iterable[tuple[str, _ObjectTable]]:
    """The objects with those of their images that are chosen, bool [N]."""
    order = np.argsort(labels.object, kind="stable")
    order = order[chosen[order]]
    starts = np.searchsorted(labels.object[order], np.arange(len(labels.objects) + 1))
    for number, name in enumerate(labels.objects):
        rows = order[starts[number] : starts[number + 1]]
        yield name, _ObjectTable(rows, labels.trajectory[rows], labels.blur_level[rows])


def training_rows(labels: Labels, seed: int, *, sharp_only: bool = False) -> np.ndarray:
    """One image of each trajectory, balanced over the blur levels 1..6 within each object.

    Args:
        labels: the train (or validation) split.
        seed: of the selection.
        sharp_only: take the sharp image of each trajectory instead (the paper's Ours-sharp).

    Returns:
        int64 [rows], sorted.
    """
    if sharp_only:
        return np.flatnonzero((labels.window == 0) & labels.has_level)
    rows = []
    for name, table in _tables(labels, labels.has_level):
        rng = rng_for(seed, "training", name)
        assigned = table.assignment(rng)
        picked = [table.pick(t, lv, rng) for lv, members in assigned.items() for t in members]
        rows.append(np.array(picked, np.int64))
    return _sorted_rows(rows)


@dataclass(frozen=True)
class QueriesAndDatabase:
    """Rows (int64, sorted) of the two sides of the retrieval benchmark.

    `per_level` has an image of every level for each database trajectory (the database of Table 4,
    of which one level at a time is searched); it is empty for real images.
    """

    queries: np.ndarray
    database: np.ndarray
    per_level: np.ndarray


def queries_and_database(labels: Labels, seed: int) -> QueriesAndDatabase:
    """Divide the trajectories of each object into queries and database (Sec. 5).

    Of the m trajectories assigned to a level, a sixth (rounded up) are query trajectories. A query
    trajectory gives one image for each of the levels 1..6 that it has; a database trajectory
    gives one image of the level that it is assigned to (the database of Table 2). Where an object
    has fewer than 12 trajectories, rounding up at every level would leave no database: a sixth of
    all of them are query trajectories then. Unlabelled images are in the database.
    """
    tables = _tables(labels, labels.has_level)
    return _together([_sides_of_object(name, table, seed) for name, table in tables], labels)


def _sides_of_object(name: str, table: _ObjectTable, seed: int) -> QueriesAndDatabase:
    queries: list[int] = []
    database: list[int] = []
    per_level: list[int] = []
    rng = rng_for(seed, "queries", name)
    levels_rng = rng_for(seed, "per level", name)
    assigned = table.assignment(rng)
    groups = [[(t, level) for t in members] for level, members in assigned.items()]
    if sum(map(len, groups)) < 2 * BLUR_LEVELS:
        groups = [[pair for group in groups for pair in group]]
    for group in groups:
        shuffled = [group[i] for i in rng.permutation(len(group))]
        num_queries = -(-len(shuffled) // 6)
        for trajectory, _ in shuffled[:num_queries]:
            queries += [table.pick(trajectory, lv, rng) for lv in table.levels_of(trajectory)]
        database += [table.pick(t, lv, rng) for t, lv in shuffled[num_queries:]]
        for trajectory, _ in shuffled[num_queries:]:
            levels = table.levels_of(trajectory)
            per_level += [table.pick(trajectory, level, levels_rng) for level in levels]
    # Arrays, because a number in a list takes five times the memory.
    return QueriesAndDatabase(*(np.array(r, np.int64) for r in (queries, database, per_level)))


def _together(sides: Sequence[QueriesAndDatabase], labels: Labels) -> QueriesAndDatabase:
    return QueriesAndDatabase(
        _sorted_rows([side.queries for side in sides]),
        _sorted_rows([np.flatnonzero(labels.object < 0), *(side.database for side in sides)]),
        _sorted_rows([side.per_level for side in sides]),
    )


def real_queries_and_database(labels: Labels) -> QueriesAndDatabase:
    """Of each real object, the trajectory with the fewest images is the query.

    Of several such trajectories it is the first one in the dataset; all others are the database.
    The paper gives no rule; this one reproduces the counts of its Table 1. Unlabelled images are in
    the database.
    """
    sides = []
    for _, table in _tables(labels, labels.object >= 0):
        names, first, counts = np.unique(table.trajectory, return_index=True, return_counts=True)
        is_query = table.trajectory == names[np.lexsort((first, counts))[0]]
        nothing = np.zeros(0, np.int64)
        sides.append(QueriesAndDatabase(table.rows[is_query], table.rows[~is_query], nothing))
    return _together(sides, labels)


def _sorted_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate([np.zeros(0, np.int64), *rows]))


def distractor_rows(blur_level: np.ndarray) -> np.ndarray:
    """Distractors: every image of the blur levels 1..6 or of an unknown one, int64 [rows].

    Levels are int [N], 0 where unknown.
    """
    return np.flatnonzero(blur_level <= BLUR_LEVELS)
