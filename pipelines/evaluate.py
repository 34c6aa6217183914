"""Evaluate an INDEX by the paper's protocols and write the REPORT.

    python pipelines/evaluate.py --index indexes/bridge --out reports/bridge
    python pipelines/evaluate.py --index indexes/bridge --compare indexes/untrained
    python pipelines/evaluate.py --index indexes/bridge --rerank aqe superglobal

Writes metrics.json, one self-contained report.html, and all figures and tables as SVG, PNG and CSV.
Every protocol that the index has the images for is evaluated: `mixed`, `mixed_with_distractors`,
`per_level`, `per_level_with_distractors`, `real`. On a cluster all nodes share the queries.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.dataset.roles import QUERY
from pipelines.stages.evaluation_options import EvaluateConfig

# What takes seconds to import is imported once the indexes have been opened.
if TYPE_CHECKING:
    from bridge.evaluation.protocols import Result
    from bridge.index.folder import IndexManifest


def run(config: EvaluateConfig) -> dict[str, dict[str, Result]]:
    """Evaluate and report; returns the results by method and protocol."""
    from bridge.index.folder import open_index_manifest

    manifests = {path: open_index_manifest(path) for path in _paths(config)}
    _refuse_without_queries(manifests)
    _refuse_mixture(manifests)
    # Without a home it warns of where it keeps its fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from pipelines.stages.evaluation import make_report

    return make_report(config, manifests)


def _paths(config: EvaluateConfig) -> list[str]:
    """Where the indexes are; InputError for one that is named twice."""
    paths = [storage.absolute(path) for path in (config.index, *config.compare)]
    if len(set(paths)) < len(paths):
        raise InputError("An index can only be compared with other ones.")
    return paths


def _refuse_without_queries(manifests: Mapping[str, IndexManifest]) -> None:
    for path, manifest in manifests.items():
        if not manifest.counts.get(QUERY):
            raise InputError(
                f"{path} has no queries, as unlabelled images are none: it can be searched, but "
                "not evaluated."
            )


def _refuse_mixture(manifests: Mapping[str, IndexManifest]) -> None:
    """Methods can only be compared on the same images."""
    (path, first), *others = manifests.items()
    for other_path, other in others:
        if not first.same_images(other):
            raise InputError(
                f"{other_path} holds other images than {path}: build both from the same datasets "
                "with the same seed and selections."
            )


def main() -> None:
    """The command."""
    cli.main(run, EvaluateConfig, description=__doc__)


if __name__ == "__main__":
    main()
