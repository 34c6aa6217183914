"""Exact ranking of a database by similarity with torch, for GPUs; see `bridge.ranking`.

Similarities are float32 matrix products, so they may differ from those of `bridge.ranking` in the
last bits; the order of equal ones is the same: by database row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bridge.metrics.precision_sums import (
    UNLABELLED,
    Float32,
    Int64,
    PrecisionSums,
    positives_of,
)

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
    counts = positives_of(query_labels, database_labels[rows])
    sums, found = np.zeros(len(queries)), np.zeros(len(queries), np.int64)
    for part, batch in _batches(queries, candidates):
        size = part.stop - part.start
        wanted = torch.from_numpy(query_labels[part, None]).to(there)
        order = _best_rows(_product(batch, candidates), k)
        block_sums, block_found = _sums(labels[order[:size]] == wanted)
        sums[part], found[part] = block_sums.cpu().numpy(), block_found.cpu().numpy()
    is_query = query_labels != UNLABELLED
    return PrecisionSums(sums * is_query, found * is_query, counts)


def best_rows(
    queries: Float32, database: Float32, k: int, rows: Int64 | None = None, *, device: str
) -> Int64:
    """As `bridge.metrics.ranking.best_rows`, on a torch device."""
    rows = np.arange(len(database)) if rows is None else rows
    k = min(k, len(rows))
    best = np.empty((len(queries), k), np.int64)
    candidates = torch.from_numpy(database[rows]).to(_device(device))
    for part, batch in _batches(queries, candidates):
        order = _best_rows(_product(batch, candidates), k)
        best[part] = order[: part.stop - part.start].cpu().numpy()
    return rows[best]


def _batches(queries: Float32, candidates: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """The queries on the candidates' device, block by block, and the padding of the last one."""
    block = min(_BLOCK_BYTES // (_SORTING_BYTES * len(candidates)) or 1, _LARGEST_BLOCK)
    # Every product has one shape: another one might round the same similarities differently.
    batch = torch.zeros(block, queries.shape[1], device=candidates.device)
    for start in range(0, len(queries), block):
        part = slice(start, min(start + block, len(queries)))
        batch[: part.stop - start] = torch.from_numpy(queries[part])
        yield part, batch


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"There is no device {name!r} here: {error}") from error


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
