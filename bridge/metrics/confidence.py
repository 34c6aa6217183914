"""Confidence intervals of mAP: the bootstrap over query objects.

Queries of one object are images of one thing, so they err together: a draw takes objects with
replacement, and of a drawn object all its queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_SAMPLES = 100
"""Draws of a bootstrap; with fewer, no draw at all may hold a blur level's queries."""

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Confidence:
    """Intervals (low, high) of mAP by denominator, over all queries and by query blur level."""

    map: dict[str, tuple[float, float]]
    map_by_query_blur_level: dict[int, dict[str, tuple[float, float]]]


def bootstrap(
    average_precision: Mapping[str, Float64],
    query_labels: Int64,
    query_blur_levels: Int64,
    *,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> Confidence:
    """Percentile intervals that hold a share `level` of `samples` draws of as many objects.

    `average_precision` is float64 [Q] by denominator, labels are int64 [Q], blur levels int64 [Q]
    or empty. A draw without queries of a blur level says nothing about it. Equal arguments give
    equal intervals.
    Raises ValueError for labels of another length, a level outside (0, 1) or fewer than 100 draws.
    """
    if not 0 < level < 1:
        raise ValueError(f"The confidence level must be between 0 and 1, not {level}.")
    if samples < FEWEST_SAMPLES:
        raise ValueError(f"A bootstrap needs at least {FEWEST_SAMPLES} samples, not {samples}.")
    if any(len(values) != len(query_labels) for values in average_precision.values()):
        raise ValueError("A bootstrap needs the label of every query.")
    names, objects = np.unique(query_labels, return_inverse=True)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=samples)
    quantiles = ((1 - level) / 2, (1 + level) / 2)

    def intervals(selected: NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
        def drawn(values: Float64) -> Float64:
            sums = np.zeros(len(names))
            np.add.at(sums, objects[selected], values[selected])
            return draws @ sums

        counts = drawn(np.ones(len(objects)))
        used = counts > 0
        return {
            name: tuple(np.quantile(drawn(values)[used] / counts[used], quantiles).tolist())
            for name, values in average_precision.items()
        }

    return Confidence(
        map=intervals(np.ones(len(query_labels), bool)),
        map_by_query_blur_level={
            int(blur_level): intervals(query_blur_levels == blur_level)
            for blur_level in np.unique(query_blur_levels)
        },
    )


def standard_error(
    average_precision: Float64, query_labels: Int64, *, samples: int = 1000, seed: int = 0
) -> float | None:
    """Standard deviation of the mean over `samples` draws of as many objects, as in `bootstrap`.

    None of a single object, which says nothing of others. Arguments and errors as there, with the
    values of one denominator.
    """
    if samples < FEWEST_SAMPLES:
        raise ValueError(f"A bootstrap needs at least {FEWEST_SAMPLES} samples, not {samples}.")
    if len(average_precision) != len(query_labels):
        raise ValueError("A bootstrap needs the label of every query.")
    names, objects = np.unique(query_labels, return_inverse=True)
    if len(names) < 2:
        return None
    share = np.full(len(names), 1 / len(names))
    draws = np.random.default_rng(seed).multinomial(len(names), share, size=samples)
    sums = np.bincount(objects, average_precision)
    return float(((draws @ sums) / (draws @ np.bincount(objects))).std(ddof=1))
