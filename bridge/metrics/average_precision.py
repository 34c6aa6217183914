"""Mean average precision of retrieval, overall and by blur level (paper, Sec. 5).

The paper prints mAP@all without distractors and mAP@100 with them. Its code divides by the
positives *found in the top k*; the field also divides by min(k, positives) and by all positives.
All three are computed here under their own names, see `DENOMINATORS`. They agree when k is the
whole database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.metrics.precision_sums import PrecisionSums
from bridge.metrics.reranking import Reranking, best_rows, reranked_sums
from bridge.metrics.results import PerLevelResult, RetrievalResult, summarise

DENOMINATORS = ("retrieved", "capped", "all")
"""What average precision divides by: the positives found in the top k (the paper's code, 0 if
none), min(k, positives) (Google Landmarks, Kaggle), or all positives (the textbook)."""

K_BY_PROTOCOL: Mapping[str, int | None] = MappingProxyType(
    {
        "mixed": None,
        "mixed_with_distractors": 100,
        "per_level": None,
        "per_level_with_distractors": 100,
        "real": None,
    }
)
"""Cut-off k of each evaluation protocol of the paper; None is mAP@all."""

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


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
    counts = np.array([len(found)]), np.array([num_positives])
    by_denominator = _divide(PrecisionSums(np.array([precision_sum]), *counts), k)
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
    reranking: Reranking | None = None,
    device: str = "cpu",
) -> RetrievalResult:
    """mAP@k of exact search by dot product (paper, Sec. 5), in bounded memory.

    Descriptors are float [Q, d] and [N, d], compared in float32; labels are integers [Q] and [N],
    equal labels are positives, -1 (`UNLABELLED`) is never a positive. Blur levels are integers.
    The database is ranked by descending similarity, equal similarities by ascending row number.
    mAP is the mean over queries; a query without positives scores 0 and counts. `k` beyond the
    database means the whole of it. `map` is over the whole database; with its blur levels given,
    `by_database_blur_level` has what `evaluate_by_database_blur_level` measures as well.
    With a `reranking`, the first rows of that order are in the one that it gives them.
    `device` is "cpu", or a torch device such as "cuda", whose similarities may differ in the last
    bits.
    Raises ValueError for empty, mis-shaped or non-finite input, non-integer labels, k < 1, a
    device that there is not, or a re-ranking that returns other rows than it was given.
    """
    case = _checked_case(
        query_descriptors, database_descriptors, query_labels, database_labels,
        query_blur_levels, database_blur_levels, k, reranking, device,
    )  # fmt: skip
    return _evaluate(case, None, _by_level(case))


def evaluate_by_database_blur_level(
    query_descriptors: ArrayLike,
    database_descriptors: ArrayLike,
    query_labels: ArrayLike,
    database_labels: ArrayLike,
    *,
    query_blur_levels: ArrayLike,
    database_blur_levels: ArrayLike,
    k: int | None = None,
    reranking: Reranking | None = None,
    device: str = "cpu",
) -> PerLevelResult:
    """The same queries against the database rows of one blur level at a time (paper, Table 4).

    Arguments, order and errors as in `evaluate_retrieval`; distractors have blur levels too. Every
    similarity is computed once; a `reranking` looks at the rows of one level at a time. A query
    scores 0 on a level without positives of it, and counts.
    """
    case = _checked_case(
        query_descriptors, database_descriptors, query_labels, database_labels,
        query_blur_levels, database_blur_levels, k, reranking, device,
    )  # fmt: skip
    return PerLevelResult(_by_level(case))


@dataclass(frozen=True)
class _Case:
    """Checked arguments of an evaluation; blur levels that were not given are empty."""

    queries: NDArray[np.float32]
    database: NDArray[np.float32]
    query_labels: Int64
    database_labels: Int64
    query_levels: Int64
    database_levels: Int64
    k: int | None
    reranking: Reranking | None
    device: str


def _by_level(case: _Case) -> dict[int, RetrievalResult]:
    return {
        int(level): _evaluate(case, np.flatnonzero(case.database_levels == level))
        for level in np.unique(case.database_levels)
    }


def _evaluate(
    case: _Case, rows: Int64 | None, by_database_level: dict[int, RetrievalResult] | None = None
) -> RetrievalResult:
    """Evaluate against some rows of the database, or all."""
    sums = _precision_sums(case, rows)
    return summarise(
        _divide(sums, case.k),
        case.query_labels,
        case.query_levels,
        num_queries_without_positives=int((sums.num_positives == 0).sum()),
        num_database=len(case.database) if rows is None else len(rows),
        k=case.k,
        by_database_blur_level=by_database_level,
    )


def _precision_sums(case: _Case, rows: Int64 | None) -> PrecisionSums:
    def plain(k: int | None) -> PrecisionSums:
        arguments = case.queries, case.database, case.query_labels, case.database_labels, k, rows
        # What ranks is compiled or needs torch; results and their names are used without either.
        if case.device == "cpu":
            from bridge.metrics import ranking

            return ranking.precision_sums(*arguments)
        from bridge.metrics import ranking_torch

        return ranking_torch.precision_sums(*arguments, device=case.device)

    if case.reranking is None:
        return plain(case.k)
    depth = case.reranking.depth
    best = best_rows(case.queries, case.database, depth, rows, device=case.device)
    first = case.reranking.order(case.queries, best)
    if not np.array_equal(np.sort(first), np.sort(best)):
        raise ValueError("A re-ranking must return the rows that it was given.")
    if rows is not None:
        # Labels are of the rows that are ranked.
        first = np.searchsorted(rows, first)
    labels = case.database_labels if rows is None else case.database_labels[rows]
    return reranked_sums(plain, first, case.query_labels, labels, case.k)


def _divide(sums: PrecisionSums, k: int | None) -> dict[str, Float64]:
    positives = sums.num_positives
    capped = positives if k is None else np.minimum(positives, k)
    # A sum over no positives is 0, so dividing it by 1 scores the query 0 as the rule wants.
    return {
        name: sums.precision_sum / np.maximum(denominator, 1)
        for name, denominator in zip(DENOMINATORS, (sums.num_found, capped, positives), strict=True)
    }


def _checked_case(
    query_descriptors: ArrayLike,
    database_descriptors: ArrayLike,
    query_labels: ArrayLike,
    database_labels: ArrayLike,
    query_blur_levels: ArrayLike | None,
    database_blur_levels: ArrayLike | None,
    k: int | None,
    reranking: Reranking | None,
    device: str,
) -> _Case:
    queries = _checked_descriptors(query_descriptors, "query_descriptors")
    database = _checked_descriptors(database_descriptors, "database_descriptors")
    if queries.shape[1] != database.shape[1]:
        raise ValueError(
            f"Query descriptors have {queries.shape[1]} dimensions, "
            f"database descriptors {database.shape[1]}."
        )
    return _Case(
        queries,
        database,
        _checked_integers(query_labels, len(queries), "query_labels"),
        _checked_integers(database_labels, len(database), "database_labels"),
        _optional_levels(query_blur_levels, len(queries), "query_blur_levels"),
        _optional_levels(database_blur_levels, len(database), "database_blur_levels"),
        _checked_k(k),
        reranking,
        device,
    )


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
