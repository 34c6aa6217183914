"""Which objects a synthetic DATASET shows, and how their trajectories are cut into shards.

A plan computes each shard from its number when it is asked for, so that one of 100,000 shards
costs no more than its list of objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bridge.common.chance import rng_for
from bridge.dataset.schema import DISTRACTOR_SPLIT, SPLITS
from bridge.dataset.shards import shard_path
from bridge.dataset.splits import split_objects
from bridge.simulator.config import Kind
from bridge.simulator.objects.catalogue import ObjectEntry


@dataclass(frozen=True)
class ShardTask:
    """One shard: its file and the trajectories in it, which are tried in this order."""

    path: str
    split: str
    trajectories: tuple[tuple[ObjectEntry, range], ...]


@dataclass(frozen=True)
class SplitPlan:
    """The shards of one split: all (object, trajectory) pairs in a row, cut at equal lengths.

    Attributes:
        split: its name.
        entries: its objects.
        trajectories: per object.
        per_shard: trajectories in each shard but the last.
    """

    split: str
    entries: tuple[ObjectEntry, ...]
    trajectories: int
    per_shard: int

    @property
    def num_trajectories(self) -> int:
        """Trajectories that are tried."""
        return len(self.entries) * self.trajectories

    def __len__(self) -> int:
        return -(-self.num_trajectories // self.per_shard)

    def path(self, number: int) -> str:
        """File of a shard."""
        return shard_path(self.split, number, len(self))

    def pairs(self, number: int) -> range:
        """Which of all (object, trajectory) pairs a shard holds."""
        start = number * self.per_shard
        return range(start, min(start + self.per_shard, self.num_trajectories))

    def task(self, number: int) -> ShardTask:
        """Everything there is to know to make a shard."""
        pairs, length = self.pairs(number), self.trajectories
        content = tuple(
            (
                self.entries[i],
                range(max(pairs.start - i * length, 0), min(pairs.stop - i * length, length)),
            )
            for i in range(pairs.start // length, (pairs.stop - 1) // length + 1)
        )
        return ShardTask(self.path(number), self.split, content)


@dataclass(frozen=True)
class ShardPlan:
    """All shards of a dataset, split by split."""

    splits: tuple[SplitPlan, ...]

    @property
    def num_trajectories(self) -> int:
        """Trajectories that are tried."""
        return sum(split.num_trajectories for split in self.splits)

    @property
    def num_shards(self) -> int:
        """Files."""
        return sum(map(len, self.splits))

    def missing(self, finished: Container[str]) -> ShardsToMake:
        """The shards whose paths are not among the finished ones."""
        return ShardsToMake(
            self.splits,
            tuple(
                np.array([n for n in range(len(split)) if split.path(n) not in finished], np.int64)
                for split in self.splits
            ),
        )


@dataclass(frozen=True)
class ShardsToMake(Sequence[ShardTask]):
    """Some shards of a plan, each computed from its number when it is asked for.

    Attributes:
        splits: of the plan.
        numbers: of the shards in each of them.
    """

    splits: tuple[SplitPlan, ...]
    numbers: tuple[NDArray[np.int64], ...]

    @property
    def num_trajectories(self) -> int:
        """Trajectories in them."""
        return sum(
            len(split.pairs(int(number)))
            for split, numbers in zip(self.splits, self.numbers, strict=True)
            for number in numbers
        )

    def __len__(self) -> int:
        return sum(map(len, self.numbers))

    @overload
    def __getitem__(self, position: int) -> ShardTask: ...
    @overload
    def __getitem__(self, position: slice) -> list[ShardTask]: ...
    def __getitem__(self, position: int | slice) -> ShardTask | list[ShardTask]:
        if isinstance(position, slice):
            return [self[i] for i in range(len(self))[position]]
        position = range(len(self))[position]
        for split, numbers in zip(self.splits, self.numbers, strict=True):
            if position < len(numbers):
                return split.task(int(numbers[position]))
            position -= len(numbers)
        raise IndexError(position)


def plan_shards(
    entries: Sequence[ObjectEntry],
    kind: Kind,
    trajectories: int,
    trajectories_per_shard: int,
    seed: int,
) -> ShardPlan:
    """Divide the objects of a dataset among its splits, and each split into shards."""
    by_split: dict[str, list[ObjectEntry]] = defaultdict(list)
    if kind == "distractors":
        by_split[DISTRACTOR_SPLIT] = list(entries)
    else:
        by_category = {
            category: [entry.object_id for entry in members]
            for category, members in _by_category(entries).items()
        }
        splits = split_objects(by_category, seed)
        for entry in entries:
            by_split[splits[entry.object_id]].append(entry)
    return ShardPlan(
        tuple(
            SplitPlan(split, tuple(by_split[split]), trajectories, trajectories_per_shard)
            for split in SPLITS
            if split in by_split
        )
    )


def select_objects(
    entries: Sequence[ObjectEntry],
    per_category: int | None,
    seed: int,
    kind: Kind,
    unusable: Container[str] = (),
) -> list[ObjectEntry]:
    """At most `per_category` random objects of each category, in the order of their names.

    Objects whose ids are `unusable` give way to the next ones of the random order. The two kinds
    take from opposite ends of one random order, so that datasets and distractors of the same seed
    share objects only where a category has too few for both.
    """
    chosen: list[ObjectEntry] = []
    for category, members in _by_category(entries).items():
        order = rng_for(seed, "objects", category).permutation(len(members))
        if kind == "distractors":
            order = order[::-1]
        usable = [members[i] for i in order if members[i].object_id not in unusable]
        chosen += usable[:per_category]
    return sorted(chosen, key=lambda entry: entry.object_id)


def spread(entries: Sequence[ObjectEntry], seed: int) -> list[ObjectEntry]:
    """All objects in a random order of which every beginning has as many categories as it can."""
    groups = list(_by_category(entries).values())
    rng = rng_for(seed, "spread")
    rng.shuffle(groups)
    shuffled = [[members[i] for i in rng.permutation(len(members))] for members in groups]
    return [entry for layer in zip_longest(*shuffled) for entry in layer if entry is not None]


def _by_category(entries: Iterable[ObjectEntry]) -> dict[str, list[ObjectEntry]]:
    groups: dict[str, list[ObjectEntry]] = defaultdict(list)
    for entry in entries:
        groups[entry.category].append(entry)
    return groups
