"""The shards of an import, each worked out from its number when it is asked for."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from bridge.blur import NUM_WINDOWS
from bridge.dataset.manifest import ShardResult
from bridge.dataset.romb.photos import Photo, PhotoTask, make_photo_shard
from bridge.dataset.romb.shard import Trajectory, TrajectoryTask, make_trajectory_shard
from bridge.dataset.romb.sources import Catalogue, Source
from bridge.dataset.romb.statistics import Marks
from bridge.dataset.schema import REAL_SPLIT
from bridge.dataset.shards import shard_path

IMAGES = NUM_WINDOWS + 1
"""Pictures of a trajectory."""

Task = TrajectoryTask | PhotoTask


def make_romb_shard(task: Task, dataset: str, read_alpha: bool) -> ShardResult:
    """Make the shard of a task; `read_alpha` as in `make_trajectory_shard`."""
    if isinstance(task, PhotoTask):
        return make_photo_shard(task, dataset)
    return make_trajectory_shard(task, dataset, read_alpha)


@dataclass(frozen=True)
class TrajectoryShards:
    """The shards of a split of a synthetic set: its trajectories in a row, cut at equal lengths.

    Attributes:
        split: its name.
        source: where the set lies.
        catalogue: the trajectories of the set.
        marks: their labels.
        rows: int64 [n], those in this split, ascending.
        per_shard: trajectories in each shard but the last.
    """

    split: str
    source: Source
    catalogue: Catalogue
    marks: Marks
    rows: np.ndarray
    per_shard: int

    def __len__(self) -> int:
        return -(-len(self.rows) // self.per_shard)

    def path(self, number: int) -> str:
        """File of a shard."""
        return shard_path(self.split, number, len(self))

    def images(self, number: int) -> int:
        """Pictures that a shard has where none is missing."""
        return IMAGES * len(self._rows(number))

    def task(self, number: int) -> TrajectoryTask:
        """Everything there is to know to make a shard."""
        found, marks = self.catalogue, self.marks
        trajectories = tuple(
            Trajectory(
                found.objects[found.object[row]],
                int(found.number[row]),
                marks.level[row],
                marks.severity[row],
                None if found.members is None else found.members[row],
            )
            for row in self._rows(number)
        )
        return TrajectoryTask(self.path(number), self.split, self.source, trajectories)

    def _rows(self, number: int) -> np.ndarray:
        return self.rows[number * self.per_shard : (number + 1) * self.per_shard]


@dataclass(frozen=True)
class PhotoShards:
    """The shards of the real set."""

    source: Source
    shards: tuple[tuple[Photo, ...], ...]

    def __len__(self) -> int:
        return len(self.shards)

    def path(self, number: int) -> str:
        """File of a shard."""
        return shard_path(REAL_SPLIT, number, len(self))

    def images(self, number: int) -> int:
        """Photos that a shard has where none is missing."""
        return len(self.shards[number])

    def task(self, number: int) -> PhotoTask:
        """Everything there is to know to make a shard."""
        return PhotoTask(self.path(number), self.source, self.shards[number])


Part = TrajectoryShards | PhotoShards


@dataclass(frozen=True)
class Plan(Sequence[Task]):
    """Some shards of the parts of an import.

    Attributes:
        parts: all of them.
        numbers: int64 [n], of the shards in each part.
    """

    parts: tuple[Part, ...]
    numbers: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, parts: Sequence[Part], finished: Container[str] = ()) -> Plan:
        """The shards whose paths are not among the finished ones."""
        missing = [
            np.array([n for n in range(len(part)) if part.path(n) not in finished], np.int64)
            for part in parts
        ]
        return cls(tuple(parts), tuple(missing))

    @property
    def images(self) -> int:
        """Pictures in these shards where none is missing."""
        return sum(
            part.images(int(number))
            for part, numbers in zip(self.parts, self.numbers, strict=True)
            for number in numbers
        )

    def __len__(self) -> int:
        return sum(map(len, self.numbers))

    @overload
    def __getitem__(self, position: int) -> Task: ...
    @overload
    def __getitem__(self, position: slice) -> list[Task]: ...
    def __getitem__(self, position: int | slice) -> Task | list[Task]:
        if isinstance(position, slice):
            return [self[i] for i in range(len(self))[position]]
        position = range(len(self))[position]
        for part, numbers in zip(self.parts, self.numbers, strict=True):
            if position < len(numbers):
                return part.task(int(numbers[position]))
            position -= len(numbers)
        raise IndexError(position)
