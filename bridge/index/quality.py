"""How good and how fast an index is: recall against exact search, and the time of one query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from bridge.index.layouts import Layout, efforts, set_effort

TOP = 100
"""Of recall@100, and of the searches that are timed."""
_TIMED_QUERIES = 100
_WORTH_MORE_EFFORT = 0.001
"""Gain in recall below which doubling the effort is not worth its time."""


@contextmanager
def faiss_threads(number: int) -> Iterator[None]:
    """Have FAISS use so many threads; they are a setting of the whole process, and put back."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(number)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def nearest(
    rows: NDArray[np.float32], first: int, queries: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Similarities [Q, k] and numbers [Q, k] of the `TOP` best rows [N, d] of each query.

    The rows are numbered from `first`; k = min(TOP, N).
    """
    similarities, numbers = faiss.knn(
        queries, rows, min(TOP, len(rows)), metric=faiss.METRIC_INNER_PRODUCT
    )
    return similarities, numbers + first


def better_of(
    one: tuple[NDArray[np.float32], NDArray[np.int64]],
    other: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The `TOP` best of two results of `nearest` for the same queries; ties go to lower rows."""
    similarities = np.concatenate([one[0], other[0]], axis=1)
    rows = np.concatenate([one[1], other[1]], axis=1)
    order = np.lexsort((rows, -similarities), axis=1)[:, :TOP]
    return np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1)


def recall(index: faiss.Index, queries: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Mean share of the true nearest rows int [Q, k] among the first k that the index finds."""
    _, found = index.search(queries, truth.shape[1])
    hits = [np.isin(right, rows).sum() for right, rows in zip(truth, found, strict=True)]
    return float(np.sum(hits) / truth.size)


def latency_ms(index: faiss.Index, queries: NDArray[np.float32]) -> float:
    """Median milliseconds of a search for the `TOP` best of one query, on one thread."""
    top, seconds = min(TOP, index.ntotal), []
    with faiss_threads(1):
        for query in queries[:_TIMED_QUERIES, None]:
            start = time.perf_counter()
            index.search(query, top)
            seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds))


@dataclass(frozen=True)
class Quality:
    """An effort and what it gives."""

    effort: int
    recall: float
    latency_ms: float


def choose_effort(
    index: faiss.Index,
    layout: Layout,
    queries: NDArray[np.float32],
    truth: NDArray[np.int64] | None,
    *,
    target_recall: float,
    most_ms: float | None,
) -> Quality:
    """Set the effort of an index and say what it gives.

    It is the least that reaches the target, or with a limit on the latency the greatest within it
    (the least of all where none is); but no greater than still gains recall. `truth` is as for
    `recall`, None for exact search.
    """
    chosen = None
    for effort in efforts(layout):
        set_effort(index, effort)
        found = 1.0 if truth is None else recall(index, queries, truth)
        quality = Quality(effort, found, latency_ms(index, queries))
        late = most_ms is not None and quality.latency_ms > most_ms
        if chosen is not None and (late or quality.recall - chosen.recall < _WORTH_MORE_EFFORT):
            break
        chosen = quality
        if late or (most_ms is None and quality.recall >= target_recall):
            break
    assert chosen is not None
    set_effort(index, chosen.effort)
    return chosen
