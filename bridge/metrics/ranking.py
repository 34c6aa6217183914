"""Exact ranking of a database by similarity on CPUs: the sums that average precision is made of.

A similarity is computed here rather than by a BLAS: as one chain of fused multiply-adds over the
dimensions, in their order. It is then the same float32 for the same two descriptors wherever they
stand, so that duplicates tie, and results depend neither on blocks nor on threads. (A BLAS rounds
by the place in its tiles: OpenBLAS's kernel for AVX2 does so even within a tile.)

Two ways lead to the ranks of the positives. For a cut-off that is small beside the database, the
best rows are collected from tiles of similarities that stay in the cache; for any other, every row
is counted into its place among the positives. No row of similarities is ever sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np

from bridge.metrics.precision_sums import UNLABELLED, Float32, Float64, Int64, PrecisionSums

_LANES = 4
_TILE = 512
_CHUNK = 64
_NUM_BUCKETS = 4096
_BLOCK_BYTES = 128 << 20
_LARGEST_BLOCK = 512
_SMALL_CUT_OFF = 64
"""A cut-off is small if the database is this many times larger: else counting is faster."""
_LOW_32_BITS = np.uint64(0xFFFFFFFF)


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `numba.njit`; what it makes is kept where numba finds a place that can be written in."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return decorate


@dataclass(frozen=True)
class _Ranking:
    """What every block of queries needs: padded queries, packed database, positives."""

    queries: Float32
    query_labels: Int64
    tiles: Float32
    database_labels: Int64
    positive_rows: Int64
    begin: Int64
    end: Int64
    k: int

    def is_for_best_rows(self) -> bool:
        return self.k * _SMALL_CUT_OFF <= len(self.database_labels)

    def bytes_per_query(self) -> int:
        return 16 * self.k if self.is_for_best_rows() else 4 * _TILE * len(self.tiles)


def precision_sums(
    queries: Float32,
    database: Float32,
    query_labels: Int64,
    database_labels: Int64,
    k: int | None = None,
    rows: Int64 | None = None,
    threads: int | None = None,
) -> PrecisionSums:
    """Rank `rows` (ascending; None for all) of a database [N, d] for every query [Q, d].

    Order: similarity descending, row ascending. Equal labels are positives, -1 never is. `k` None
    is the whole ranking. `threads` None means as many as numba is configured for.
    """
    rows = np.arange(len(database)) if rows is None else rows
    labels = database_labels[rows]
    size = -(-len(queries) // _LANES) * _LANES
    padded_labels = np.full(size, UNLABELLED)
    padded_labels[: len(queries)] = query_labels
    ranking = _Ranking(
        _padded(queries, size),
        padded_labels,
        _packed(database, rows),
        labels,
        *positive_rows(padded_labels, labels),
        k=len(rows) if k is None else k,
    )
    sums, found = np.zeros(size), np.zeros(size, np.int64)
    worker = partial(_worker, ranking, sums, found)
    threads = threads or numba.config.NUMBA_NUM_THREADS
    _in_threads(worker, size, ranking.bytes_per_query(), threads)
    positives = ranking.end - ranking.begin
    real = slice(len(queries))
    return PrecisionSums(sums[real], found[real], positives[real])


def best_rows(
    queries: Float32,
    database: Float32,
    k: int,
    rows: Int64 | None = None,
    threads: int | None = None,
) -> Int64:
    """The first min(k, n) database rows of the ranking of each query, int64 [Q, min(k, n)].

    Arguments and order as for `precision_sums`; n is the number of `rows`, which are ascending.
    """
    rows = np.arange(len(database)) if rows is None else rows
    k = min(k, len(rows))
    size = -(-len(queries) // _LANES) * _LANES
    padded, tiles = _padded(queries, size), _packed(database, rows)
    best = np.empty((size, k), np.int64)

    def worker(block: int) -> Callable[[slice], None]:
        keys = np.empty((block, 2 * k), np.uint64)
        return lambda part: _best_places_kernel(padded[part], tiles, len(rows), keys, best[part])

    _in_threads(worker, size, 16 * k, threads or numba.config.NUMBA_NUM_THREADS)
    return rows[best[: len(queries)]]


def positive_rows(query_labels: Int64, database_labels: Int64) -> tuple[Int64, Int64, Int64]:
    """Database rows grouped by label, and where each query's positives begin and end in them."""
    rows = np.argsort(database_labels, kind="stable")
    grouped = database_labels[rows]
    begin = np.searchsorted(grouped, query_labels, "left")
    end = np.searchsorted(grouped, query_labels, "right")
    return rows, begin, np.where(query_labels == UNLABELLED, begin, end)


def _in_threads(
    worker: Callable[[int], Callable[[slice], None]], count: int, query_bytes: int, threads: int
) -> None:
    """Have blocks of `count` queries worked on; `worker(n)` does any n of them in its own memory.

    That takes `query_bytes` per query.
    """
    # Plain threads around kernels without the GIL: safe to call from any thread or process,
    # which numba's own parallel loops are not on every threading layer.
    block = min(_BLOCK_BYTES // query_bytes, _LARGEST_BLOCK, count // threads)
    block = max(block // _LANES, 1) * _LANES
    starts = iter(range(0, count, block))

    def work() -> None:
        rank = worker(block)
        for start in starts:
            rank(slice(start, min(start + block, count)))

    with ThreadPoolExecutor(threads) as pool:
        for task in [pool.submit(work) for _ in range(threads)]:
            task.result()


def _worker(ranking: _Ranking, sums: Float64, found: Int64, block: int) -> Callable[[slice], None]:
    """Ranks any `block` queries in memory of its own."""
    r = ranking
    if r.is_for_best_rows():
        keys = np.empty((block, 2 * r.k), np.uint64)
        return lambda part: _best_rows_kernel(
            r.queries[part],
            r.query_labels[part],
            r.tiles,
            r.database_labels,
            r.k,
            keys,
            sums[part],
            found[part],
        )
    scores = np.empty((block, len(r.tiles) * _TILE), np.float32)
    return lambda part: _whole_ranking_kernel(
        r.queries[part], r.tiles, len(r.database_labels),
        r.positive_rows, r.begin[part], r.end[part], r.k, scores, sums[part], found[part],
    )  # fmt: skip


def _padded(queries: Float32, size: int) -> Float32:
    padded = np.zeros((size, -(-queries.shape[1] // 4) * 4), np.float32)
    padded[: len(queries), : queries.shape[1]] = queries
    return padded


def _packed(database: Float32, rows: Int64) -> Float32:
    """The rows as tiles [T, d, 512] with one row per column, padded with zeros."""
    dimension = -(-database.shape[1] // 4) * 4
    tiles = np.zeros((-(-len(rows) // _TILE), dimension, _TILE), np.float32)
    _pack_kernel(database, rows, tiles)
    return tiles


@_compiled()
def _pack_kernel(database, rows, tiles):  # type: ignore[no-untyped-def]
    for tile in range(len(tiles)):
        first = tile * _TILE
        for dimension in range(database.shape[1]):
            for column in range(min(_TILE, len(rows) - first)):
                tiles[tile, dimension, column] = database[rows[first + column], dimension]


@_compiled(fastmath={"contract"})
def _similarities(queries, q, tile, scores):  # type: ignore[no-untyped-def]
    """Fill `scores` [4, 512] with the similarities of queries q..q+3 to the rows of a tile.

    Written out so that the compiler keeps four dimensions of four queries in registers.
    """
    scores[:] = 0
    for d in range(0, tile.shape[0], 4):
        a0, a1, a2, a3 = queries[q, d], queries[q, d + 1], queries[q, d + 2], queries[q, d + 3]
        q1, q2, q3 = q + 1, q + 2, q + 3
        b0, b1, b2, b3 = queries[q1, d], queries[q1, d + 1], queries[q1, d + 2], queries[q1, d + 3]
        c0, c1, c2, c3 = queries[q2, d], queries[q2, d + 1], queries[q2, d + 2], queries[q2, d + 3]
        d0, d1, d2, d3 = queries[q3, d], queries[q3, d + 1], queries[q3, d + 2], queries[q3, d + 3]
        for j in range(_TILE):
            w, x, y, z = tile[d, j], tile[d + 1, j], tile[d + 2, j], tile[d + 3, j]
            scores[0, j] = scores[0, j] + a0 * w + a1 * x + a2 * y + a3 * z
            scores[1, j] = scores[1, j] + b0 * w + b1 * x + b2 * y + b3 * z
            scores[2, j] = scores[2, j] + c0 * w + c1 * x + c2 * y + c3 * z
            scores[3, j] = scores[3, j] + d0 * w + d1 * x + d2 * y + d3 * z


@_compiled()
def _sort_key(score_bits: int, row: int) -> np.uint64:
    """One integer that orders (similarity ascending, row descending), from the float32's bits."""
    bits = np.uint32(score_bits)
    if bits == np.uint32(0x80000000):  # -0.0 ties with 0.0
        bits = np.uint32(0)
    flip = np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000)
    return (np.uint64(bits ^ flip) << np.uint64(32)) | (_LOW_32_BITS - np.uint64(row))


@_compiled()
def _score(key: np.uint64) -> np.float32:
    """The similarity in a sort key."""
    bits = np.empty(1, np.uint32)
    high = np.uint32(key >> np.uint64(32))
    flip = np.uint32(0x80000000) if high >> np.uint32(31) else np.uint32(0xFFFFFFFF)
    bits[0] = high ^ flip
    return bits.view(np.float32)[0]


@_compiled()
def _collect(scores, num_columns, first_row, keys, count, threshold):  # type: ignore[no-untyped-def]
    """Append the keys of the rows above the threshold; returns the new count and threshold.

    `keys` holds 2 k: when they are full, the best k stay and the least of them is the threshold.
    A later row with the same similarity ranks behind it. NaN, the first threshold, stops nothing.
    """
    bits = scores.view(np.uint32)
    k = len(keys) // 2
    for start in range(0, num_columns, _CHUNK):
        num_above = 0
        for column in range(start, start + _CHUNK):
            num_above += not (scores[column] <= threshold)
        if num_above == 0:
            continue
        for column in range(start, min(start + _CHUNK, num_columns)):
            if not (scores[column] <= threshold):
                keys[count] = _sort_key(bits[column], first_row + column)
                count += 1
                if count == 2 * k:
                    keys.sort()
                    keys[:k] = keys[k:]
                    count = k
                    threshold = _score(keys[0])
    return count, threshold


# As a function of its own it would be some per cent slower.
@_compiled(inline="always")
def _collect_best(queries, tiles, num_rows, keys, counts):  # type: ignore[no-untyped-def]
    """Fill `counts` [Q] and `keys` [Q, 2 k] with the keys of the best rows, no fewer than k."""
    thresholds = np.full(len(queries), np.nan, np.float32)
    scores = np.empty((_LANES, _TILE), np.float32)
    for tile in range(len(tiles)):
        first_row = tile * _TILE
        num_columns = min(_TILE, num_rows - first_row)
        for first in range(0, len(queries), _LANES):
            _similarities(queries, first, tiles[tile], scores)
            for lane in range(_LANES):
                q = first + lane
                counts[q], thresholds[q] = _collect(
                    scores[lane], num_columns, first_row, keys[q], counts[q], thresholds[q]
                )


@_compiled()
def _best_places_kernel(queries, tiles, num_rows, keys, best):  # type: ignore[no-untyped-def]
    """Fill `best` [Q, k], k <= num_rows, with the best rows; `keys` [Q, 2 k] is memory."""
    counts = np.zeros(len(queries), np.int64)
    _collect_best(queries, tiles, num_rows, keys, counts)
    for q in range(len(queries)):
        sorted_keys = keys[q, : counts[q]]
        sorted_keys.sort()
        for place in range(best.shape[1]):
            best[q, place] = np.int64(_LOW_32_BITS - (sorted_keys[-1 - place] & _LOW_32_BITS))


@_compiled()
def _best_rows_kernel(  # type: ignore[no-untyped-def]
    queries, query_labels, tiles, labels, k, keys, sums, found
):
    """Fill `sums` and `found` of some queries from their best k rows; `keys` [Q, 2 k] is memory."""
    counts = np.zeros(len(queries), np.int64)
    _collect_best(queries, tiles, len(labels), keys, counts)
    for q in range(len(queries)):
        if query_labels[q] == UNLABELLED:
            continue
        best = keys[q, : counts[q]]
        best.sort()
        for rank in range(1, min(k, len(best)) + 1):
            row = np.int64(_LOW_32_BITS - (best[-rank] & _LOW_32_BITS))
            if labels[row] == query_labels[q]:
                found[q] += 1
                sums[q] += found[q] / rank


@_compiled()
def _bucket(score: float, lowest: float, scale: float) -> int:
    """Bucket of a similarity: 0 below the lowest positive, then equal steps up to the highest."""
    position = (score - lowest) * scale
    if not position >= 0:
        return 0
    return _NUM_BUCKETS if position >= _NUM_BUCKETS - 1 else int(position) + 1


@_compiled()
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


@_compiled()
def _whole_ranking_kernel(  # type: ignore[no-untyped-def]
    queries, tiles, num_rows, rows, begin, end, k, scores, sums, found
):
    """Fill `sums` and `found` of some queries; `scores` [Q, 512 T] is memory."""
    part = np.empty((_LANES, _TILE), np.float32)
    for tile in range(len(tiles)):
        for q in range(0, len(queries), _LANES):
            _similarities(queries, q, tiles[tile], part)
            scores[q : q + _LANES, tile * _TILE : (tile + 1) * _TILE] = part
    first = np.empty(_NUM_BUCKETS + 2, np.int32)
    for q in range(len(queries)):
        positives = rows[begin[q] : end[q]]
        num_positives = len(positives)
        if num_positives == 0:
            continue
        num_at_or_above = np.zeros(num_positives + 1, np.int64)
        keys = np.empty(num_positives, np.uint64)
        _rank_positives(scores[q, :num_rows], positives, keys, first, num_at_or_above)
        rank = 0
        for i in range(num_positives):
            rank += num_at_or_above[num_positives - i]
            if rank > k:
                break
            found[q] = i + 1
            sums[q] += (i + 1) / rank
