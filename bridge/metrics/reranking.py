"""Rankings whose first rows are put in another order, and the rows that these are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bridge.metrics.precision_sums import (
    UNLABELLED,
    Float32,
    Int64,
    PrecisionSums,
    positives_of,
)


@dataclass(frozen=True)
class Reranking:
    """The first rows of every ranking in another order; all others stay behind them as they are.

    `depth` is the number of first rows. `order` is given queries float32 [Q, d] and their first
    rows int64 [Q, min(depth, N)], best first, and returns the same rows in the new order.
    """

    depth: int
    order: Callable[[Float32, Int64], Int64]


def best_rows(
    queries: Float32, database: Float32, k: int, rows: Int64 | None = None, *, device: str = "cpu"
) -> Int64:
    """The first rows of the exact ranking of each query, int64 [Q, min(k, N)], best first.

    Queries are float32 [Q, d], the database [N, d], of which `rows` (ascending; None for all) are
    ranked. Similarity and order of ties are those of `evaluate_retrieval`.
    """
    # What ranks is compiled or needs torch.
    if device == "cpu":
        from bridge.metrics import ranking

        return ranking.best_rows(queries, database, k, rows)
    from bridge.metrics import ranking_torch

    return ranking_torch.best_rows(queries, database, k, rows, device=device)


def reranked_sums(
    plain: Callable[[int | None], PrecisionSums],
    first: Int64,
    query_labels: Int64,
    database_labels: Int64,
    k: int | None,
) -> PrecisionSums:
    """The sums at `k` of rankings that begin with `first` [Q, m] and go on as they did.

    `plain` gives those of the rankings as they were, at any cut-off; `database_labels` are of the
    rows that `first` counts.
    """
    depth = first.shape[1]
    shown = first if k is None else first[:, :k]
    is_query = query_labels != UNLABELLED
    hits = (database_labels[shown] == query_labels[:, None]) & is_query[:, None]
    found = hits.cumsum(axis=1)
    sums = (found / np.arange(1, shown.shape[1] + 1) * hits).sum(axis=1)
    count = found[:, -1]
    if k is not None and k <= depth:
        return PrecisionSums(sums, count, positives_of(query_labels, database_labels))
    # A positive behind the first rows has the rank that it had.
    whole, head = plain(k), plain(depth)
    return PrecisionSums(
        sums + (whole.precision_sum - head.precision_sum),
        count + (whole.num_found - head.num_found),
        whole.num_positives,
    )
