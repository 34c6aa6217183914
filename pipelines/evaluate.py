"""Evaluate an INDEX by the paper's protocols and write the REPORT.

    python pipelines/evaluate.py --index indexes/bridge --out reports/bridge
    python pipelines/evaluate.py --index indexes/bridge --compare indexes/untrained

Writes metrics.json and one self-contained report.html. Protocols: `mixed` (mAP over the whole
ranking) and, where the index has distractors, `mixed_with_distractors` (mAP@100).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from bridge import cli, storage
from bridge.dataset.shards import read_images
from bridge.dataset.splits import rng_for
from bridge.errors import InputError
from bridge.index import load_index, search
from bridge.index_folder import (
    DATABASE,
    DISTRACTOR,
    FAISS_FILE,
    QUERY,
    Descriptors,
    IndexManifest,
    open_index_manifest,
    read_descriptors,
)
from bridge.metrics import K_BY_PROTOCOL, RetrievalResult, evaluate_retrieval
from bridge.report import Gallery, MethodResult, ReportData, Tile, write_report
from bridge.report.tables import map_table, text_table


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate."""

    index: str = "indexes/bridge"
    """The index to report on."""
    compare: tuple[str, ...] = ()
    """More indexes of the same images, shown beside it."""
    out: str = "reports/bridge"
    """Folder of the report."""
    title: str = "Retrieval robust to object motion blur"
    """Heading of the report."""
    galleries_per_level: int = 2
    """Random queries of each blur level whose results are shown."""
    seed: int = 0
    """Of the choice of those queries."""


@dataclass(frozen=True)
class OpenIndex:
    """An index in memory."""

    path: str
    manifest: IndexManifest
    rows: Descriptors


def run(config: EvaluateConfig) -> dict[str, dict[str, RetrievalResult]]:
    """Evaluate and report; returns the results by method and protocol."""
    indexes = [_open(path) for path in (config.index, *config.compare)]
    _refuse_mixture(indexes)
    out = storage.prepare_output(config.out)
    names = _names(indexes)
    methods = tuple(
        MethodResult(name, evaluate(index.rows)) for name, index in zip(names, indexes, strict=True)
    )
    data = ReportData(
        title=config.title,
        methods=methods,
        galleries=tuple(galleries(indexes[0], config.galleries_per_level, config.seed)),
        provenance=provenance(config, indexes),
    )
    write_report(out, data)
    for protocol in data.protocol_names():
        print(f"\n{protocol}, mAP in percent by query blur level")
        print(text_table(map_table(data.results(protocol))))
    print(f"report: {storage.join(out, 'report.html')}")
    return {method.name: dict(method.protocols) for method in methods}


def _open(path: str) -> OpenIndex:
    index = storage.absolute(path)
    manifest = open_index_manifest(index)
    return OpenIndex(index, manifest, read_descriptors(index, manifest))


def _names(indexes: list[OpenIndex]) -> list[str]:
    """What tables call the indexes: the names of their folders, or their paths if those are equal.

    Raises InputError for an index that is named twice.
    """
    paths = [index.path for index in indexes]
    if len(set(paths)) < len(paths):
        raise InputError("An index can only be compared with other ones.")
    names = [PurePosixPath(path).name for path in paths]
    return names if len(set(names)) == len(names) else paths


def _refuse_mixture(indexes: list[OpenIndex]) -> None:
    """Methods can only be compared on the same images."""
    first = indexes[0].manifest.identity()
    for other in indexes[1:]:
        identity = other.manifest.identity()
        if identity["datasets"] != first["datasets"] or identity["seed"] != first["seed"]:
            raise InputError(
                f"{other.path} holds other images than {indexes[0].path}: build both from the same "
                "datasets with the same seed."
            )


def evaluate(rows: Descriptors) -> dict[str, RetrievalResult]:
    """Every protocol that an index has the rows for (Sec. 5)."""
    protocols = {"mixed": (DATABASE,), "mixed_with_distractors": (DATABASE, DISTRACTOR)}
    if not (rows.roles == DISTRACTOR).any():
        del protocols["mixed_with_distractors"]
    queries = rows.only(QUERY)
    results = {}
    for name, roles in protocols.items():
        database = rows.only(*roles)
        query_labels, database_labels = _labels(queries, database)
        results[name] = evaluate_retrieval(
            queries.descriptors,
            database.descriptors,
            query_labels,
            database_labels,
            k=K_BY_PROTOCOL[name],
            query_blur_levels=queries.blur_levels,
        )
    return results


def _labels(queries: Descriptors, database: Descriptors) -> tuple[np.ndarray, np.ndarray]:
    """Object numbers of both sides; -1 for a distractor."""
    names = np.unique(queries.object_ids)
    numbers = {name: number for number, name in enumerate(names)}
    database_labels = np.array(
        [
            -1 if role == DISTRACTOR else numbers.get(name, len(names))
            for name, role in zip(database.object_ids, database.roles, strict=True)
        ]
    )
    return np.searchsorted(names, queries.object_ids), database_labels


def galleries(index: OpenIndex, per_level: int, seed: int, top: int = 10) -> list[Gallery]:
    """Results of random queries of every blur level; none where the images are gone."""
    queries = index.rows.only(QUERY)
    database = index.rows.only(DATABASE, DISTRACTOR)
    rng = rng_for(seed, "galleries")
    chosen: list[int] = []
    for level in np.unique(queries.blur_levels):
        candidates = np.flatnonzero(queries.blur_levels == level)
        chosen += rng.permutation(candidates)[:per_level].tolist()
    faiss_index = load_index(storage.join(index.path, FAISS_FILE))
    similarities, hits = search(faiss_index, queries.descriptors[chosen], top)
    try:
        return [
            Gallery(
                query=_tile(queries, row),
                results=tuple(
                    _tile(database, int(hit), float(similarity), queries.object_ids[row])
                    for hit, similarity in zip(results, scores, strict=True)
                ),
            )
            for row, results, scores in zip(chosen, hits, similarities, strict=True)
        ]
    except InputError as error:
        print(f"warning: no galleries, because the images cannot be read: {error}")
        return []


def _tile(
    rows: Descriptors, row: int, similarity: float | None = None, query_object: str | None = None
) -> Tile:
    dataset, _, shard = rows.shards[row].as_py().rpartition("/data/")
    image = read_images(dataset, f"data/{shard}", rows.rows[row : row + 1])[0]
    correct = None if query_object is None else bool(rows.object_ids[row] == query_object)
    return Tile(
        image_bytes=image,
        blur_level=int(rows.blur_levels[row]),
        title=str(rows.object_ids[row]),
        correct=correct,
        similarity=similarity,
    )


def provenance(config: EvaluateConfig, indexes: list[OpenIndex]) -> dict[str, Any]:
    """The manifests of everything that went into the report."""
    return {
        "config": asdict(config),
        "indexes": {
            index.path: {
                "model": index.manifest.model,
                "model_hash": index.manifest.model_hash,
                "datasets": dict(index.manifest.datasets),
                "counts": dict(index.manifest.counts),
                "unreadable": len(index.manifest.unreadable),
            }
            for index in indexes
        },
    }


if __name__ == "__main__":
    cli.main(run, EvaluateConfig, description=__doc__)
