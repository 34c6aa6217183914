"""Tests of bridge/evaluation/reranked.py, and of the protocols with re-ranking."""

from __future__ import annotations

import numpy as np
import pytest

from bridge import metrics
from bridge.evaluation import PROTOCOLS
from bridge.evaluation.protocols import Protocol, Task
from bridge.index.config import AlphaQE, Rerank, SuperGlobal
from bridge.index.rerank import search_reranked
from bridge.index.search import build_index

RERANKS = (AlphaQE(neighbours=4), SuperGlobal(candidates=20, nearest=3))
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)
each_rerank = pytest.mark.parametrize("rerank", RERANKS, ids=lambda rerank: rerank.title)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def task(protocol: Protocol, seed: int = 0) -> Task:
    """Twelve objects whose images scatter widely, and distractors where there are any."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((12, 16))
    query_labels = rng.integers(0, 12, 40)
    labels = rng.integers(-1 if "distractors" in protocol.name else 0, 12, 300)

    def images(of: np.ndarray) -> np.ndarray:
        return unit(centres[of] * (of >= 0)[:, None] + rng.standard_normal((len(of), 16)))

    return Task(
        protocol,
        images(query_labels),
        images(labels),
        query_labels,
        labels,
        rng.integers(1, 4, 40),
        rng.integers(1, 4, 300),
    )


def literal_map(task: Task, rows: np.ndarray, rerank: Rerank, k: int | None) -> float:
    """mAP of a whole search of some database rows by the search that users have."""
    index, numbers = build_index(task.database[rows]), np.flatnonzero(rows)
    found = search_reranked(index, task.queries, len(numbers), rerank)[1]
    values = []
    for label, ranking in zip(task.query_labels, numbers[found], strict=True):
        hits = task.database_labels[ranking] == label
        ranks = 1 + np.flatnonzero(hits)
        values.append(metrics.average_precision(ranks, int(hits.sum()), k)["retrieved"])
    return float(np.mean(values))


@each_protocol
@each_rerank
def test_the_evaluation_is_that_of_the_search(protocol: Protocol, rerank: Rerank) -> None:
    case = task(protocol)
    result = case.evaluate(rerank=rerank)
    levels = [1, 2, 3] if protocol.by_database_level else [None]
    expected = [
        literal_map(
            case,
            np.ones(300, bool) if level is None else case.database_levels == level,
            rerank,
            protocol.k,
        )
        for level in levels
    ]
    assert result.map["retrieved"] == pytest.approx(np.mean(expected), abs=1e-9)
    assert abs(result.map["retrieved"] - case.evaluate().map["retrieved"]) > 1e-4


@each_protocol
@each_rerank
def test_blocks_of_queries_make_the_same_result(protocol: Protocol, rerank: Rerank) -> None:
    case = task(protocol, seed=1)
    whole = case.evaluate(rerank=rerank)
    parts = [case.evaluate(block, rerank=rerank) for block in (slice(0, 13), slice(13, 40))]
    merged = metrics.merge_results(parts)  # type: ignore[type-var]
    assert merged.map == pytest.approx(whole.map, abs=1e-12)
    assert merged.map_by_query_blur_level.keys() == whole.map_by_query_blur_level.keys()
    assert (merged.num_queries, merged.num_database, merged.k) == (40, 300, protocol.k)


@each_protocol
@pytest.mark.parametrize("rerank", [AlphaQE(neighbours=0), SuperGlobal(nearest=0)])
def test_without_neighbours_it_is_the_plain_evaluation(protocol: Protocol, rerank: Rerank) -> None:
    case = task(protocol, seed=2)
    assert case.evaluate(rerank=rerank).map == pytest.approx(case.evaluate().map, abs=1e-12)


def test_scattered_images_of_an_object_are_found_through_each_other() -> None:
    # Where neighbours are mostly right, both gain: what they are for.
    case = task(PROTOCOLS[0], seed=3)
    plain = case.evaluate().map["retrieved"]
    assert all(case.evaluate(rerank=rerank).map["retrieved"] > plain for rerank in RERANKS)
