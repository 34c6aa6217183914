"""Exact ranking of a database by similarity with torch, for GPUs; see `bridge.ranking`.

Similarities are float32 matrix products, so they may differ from those of `bridge.ranking` in the
last bits; the order of equal ones is the same: by database row.
"""

from __future__ import annotations

import numpy as np
import torch

from bridge.metrics.precision_sums import UNLABELLED, Float32, Int64, PrecisionSums

_BLOCK_BYTES = 2 << 30
_LARGEST_BLOCK = 1024
_SORTING_BYTES = 40
"""Upper bound of the memory that sorting takes per similarity: keys, rows and copies of both."""


def precision_sums(
    queries: Float32,
    database: Float32,
    query_labels: Int64,
    database_labels: Int64,
    k: int | None = None,
    rows: Int64 | None = None,
    *,
    device: str,
) -> PrecisionSums:
    """As `bridge.metrics.ranking.precision_sums`, on a torch device.

    Raises ValueError for a device that there is not.
    """
    rows = np.arange(len(database)) if rows is None else rows
    k = len(rows) if k is None else min(k, len(rows))
    there = _device(device)
    candidates = torch.from_numpy(database[rows]).to(there)
    labels = torch.from_numpy(database_labels[rows]).to(there)
    block = min(_BLOCK_BYTES // (_SORTING_BYTES * len(rows)) or 1, _LARGEST_BLOCK)
    counts = _num_positives(query_labels, database_labels[rows])
    sums, found = np.zeros(len(queries)), np.zeros(len(queries), np.int64)
    # Every product has one shape: another one might round the same similarities differently.
    batch = torch.zeros(block, queries.shape[1], device=there)
    wanted = torch.full((block, 1), UNLABELLED, device=there)
    for start in range(0, len(queries), block):
        part = slice(start, min(start + block, len(queries)))
        size = part.stop - start
        batch[:size] = torch.from_numpy(queries[part])
        wanted[:size, 0] = torch.from_numpy(query_labels[part])
        order = _best_rows(_product(batch, candidates), k)
        block_sums, block_found = _sums(labels[order] == wanted)
        sums[part], found[part] = block_sums[:size].cpu().numpy(), block_found[:size].cpu().numpy()
    is_query = query_labels != UNLABELLED
    return PrecisionSums(sums * is_query, found * is_query, counts)


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"There is no device {name!r} here: {error}") from error


def _num_positives(query_labels: Int64, database_labels: Int64) -> Int64:
    names, counts = np.unique(database_labels, return_counts=True)
    place = np.minimum(np.searchsorted(names, query_labels), len(names) - 1)
    is_there = (names[place] == query_labels) & (query_labels != UNLABELLED)
    return np.where(is_there, counts[place], 0)


def _product(queries: torch.Tensor, database: torch.Tensor) -> torch.Tensor:
    """Similarities float32 [Q, N], without TF32 whatever the process has chosen."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        return queries @ database.T
    finally:
        torch.set_float32_matmul_precision(precision)


def _best_rows(scores: torch.Tensor, k: int) -> torch.Tensor:
    """The k best rows [Q, k], best first, equal similarities by row."""
    scores += 0.0  # -0.0 ties with 0.0
    if k == scores.shape[1]:
        return scores.sort(dim=1, descending=True, stable=True).indices
    # topk promises no order of ties, so the row goes into the key.
    bits = scores.view(torch.int32).long()
    ascending = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    rows = torch.arange(scores.shape[1], device=scores.device)
    return 0xFFFFFFFF - (((ascending << 32) | (0xFFFFFFFF - rows)).topk(k).values & 0xFFFFFFFF)


def _sums(hits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the precisions at the hits of every ranking [Q, k], and number of hits."""
    found = hits.cumsum(1)
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device, dtype=torch.float64)
    return (found / ranks * hits).sum(1), found[:, -1]
