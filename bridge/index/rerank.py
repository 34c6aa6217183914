"""Gains at search time that use the database: alpha query expansion and SuperGlobal re-ranking.

Both look at the best results of the plain search alone and need no picture. Arithmetic is float32,
each query's own whatever others are searched with it, in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.index.config import AlphaQE, Rerank, SuperGlobal
from bridge.index.search import search, search_descriptors

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

_BLOCK_BYTES = 128 << 20


def search_reranked(
    index: faiss.Index,
    queries: ArrayLike,
    top: int,
    rerank: Rerank | None,
    *,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[Float32, Int64]:
    """As `search`, in the order of a re-ranking; None is `search` itself.

    The allowed rows are the database: no other row has a part in the re-ranking. Descriptors of
    rows are those that the index holds: float32 in exact and HNSW indexes, decoded in IVF-PQ ones.
    Similarities stay the cosines of rows and query, so they need not fall from rank to rank.
    """
    array = np.ascontiguousarray(queries, np.float32)
    if rerank is None or not len(array) or top < 1:
        # The last is refused there, as wrong queries are in the first block.
        return search(index, array, top, allowed=allowed)
    depth = rerank.candidates if isinstance(rerank, SuperGlobal) else rerank.neighbours
    size = bytes_per_query(rerank, array.shape[-1], min(max(top, depth), index.ntotal))
    found = [
        _search_block(index, array[block], top, rerank, allowed)
        for block in blocks(len(array), size)
    ]
    similarities, rows = zip(*found, strict=True)
    return np.concatenate(similarities), np.concatenate(rows)


def _search_block(
    index: faiss.Index,
    queries: Float32,
    top: int,
    rerank: Rerank,
    allowed: NDArray[np.bool_] | None,
) -> tuple[Float32, Int64]:
    if isinstance(rerank, AlphaQE):
        wanted = queries
        if rerank.neighbours:
            _, _, best = search_descriptors(index, queries, rerank.neighbours, allowed=allowed)
            wanted = expanded_queries(queries, best, rerank)
        _, rows, best = search_descriptors(index, wanted, top, allowed=allowed)
        similarities = _products(best, queries)
        similarities[rows < 0] = -np.inf
        return similarities, rows
    asked = max(top, rerank.candidates)
    similarities, rows, best = search_descriptors(index, queries, asked, allowed=allowed)
    first = slice(min(rerank.candidates, rows.shape[1]))
    order = new_order(queries, best[:, first], rerank, rows[:, first] >= 0)
    for values in (similarities, rows):
        values[:, first] = np.take_along_axis(values[:, first], order, axis=1)
    return similarities[:, :top], rows[:, :top]


def expanded_queries(queries: Float32, best: Float32, options: AlphaQE) -> Float32:
    """The queries of alpha query expansion (Radenovic, Tolias and Chum, PAMI 2019), [Q, d].

        q' = (q + sum_i max(q . x_i, 0)^alpha x_i) / |q + sum_i max(q . x_i, 0)^alpha x_i|

    x_i are the best n rows of the plain search; the query weighs 1, as its own most similar row
    would. Rows of a similarity of 0 or less, which have no real power, weigh nothing. n = 10 is
    what public implementations use, alpha = 3 the paper's.

    Args:
        queries: float32 [Q, d], normalised.
        best: float32 [Q, n, d], of each query; zeros where there are fewer.
        options: alpha, and n: with 0 the queries come back bit for bit.
    """
    if not options.neighbours:
        return queries
    similarities = _products(best, queries)
    powers = np.maximum(similarities, 0) ** np.float32(options.alpha)
    weights = np.where(similarities > 0, powers, np.float32(0))
    summed = queries + np.matmul(weights[:, None], best)[:, 0]
    norms = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.divide(summed, norms, out=summed, where=norms > 0)


def new_order(
    queries: Float32,
    best: Float32,
    options: SuperGlobal,
    found: NDArray[np.bool_] | None = None,
) -> Int64:
    """The order of SuperGlobal re-ranking (Shao et al., ICCV 2023): places int64 [Q, M].

    The best is first. It is the order of the published code. Of the best M rows x_i of a query q,
    N(i) are the K others that are most similar to x_i:

        r_i = (x_i + beta sum_j s_ij x_j) / (1 + beta sum_j s_ij), j in N(i)
        a_i = q . r_i
        e   = the largest of each dimension over the K + 1 rows r_i of the largest a_i
        b_i = e . r_i
        score_i = (a_i + b_i) / 2

    where s_ij = max(x_i . x_j, 0). Neither r_i nor e is normalised. e pools the refined rows
    (generalised mean, p = infinity) without the query, and meets refined rows, where the paper's
    text has the rows as they were. Two things are done here alone: s_ij is cut at 0, lest the sum
    of weights vanish where a database is so small that opposites are neighbours, and a row is
    never a neighbour of itself, whatever equals it. Equal scores keep the order of the search.

    Args:
        queries: float32 [Q, d], normalised.
        best: float32 [Q, M, d], the best rows of each query, best first; zeros where not found.
        options: K and beta; with K = 0 the order stays.
        found: bool [Q, M], where there is a row; None: everywhere. Missing rows stay last.
    """
    num_queries, num_rows, _ = best.shape
    order = np.tile(np.arange(num_rows), (num_queries, 1))
    nearest = min(options.nearest, num_rows - 1)
    if nearest < 1:
        return order
    missing = np.zeros((num_queries, num_rows), bool) if found is None else ~found
    for block in blocks(num_queries, bytes_per_query(options, best.shape[2], num_rows)):
        refined = _refined(best[block], nearest, options.beta)
        one = _products(refined, queries[block])
        one[missing[block]] = -np.inf
        leaders = _descending(one)[:, : nearest + 1]
        pooled = np.take_along_axis(refined, leaders[..., None], axis=1)
        lost = np.take_along_axis(missing[block], leaders, axis=1)
        pooled = np.where(lost[..., None], -np.inf, pooled).max(axis=1)
        pooled = np.where(np.isfinite(pooled), pooled, np.float32(0))
        order[block] = _descending((one + _products(refined, pooled)) / np.float32(2))
    return order


def _refined(rows: Float32, nearest: int, beta: float) -> Float32:
    """Each of the rows [Q, M, d] as its mean with its nearest ones among them; see `new_order`."""
    similarities = np.maximum(np.matmul(rows, rows.transpose(0, 2, 1)), 0)
    diagonal = np.arange(rows.shape[1])
    similarities[:, diagonal, diagonal] = 0
    least = np.partition(similarities, -nearest, axis=2)[..., -nearest, None]
    above, level = similarities > least, similarities == least
    # Of equally similar rows, the first: no more than `nearest` have a part.
    room = nearest - above.sum(axis=2, keepdims=True)
    level &= level.cumsum(axis=2, dtype=np.int32) <= room
    weights = np.float32(beta) * similarities * (above | level)
    weights[:, diagonal, diagonal] = 1
    return np.matmul(weights, rows) / weights.sum(axis=2, keepdims=True)


def _products(rows: Float32, queries: Float32) -> Float32:
    """Dot products [Q, M] of rows [Q, M, d] with their query [Q, d]."""
    return np.matmul(rows, queries[..., None])[..., 0]


def _descending(scores: Float32) -> Int64:
    """Places [Q, M] by falling score, equal ones as they stand."""
    return np.argsort(-scores, axis=1, kind="stable")


def bytes_per_query(rerank: Rerank, dimension: int, rows: int) -> int:
    """Memory that re-ranking so many rows of a query takes: their descriptors, and all pairs."""
    pairs = min(rows, rerank.candidates) ** 2 if isinstance(rerank, SuperGlobal) else 0
    return 4 * (6 * pairs + 4 * rows * dimension) or 1


def blocks(count: int, size: int) -> Iterator[slice]:
    """0..count in slices of about `_BLOCK_BYTES`, at `size` bytes each."""
    step = max(1, _BLOCK_BYTES // size)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
