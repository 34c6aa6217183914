"""BLISS: contrastive samples selected by blur level (Sec. 3.2), as a training plan.

The plan of an epoch is data: an array of row numbers that follows from the selection, the
configuration, the seed and the epoch alone. Step s of any number of workers is a slice of it,
which makes training resume exactly and independently of who computes what.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bridge.dataset.splits import BLUR_LEVELS, rng_for
from bridge.errors import InputError


@dataclass(frozen=True)
class BlissConfig:
    """How the samples that accompany a query are selected."""

    contrastive_range: int = 5
    """r: samples have blur levels within r of the query's (0..9; 5 or more is no restriction)."""
    num_positives: int = 1
    """N_p: images of the query's object, from other trajectories."""
    num_negatives: int = 5
    """N_n: images of other objects."""

    def __post_init__(self) -> None:
        if min(self.contrastive_range, self.num_positives, self.num_negatives) < 0:
            raise InputError("The contrastive range and the numbers of samples cannot be negative.")


class BlissSampler:
    """Plans of tuples (query, positives, negatives) over N training images.

    Positives are uniform over the other images of the query's object in the window of blur levels
    [b-r, b+r]; the selection has one image per trajectory, so they show other trajectories.
    Negatives are uniform over the images of all other objects in the window, without repetition
    where there are enough. Queries without any candidate are left out (`num_left_out`).
    """

    def __init__(
        self, objects: np.ndarray, levels: np.ndarray, config: BlissConfig, seed: int
    ) -> None:
        """Index the selection.

        Args:
            objects: int [N], the object of each image.
            levels: int [N], its blur level 1..6.
            config: N_p, N_n and the range.
            seed: of all plans.

        Raises:
            InputError: where no image has a positive and a negative.
        """
        self._config = config
        self._seed = seed
        self._objects = objects.astype(np.int64)
        # Sorted by (object, level), the candidates of a window are one slice: positives.
        # Sorted by level, so are the candidates among all objects: negatives and, thrown away
        # when drawn, the query's own object.
        self._by_object = np.lexsort((levels, self._objects))
        self._by_level = np.argsort(levels, kind="stable")
        low = np.maximum(levels - config.contrastive_range, 1)
        high = np.minimum(levels + config.contrastive_range, BLUR_LEVELS)
        keys = self._objects * (BLUR_LEVELS + 2) + levels
        base = self._objects * (BLUR_LEVELS + 2)
        self._own = _slices(keys[self._by_object], base + low, base + high)
        self._all = _slices(levels[self._by_level], low, high)
        # Where the query itself stands in its slice of positives, to be stepped over.
        rank = np.empty(len(levels), dtype=np.int64)
        rank[self._by_object] = np.arange(len(levels))
        self._self_offset = rank - self._own[0]

        num_own = self._own[1] - self._own[0]
        self._num_positive_candidates = num_own - 1
        self._num_negative_candidates = self._all[1] - self._all[0] - num_own
        usable = np.ones(len(levels), dtype=bool)
        if config.num_positives:
            usable &= self._num_positive_candidates > 0
        if config.num_negatives:
            usable &= self._num_negative_candidates > 0
        self._queries = np.flatnonzero(usable)
        self.num_left_out = int(len(levels) - len(self._queries))
        if not len(self._queries):
            raise InputError(
                "No training image has both a positive and a negative within the contrastive range "
                f"{config.contrastive_range}: more objects, more trajectories or a wider range."
            )

    def __len__(self) -> int:
        """Tuples in the plan of an epoch: one per usable query."""
        return len(self._queries)

    def plan(self, epoch: int) -> np.ndarray:
        """The tuples of an epoch in shuffled order: int32 [tuples, 1 + N_p + N_n]."""
        rng = rng_for(self._seed, "bliss", epoch)
        queries = rng.permutation(self._queries)
        columns = [
            queries[:, None],
            self._positives(queries, rng),
            self._negatives(queries, rng),
        ]
        return np.concatenate(columns, axis=1).astype(np.int32)

    def _positives(self, queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count = self._config.num_positives
        pool = self._num_positive_candidates[queries, None]
        drawn = rng.integers(0, np.maximum(pool, 1), size=(len(queries), count))
        offsets = drawn + (drawn >= self._self_offset[queries, None])
        return self._by_object[self._own[0][queries, None] + offsets] if count else drawn

    def _negatives(self, queries: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count = self._config.num_negatives
        start, stop = self._all[0][queries, None], self._all[1][queries, None]
        may_repeat = self._num_negative_candidates[queries, None] < count
        rows = np.empty((len(queries), count), dtype=np.int64)
        redo = np.ones_like(rows, dtype=bool)
        while redo.any():
            tuples, places = np.nonzero(redo)
            low, high = start[tuples, 0], stop[tuples, 0]
            rows[tuples, places] = self._by_level[rng.integers(low, high)]
            redo = self._objects[rows] == self._objects[queries, None]
            redo |= _repeats(rows) & ~may_repeat
        return rows


def _slices(keys: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop of the values low..high (inclusive) in sorted keys."""
    return np.searchsorted(keys, low, side="left"), np.searchsorted(keys, high, side="right")


def _repeats(rows: np.ndarray) -> np.ndarray:
    """Which entries of each row occurred further left in it: bool like `rows`."""
    repeated = np.zeros(rows.shape, dtype=bool)
    for place in range(1, rows.shape[1]):
        repeated[:, place] = (rows[:, :place] == rows[:, place : place + 1]).any(axis=1)
    return repeated
