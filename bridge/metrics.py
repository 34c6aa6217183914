"""Mean average precision of retrieval, overall and by query blur level (paper, Sec. 5).

The paper prints mAP@all without distractors and mAP@100 with them. Its code divides by the
positives *found in the top k*; the field also divides by min(k, positives) and by all positives.
All three are computed here under their own names, see `DENOMINATORS`. They agree when k is the
whole database.

Average precision needs the ranks of the positives only, so no row of similarities is ever sorted.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType

import numba
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

DISTRACTOR = -1
"""Label of database images that are no query's positive."""

DENOMINATORS = ("retrieved", "capped", "all")
"""What average precision divides by: the positives found in the top k (the paper's code, 0 if
none), min(k, positives) (Google Landmarks, Kaggle), or all positives (the textbook)."""

K_BY_PROTOCOL: Mapping[str, int | None] = MappingProxyType(
    {"mixed": None, "mixed_with_distractors": 100}
)
"""Cut-off k of each evaluation protocol of the paper; None is mAP@all."""

_BLOCK_BYTES = 256 << 20
_NUM_BUCKETS = 4096
_LOW_32_BITS = np.uint64(0xFFFFFFFF)

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class RetrievalResult:
    """What one evaluation measured. Every mAP is a fraction in [0, 1].

    `map`: mAP over all queries by denominator.
    `map_by_query_blur_level`: the same over the queries of one level; only levels with queries.
    `average_precision`: float64 [Q] by denominator, in the order of the queries.
    `k`: the cut-off asked for, None for the whole database.
    `by_database_blur_level`: the same queries against the database images of one blur level alone
    (paper, Table 4); empty unless the database's blur levels were given.
    """

    map: dict[str, float]
    map_by_query_blur_level: dict[int, dict[str, float]]
    average_precision: dict[str, Float64]
    num_queries: int
    num_queries_by_blur_level: dict[int, int]
    num_queries_without_positives: int
    num_database: int
    k: int | None
    by_database_blur_level: dict[int, RetrievalResult] = field(default_factory=dict)


def average_precision(
    ranks: ArrayLike, num_positives: int, k: int | None = None
) -> dict[str, float]:
    """Average precision at k of one query, by denominator, in [0, 1].

    `ranks` are the positives' 1-based ranks, ascending; they may stop anywhere after rank k.
    Raises ValueError for ranks that are not ascending from 1 or outnumber `num_positives`.
    """
    ranks = np.asarray(ranks, np.int64)
    if (np.diff(ranks, prepend=0) < 1).any():
        raise ValueError("Ranks must be ascending, distinct and start at 1.")
    if len(ranks) > num_positives:
        raise ValueError(f"There are {len(ranks)} ranks for {num_positives} positives.")
    found = ranks if k is None else ranks[ranks <= _checked_k(k)]
    precision_sum = (np.arange(1, len(found) + 1) / found).sum()
    by_denominator = _divide(
        np.array([precision_sum]), np.array([len(found)]), np.array([num_positives]), k
    )
    return {name: float(values[0]) for name, values in by_denominator.items()}


def evaluate_retrieval(
    query_descriptors: ArrayLike,
    database_descriptors: ArrayLike,
    query_labels: ArrayLike,
    database_labels: ArrayLike,
    *,
    k: int | None = None,
    query_blur_levels: ArrayLike | None = None,
    database_blur_levels: ArrayLike | None = None,
) -> RetrievalResult:
    """mAP@k of exact search by dot product (paper, Sec. 5), in bounded memory.

    Descriptors are float [Q, d] and [N, d], compared in float32; labels are integers [Q] and [N],
    equal labels are positives, -1 is a distractor and never a positive. Blur levels are integers.
    The database is ranked by descending similarity, equal similarities by ascending row number.
    mAP is the mean over queries; a query without positives scores 0 and counts. `k` beyond the
    database means the whole of it.
    Raises ValueError for empty, mis-shaped or non-finite input, non-integer labels, or k < 1.
    """
    queries = _checked_descriptors(query_descriptors, "query_descriptors")
    database = _checked_descriptors(database_descriptors, "database_descriptors")
    if queries.shape[1] != database.shape[1]:
        raise ValueError(
            f"Query descriptors have {queries.shape[1]} dimensions, "
            f"database descriptors {database.shape[1]}."
        )
    labels = _checked_integers(query_labels, len(queries), "query_labels")
    candidates = _checked_integers(database_labels, len(database), "database_labels")
    levels = _optional_levels(query_blur_levels, len(queries), "query_blur_levels")
    splits = _optional_levels(database_blur_levels, len(database), "database_blur_levels")
    _checked_k(k)
    by_level = {
        int(level): _evaluate(
            queries, database[splits == level], labels, candidates[splits == level], levels, k
        )
        for level in np.unique(splits)
    }
    return _evaluate(queries, database, labels, candidates, levels, k, by_level)


def _evaluate(
    queries: NDArray[np.float32],
    database: NDArray[np.float32],
    query_labels: NDArray[np.int64],
    database_labels: NDArray[np.int64],
    query_levels: NDArray[np.int64],
    k: int | None,
    by_database_level: dict[int, RetrievalResult] | None = None,
) -> RetrievalResult:
    rows, begin, end = _positive_rows(query_labels, database_labels)
    sums, found = _precision_sums(queries, database, rows, begin, end, k)
    per_query = _divide(sums, found, end - begin, k)
    levels, counts = np.unique(query_levels, return_counts=True)
    return RetrievalResult(
        map=_means(per_query),
        map_by_query_blur_level={
            int(level): _means({n: ap[query_levels == level] for n, ap in per_query.items()})
            for level in levels
        },
        average_precision=per_query,
        num_queries=len(queries),
        num_queries_by_blur_level=dict(zip(levels.tolist(), counts.tolist(), strict=True)),
        num_queries_without_positives=int((begin == end).sum()),
        num_database=len(database),
        k=k,
        by_database_blur_level=by_database_level or {},
    )


def _means(per_query: dict[str, Float64]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in per_query.items()}


def _divide(
    precision_sums: Float64,
    num_found: NDArray[np.int64],
    num_positives: NDArray[np.int64],
    k: int | None,
) -> dict[str, Float64]:
    capped = num_positives if k is None else np.minimum(num_positives, k)
    denominators = (num_found, capped, num_positives)
    # A sum over no positives is 0, so dividing it by 1 scores the query 0 as the rule wants.
    return {
        name: precision_sums / np.maximum(denominator, 1)
        for name, denominator in zip(DENOMINATORS, denominators, strict=True)
    }


def _positive_rows(
    query_labels: NDArray[np.int64], database_labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Database rows grouped by label, and where each query's positives begin and end in them."""
    rows = np.argsort(database_labels, kind="stable")
    grouped = database_labels[rows]
    begin = np.searchsorted(grouped, query_labels, "left")
    end = np.searchsorted(grouped, query_labels, "right")
    return rows, begin, np.where(query_labels == DISTRACTOR, begin, end)


def _precision_sums(
    queries: NDArray[np.float32],
    database: NDArray[np.float32],
    rows: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    k: int | None,
) -> tuple[Float64, NDArray[np.int64]]:
    """Per query: the sum of the precisions at its positives in the top k, and their number."""
    sums = np.zeros(len(queries))
    found = np.zeros(len(queries), np.int64)
    k = len(database) if k is None else k
    # Plain threads around a kernel without the GIL: safe to call from any thread or process,
    # which numba's own parallel loops are not on every threading layer.
    num_threads = numba.config.NUMBA_NUM_THREADS
    block = max(1, min(len(queries), _BLOCK_BYTES // (4 * len(database))))
    scores = np.empty((block, len(database)), np.float32)
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(queries), block):
            stop = min(start + block, len(queries))
            np.matmul(queries[start:stop], database.T, out=scores[: stop - start])
            bounds = np.linspace(start, stop, num_threads + 1).astype(int)
            tasks = [
                pool.submit(
                    _precision_sum_kernel,
                    scores[lo - start : hi - start],
                    rows, begin[lo:hi], end[lo:hi], k, sums[lo:hi], found[lo:hi],
                )
                for lo, hi in zip(bounds[:-1], bounds[1:], strict=True)
            ]  # fmt: skip
            for task in tasks:
                task.result()
    return sums, found


@njit(nogil=True, cache=True)
def _sort_key(score_bits: int, row: int) -> np.uint64:
    """One integer that orders (similarity ascending, row descending), from the float32's bits."""
    bits = np.uint32(score_bits)
    if bits == np.uint32(0x80000000):  # -0.0 ties with 0.0
        bits = np.uint32(0)
    flip = np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000)
    return (np.uint64(bits ^ flip) << np.uint64(32)) | (_LOW_32_BITS - np.uint64(row))


@njit(nogil=True, cache=True)
def _bucket(score: float, lowest: float, scale: float) -> int:
    """Bucket of a similarity: 0 below the lowest positive, then equal steps up to the highest."""
    position = (score - lowest) * scale
    if not position >= 0:
        return 0
    return _NUM_BUCKETS if position >= _NUM_BUCKETS - 1 else int(position) + 1


@njit(nogil=True, cache=True)
def _rank_positives(scores, rows, keys, first, num_at_or_above):  # type: ignore[no-untyped-def]
    """Count into `num_at_or_above[p]` the database rows that stand at or above p positives.

    Each row is placed among the sorted positives: a table over equal steps of similarity narrows
    the place down to a few positives, a binary search by exact key decides between these.
    """
    bits = scores.view(np.uint32)
    lowest, highest = scores[rows].min(), scores[rows].max()
    scale = (_NUM_BUCKETS - 1) / (np.float64(highest) - lowest) if highest > lowest else 0.0
    first[:] = 0
    for i in range(len(rows)):
        keys[i] = _sort_key(bits[rows[i]], rows[i])
        first[_bucket(scores[rows[i]], lowest, scale) + 1] += 1
    keys.sort()
    for bucket in range(_NUM_BUCKETS + 1):
        first[bucket + 1] += first[bucket]
    for row in range(len(scores)):
        bucket = _bucket(scores[row], lowest, scale)
        low, high = first[bucket], first[bucket + 1]
        if low < high:
            key = _sort_key(bits[row], row)
            while low < high:
                middle = (low + high) >> 1
                if keys[middle] <= key:
                    low = middle + 1
                else:
                    high = middle
        num_at_or_above[low] += 1


@njit(nogil=True, cache=True)
def _precision_sum_kernel(scores, rows, begin, end, k, sums, found):  # type: ignore[no-untyped-def]
    """Fill `sums` and `found` of `_precision_sums` from the similarities float32 [Q, N]."""
    first = np.empty(_NUM_BUCKETS + 2, np.int32)
    for query in range(len(scores)):
        positives = rows[begin[query] : end[query]]
        num_positives = len(positives)
        if num_positives == 0:
            continue
        num_at_or_above = np.zeros(num_positives + 1, np.int64)
        keys = np.empty(num_positives, np.uint64)
        _rank_positives(scores[query], positives, keys, first, num_at_or_above)
        rank = 0
        for i in range(num_positives):
            rank += num_at_or_above[num_positives - i]
            if rank > k:
                break
            found[query] = i + 1
            sums[query] += (i + 1) / rank


def _checked_descriptors(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = np.ascontiguousarray(values, np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must be a non-empty [rows, d] array, not {list(array.shape)}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contain NaN or infinite values.")
    return array


def _checked_integers(values: ArrayLike, length: int, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (length,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be {length} integers, not {array.dtype} {list(array.shape)}."
        )
    return array.astype(np.int64)


def _optional_levels(values: ArrayLike | None, length: int, name: str) -> NDArray[np.int64]:
    return np.empty(0, np.int64) if values is None else _checked_integers(values, length, name)


def _checked_k(k: int | None) -> int | None:
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, not {k}.")
    return k
