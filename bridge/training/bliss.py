"""BLISS: contrastive samples selected by blur level (Sec. 3.2), as a training plan.

The plan of an epoch is data: an array of row numbers that follows from the selection, the
configuration, the seed and the epoch alone. Step s of any number of workers is a slice of it,
which makes training resume exactly and independently of who computes what.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bridge.common.chance import rng_for
from bridge.common.errors import InputError
from bridge.training.recipe import BlissConfig

WINDOW_TOLERANCE = 1e-4
"""Positions this much further apart than the range are still within it: they are float32."""


def positions(levels: np.ndarray, severities: np.ndarray, config: BlissConfig) -> np.ndarray:
    """Where images stand on the scale that the contrastive range is measured on.

    Args:
        levels: int [N], blur levels 1..10 (Eq. 6).
        severities: float [N], blur severities in 0..1 (Eq. 5), NaN where unknown.
        config: its `window` chooses between the two.

    Returns:
        float32 [N]: the levels, or 10 times the severities.

    Raises:
        InputError: the window needs the severities and some are unknown.
    """
    if config.window == "level":
        return levels.astype(np.float32)
    unknown = int(np.isnan(severities).sum())
    if unknown:
        raise InputError(
            f"{unknown} of {len(severities)} training images have no blur severity, which the "
            'contrastive window "severity" needs: use the window "level".'
        )
    return 10 * severities.astype(np.float32)


class BlissSampler:
    """Plans of tuples (query, positives, negatives) over N training images.

    Positives are uniform over the other images of the query's object with positions in the window
    [b-r, b+r] around its own; the selection has one image per trajectory, so they show other
    trajectories. Negatives are uniform over the images of all other objects in the window. Neither
    repeat where there are enough of them. Queries without any candidate are left out
    (`num_left_out`).
    """

    def __init__(
        self, objects: np.ndarray, positions: np.ndarray, config: BlissConfig, seed: int
    ) -> None:
        """Index the selection.

        Args:
            objects: int [N], the object of each image.
            positions: float [N], its blur level or 10 times its blur severity (`positions`).
            config: N_p, N_n and the range.
            seed: of all plans.

        Raises:
            InputError: where no image has a positive and a negative.
        """
        self._config = config
        self._seed = seed
        self._objects = objects.astype(np.int64)
        ranks, low, high = _windows(positions, config.contrastive_range)
        # Sorted by (object, position), the candidates of a window are one slice: positives.
        # Sorted by position, so are the candidates among all objects: negatives and, thrown away
        # when drawn, the query's own object.
        base = self._objects * (int(ranks.max(initial=0)) + 1)
        self._by_object = np.argsort(base + ranks, kind="stable")
        self._by_position = np.argsort(ranks, kind="stable")
        self._own = _slices((base + ranks)[self._by_object], base + low, base + high)
        self._all = _slices(ranks[self._by_position], low, high)
        # Where the query itself stands in its slice of positives, to be stepped over.
        place = np.empty(len(ranks), dtype=np.int64)
        place[self._by_object] = np.arange(len(ranks))
        self._self_offset = place - self._own[0]

        num_own = self._own[1] - self._own[0]
        self._num_positive_candidates = num_own - 1
        self._num_negative_candidates = self._all[1] - self._all[0] - num_own
        usable = np.ones(len(ranks), dtype=bool)
        if config.num_positives:
            usable &= self._num_positive_candidates > 0
        if config.num_negatives:
            usable &= self._num_negative_candidates > 0
        self._queries = np.flatnonzero(usable)
        self.num_left_out = int(len(ranks) - len(self._queries))
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

        def positive(places: np.ndarray) -> np.ndarray:
            rows = queries[places]
            drawn = rng.integers(0, self._num_positive_candidates[rows])
            offsets = drawn + (drawn >= self._self_offset[rows])
            return self._by_object[self._own[0][rows] + offsets]

        def negative(places: np.ndarray) -> np.ndarray:
            rows = queries[places]
            drawn = self._by_position[rng.integers(self._all[0][rows], self._all[1][rows])]
            return np.where(self._objects[drawn] == self._objects[rows], -1, drawn)

        config = self._config
        columns = [
            queries[:, None],
            _draw(positive, self._num_positive_candidates[queries], config.num_positives),
            _draw(negative, self._num_negative_candidates[queries], config.num_negatives),
        ]
        return np.concatenate(columns, axis=1).astype(np.int32)


def _windows(positions: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions as ranks among their values, and the lowest and highest rank in each window."""
    # In float64, so that sums of float32 values are not rounded again.
    values, ranks = np.unique(positions.astype(np.float64), return_inverse=True)
    low = np.searchsorted(values, values - reach - WINDOW_TOLERANCE, side="left")
    high = np.searchsorted(values, values + reach + WINDOW_TOLERANCE, side="right") - 1
    return ranks, low[ranks], high[ranks]


def _slices(keys: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop of the values low..high (inclusive) in sorted keys."""
    return np.searchsorted(keys, low, side="left"), np.searchsorted(keys, high, side="right")


def _draw(
    draw: Callable[[np.ndarray], np.ndarray], num_candidates: np.ndarray, count: int
) -> np.ndarray:
    """Samples of all tuples: int64 [tuples, count], without repetition where there are enough.

    Args:
        draw: one random candidate for each of the tuples it is given, or -1 to be asked again.
        num_candidates: int [tuples].
        count: samples of a tuple.
    """
    rows = np.full((len(num_candidates), count), -1, dtype=np.int64)
    enough = num_candidates >= count
    unfinished = np.arange(len(rows))
    while len(unfinished):
        part = rows[unfinished]
        redo = (part < 0) | (_repeats(part) & enough[unfinished, None])
        tuples, places = np.nonzero(redo)
        part[tuples, places] = draw(unfinished[tuples])
        rows[unfinished] = part
        unfinished = unfinished[redo.any(axis=1)]
    return rows


def _repeats(rows: np.ndarray) -> np.ndarray:
    """Which entries of each row occurred further left in it: bool like `rows`."""
    repeated = np.zeros(rows.shape, dtype=bool)
    for place in range(1, rows.shape[1]):
        repeated[:, place] = (rows[:, :place] == rows[:, place : place + 1]).any(axis=1)
    return repeated
