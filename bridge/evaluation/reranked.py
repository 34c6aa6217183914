"""Evaluation of re-ranked searches: what they look at is the database of a protocol alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge.index.config import AlphaQE, SuperGlobal
from bridge.index.rerank import blocks, bytes_per_query, expanded_queries, new_order
from bridge.metrics import Reranking, best_rows

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


def expanded(
    queries: Float32, database: Float32, options: AlphaQE, *, device: str = "cpu"
) -> Float32:
    """The queries float32 [Q, d], each expanded by its best rows of a database [N, d]."""
    if not options.neighbours:
        return queries
    best = best_rows(queries, database, options.neighbours, device=device)
    made = queries.copy()
    for block in blocks(len(queries), bytes_per_query(options, *_sizes(database, best))):
        made[block] = expanded_queries(queries[block], database[best[block]], options)
    return made


def reordered(database: Float32, options: SuperGlobal) -> Reranking:
    """The first rows of a database [N, d] in the order of SuperGlobal re-ranking."""

    def order(queries: Float32, best: Int64) -> Int64:
        made = best.copy()
        for block in blocks(len(queries), bytes_per_query(options, *_sizes(database, best))):
            places = new_order(queries[block], database[best[block]], options)
            made[block] = np.take_along_axis(best[block], places, axis=1)
        return made

    return Reranking(options.candidates, order)


def _sizes(database: Float32, best: Int64) -> tuple[int, int]:
    return database.shape[1], best.shape[1]
