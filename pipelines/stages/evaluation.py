"""The evaluation of INDEXes: protocols laid over the cluster, galleries, and the REPORT."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.dataset.manifest import open_manifest
from bridge.dataset.roles import QUERY
from bridge.evaluation.method import blur_severities, estimates
from bridge.evaluation.protocols import PROTOCOLS, Result, Task, tasks
from bridge.evaluation.showcase import choose_queries, galleries, hardest_distractors
from bridge.index.config import Rerank
from bridge.index.folder import (
    Descriptors,
    IndexManifest,
    read_descriptors,
)
from bridge.metrics import RetrievalResult, merge_results
from bridge.report import Gallery, MethodResult, ReportData, write_report
from bridge.report.gallery import HARDEST_DISTRACTORS
from bridge.report.tables import map_table, text_table
from pipelines.stages import cluster, engine
from pipelines.stages.evaluation_options import EvaluateConfig
from pipelines.stages.running import running

_INCIDENTAL = {"out", "watch"}
"""Options that change nothing of what is reported."""


@dataclass(frozen=True)
class OpenIndex:
    """An index in memory."""

    path: str
    manifest: IndexManifest
    rows: Descriptors


def make_report(
    config: EvaluateConfig, manifests: Mapping[str, IndexManifest]
) -> dict[str, dict[str, Result]]:
    """Evaluate indexes, given by their paths, and report; results by method and protocol."""
    with running("evaluate", config.out, config.watch) as out:
        return _report(config, manifests, out)


def _report(
    config: EvaluateConfig, manifests: Mapping[str, IndexManifest], out: str
) -> dict[str, dict[str, Result]]:
    # On GPUs, one of them works on a block; else a node.
    blocks = (int(cluster.num_gpus()) or len(cluster.nodes())) if cluster.join() else 1
    methods: list[MethodResult] = []
    shown: list[Gallery] = []
    severities: dict[str, np.ndarray] = {}
    for name, (path, manifest) in zip(_names([*manifests]), manifests.items(), strict=True):
        index = OpenIndex(path, manifest, read_descriptors(path, manifest))
        results = evaluate(index.rows, name, blocks=blocks)
        is_first = not methods
        methods.append(MethodResult(name, results, estimates(index.rows)))
        for rerank in config.reranks:
            title = f"{name} + {rerank.title} (uses the database)"
            methods.append(
                MethodResult(title, evaluate(index.rows, title, rerank=rerank, blocks=blocks))
            )
        if is_first:
            shown = show(index, results, config)
            severities = blur_severities(index.rows)
    data = ReportData(
        title=config.title,
        methods=tuple(methods),
        galleries=tuple(shown),
        provenance=provenance(config, manifests),
        blur_severities=severities,
    )
    write_report(out, data)
    for protocol in data.protocol_names():
        print(f"\n{protocol}, mAP in percent by query blur level")
        print(text_table(map_table(data.results(protocol))))
    print(f"report: {storage.join(out, 'report.html')}")
    return {method.name: dict(method.protocols) for method in methods}


def _names(paths: list[str]) -> list[str]:
    """What tables call the indexes: their folders' names, or their paths if names are equal."""
    names = [PurePosixPath(path).name for path in paths]
    return names if len(set(names)) == len(names) else paths


def evaluate(
    rows: Descriptors, name: str = "index", *, rerank: Rerank | None = None, blocks: int = 1
) -> dict[str, Result]:
    """Every protocol that an index has the rows for (Sec. 5), of re-ranked searches if told so.

    More than one block of queries are shared out over the cluster.
    """
    results = {}
    for task in tasks(rows):
        with progress(f"{name}: {task.protocol.name}", len(task), "queries") as counter:
            if blocks > 1:
                results[task.protocol.name] = _on_cluster(task, rerank, blocks)
            else:
                results[task.protocol.name] = task.evaluate(rerank=rerank, device=_device())
            counter.advance(len(task))
    return results


def _on_cluster(task: Task, rerank: Rerank | None, blocks: int) -> Result:
    """The same result, with the queries in so many blocks."""
    bounds = np.linspace(0, len(task), min(blocks, len(task)) + 1).astype(int)
    slices = [slice(*pair) for pair in itertools.pairwise(bounds)]
    gpus = min(1.0, cluster.num_gpus())
    parts = engine.run(_block, list(enumerate(slices)), task, rerank, gpus=gpus)
    return merge_results([result for _, result in sorted(parts, key=lambda part: part[0])])


def _block(item: tuple[int, slice], task: Task, rerank: Rerank | None) -> tuple[int, Result]:
    number, block = item
    return number, task.evaluate(block, rerank=rerank, device=_device())


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def show(index: OpenIndex, results: Mapping[str, Result], config: EvaluateConfig) -> list[Gallery]:
    """Galleries of the hardest mixed protocol there is; none where the images are gone."""
    name = next((n for n in ("mixed_with_distractors", "mixed", "real") if n in results), None)
    if name is None:
        return []
    protocol = next(protocol for protocol in PROTOCOLS if protocol.name == name)
    queries = index.rows.only(QUERY, split=protocol.split)
    database = index.rows.only(*protocol.roles, split=protocol.split)
    result = results[name]
    assert isinstance(result, RetrievalResult)
    chosen = choose_queries(
        result.average_precision["retrieved"],
        queries.blur_levels,
        config.galleries_per_level,
        config.extreme_galleries,
        config.seed,
    )
    chosen[HARDEST_DISTRACTORS] = hardest_distractors(
        queries, database, config.extreme_galleries, config.seed
    )
    digests: dict[str, str] = {}
    try:
        for path, content in index.manifest.datasets.items():
            manifest = open_manifest(path)
            if manifest.content_hash != content:
                raise InputError(f"{path} is not what the index was built from any more.")
            if not config.trust_data:
                shards = manifest.shards.items()
                digests |= {storage.join(path, name): s.record.sha256 for name, s in shards}
        return list(galleries(queries, database, chosen, digests=digests))
    except InputError as error:
        print(f"warning: no galleries, because the images cannot be read: {error}")
        return []


def provenance(config: EvaluateConfig, manifests: Mapping[str, IndexManifest]) -> dict[str, Any]:
    """The manifests of everything that went into the report."""
    return {
        # The same report is the same wherever it is written.
        "config": {n: value for n, value in asdict(config).items() if n not in _INCIDENTAL},
        "indexes": {
            path: {
                "model": manifest.model,
                **manifest.identity(),
                "datasets": dict(manifest.datasets),
                "counts": dict(manifest.counts),
                "search": dict(manifest.search),
                "unreadable": len(manifest.unreadable),
            }
            for path, manifest in manifests.items()
        },
        "datasets": {
            path: _dataset(path) for manifest in manifests.values() for path in manifest.datasets
        },
    }


def _dataset(path: str) -> dict[str, Any] | str:
    """How a dataset was made, where it still is where it was."""
    try:
        manifest = open_manifest(path)
    except InputError as error:
        return str(error)
    return {"config": dict(manifest.config), "counts": manifest.counts()}
