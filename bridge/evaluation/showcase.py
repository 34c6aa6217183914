"""Which queries a report shows, and what was retrieved for them: chosen by rule, never by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import faiss
import numpy as np

from bridge.common.chance import rng_for
from bridge.dataset.roles import DISTRACTOR
from bridge.dataset.shards import check_shard, read_image
from bridge.index.folder import Descriptors
from bridge.report import Gallery, Tile
from bridge.report.gallery import BEST, RANDOM, WORST

SAMPLE = 500
"""Queries among which the hardest distractors are looked for."""


def choose_queries(
    average_precision: np.ndarray, blur_levels: np.ndarray, per_level: int, extremes: int, seed: int
) -> dict[str, list[int]]:
    """Queries to show, by group: random ones of each blur level, and the best and worst of all.

    Equal average precisions are drawn by lot. `average_precision` is float [Q], levels int [Q].
    """
    rng = rng_for(seed, "galleries")
    lots = rng.permutation(len(blur_levels))
    random = [
        row
        for level in np.unique(blur_levels)
        for row in lots[blur_levels[lots] == level][:per_level].tolist()
    ]
    ascending = lots[np.argsort(average_precision[lots], kind="stable")].tolist()
    extremes = min(extremes, len(ascending) // 2)
    best = ascending[::-1][:extremes]
    return {RANDOM: random, BEST: best, WORST: ascending[:extremes]}


def hardest_distractors(
    queries: Descriptors, database: Descriptors, count: int, seed: int
) -> list[int]:
    """Of `SAMPLE` random queries, those whose most similar distractor is the most similar."""
    places = np.flatnonzero(database.roles == DISTRACTOR)
    if not len(places) or not count:
        return []
    sample = rng_for(seed, "hardest distractors").permutation(len(queries))[:SAMPLE]
    similarities, _ = _most_similar(
        queries.descriptors[sample], database.descriptors[places], top=1
    )
    return sample[np.argsort(-similarities[:, 0], kind="stable")][:count].tolist()


def galleries(
    queries: Descriptors,
    database: Descriptors,
    chosen: Mapping[str, Sequence[int]],
    top: int = 10,
    *,
    digests: Mapping[str, str] | None = None,
) -> Iterator[Gallery]:
    """The chosen queries with the most similar of all database images, found by exact search.

    Args:
        queries, database: where to choose and to search.
        chosen: rows of the queries, by group.
        top: images that are shown of those found.
        digests: SHA-256 by path, of the shards that are to be compared with theirs.

    Raises:
        InputError: the images are not where they were when the index was built, or not the same.
    """
    digests = digests or {}
    for group, rows in chosen.items():
        if not len(rows):
            continue
        similarities, hits = _most_similar(
            queries.descriptors[list(rows)], database.descriptors, top
        )
        for row, scores, found in zip(rows, similarities, hits, strict=True):
            results = tuple(
                _tile(database, hit, digests, float(score), queries.object_ids[row])
                for hit, score in zip(found.tolist(), scores, strict=True)
            )
            yield Gallery(_tile(queries, row, digests), results, group)


def _most_similar(
    queries: np.ndarray, database: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and rows [Q, top] by exact search, most similar first."""
    top = min(top, len(database))
    similarities, rows = faiss.knn(queries, database, top, metric=faiss.METRIC_INNER_PRODUCT)
    return similarities, rows


def _tile(
    rows: Descriptors,
    row: int,
    digests: Mapping[str, str],
    similarity: float | None = None,
    query_object: str | None = None,
) -> Tile:
    shard = rows.shards[row].as_py()
    if shard in digests:
        folder, _, file = shard.rpartition("/")
        check_shard(folder, file, digests[shard])
    return Tile(
        image_bytes=read_image(shard, int(rows.rows[row])),
        blur_level=int(rows.blur_levels[row]) or None,
        title=rows.object_ids[row] or "unlabelled",
        correct=None if query_object is None else bool(rows.object_ids[row] == query_object),
        similarity=similarity,
        box=_box(rows.boxes[row]),
        predicted_box=_box(rows.predicted_boxes[row]),
        predicted_blur_severity=_number(rows.predicted_blur_severities[row]),
    )


def _box(values: np.ndarray) -> tuple[float, float, float, float] | None:
    if np.isnan(values).any():
        return None
    cx, cy, width, height = values.tolist()
    return cx, cy, width, height


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
