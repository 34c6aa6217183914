"""What a ranking comes to: the sums that average precision is made of, whatever ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNLABELLED = -1
"""Label of database images that are no query's positive."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class PrecisionSums:
    """Per query: the sum of the precisions at its positives in the top k, float64 [Q], the number
    of these positives, and of all its positives, both int64 [Q]."""

    precision_sum: Float64
    num_found: Int64
    num_positives: Int64


def positives_of(query_labels: Int64, database_labels: Int64) -> Int64:
    """How many rows of a database [N] have the label of each query, int64 [Q]."""
    names, counts = np.unique(database_labels, return_counts=True)
    place = np.minimum(np.searchsorted(names, query_labels), len(names) - 1)
    is_there = (names[place] == query_labels) & (query_labels != UNLABELLED)
    return np.where(is_there, counts[place], 0)
