"""Vertices that lie at one place, whatever texture seams divide them."""

from __future__ import annotations

import numpy as np

_MIX = np.array([0.61803398875, 0.41421356237, 0.73205080757])


def weld(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct places of vertices; only exactly equal coordinates are one place.

    Args:
        vertices: [V, 3], finite.

    Returns:
        place: int64 [V], the place of each vertex.
        first: int64 [P], one vertex at each place.
    """
    # Equal rows have equal sums, so one sort brings them together; whether neighbours are in fact
    # equal is then asked of the rows themselves.
    order = np.argsort(vertices @ _MIX, kind="stable")
    rows = vertices[order]
    starts = np.ones(len(rows), bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    place = np.empty(len(rows), np.int64)
    place[order] = np.cumsum(starts) - 1
    return place, order[starts]
