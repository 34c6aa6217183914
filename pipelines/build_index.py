"""Embed queries, database and distractors with a MODEL and build the INDEX.

    python pipelines/build_index.py --model runs/bridge/model --data data/synthetic
    python pipelines/build_index.py --distractors data/distractors --out indexes/with_distractors
    python pipelines/build_index.py --out indexes/with_distractors --index-type hnsw
    python pipelines/build_index.py --out indexes/with_distractors --add data/more
    python pipelines/build_index.py --export lancedb:indexes/lance         # see docs/databases.md

Run the same command again after an interruption: finished parts are kept. Parts that another index
in the same folder has of the same model and images are taken over from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from pipelines.stages.index_options import BuildIndexConfig

# What takes seconds to import is imported once the options and what they name have been checked.
if TYPE_CHECKING:
    from bridge.index.folder import IndexManifest


def run(config: BuildIndexConfig) -> IndexManifest:
    """Build the index, or what is missing of it, and export it where that is asked for."""
    _require_databases(config.export)
    manifest = _build(config)
    if config.export:
        from bridge.index.databases import export_index

        for target in config.export:
            print(export_index(storage.absolute(config.out), manifest, target))
    return manifest


def _require_databases(targets: Sequence[str]) -> None:
    """InputError for what is no database, or cannot be opened here."""
    if targets:
        from bridge.index.databases import open_database

        for target in targets:
            open_database(target)


def _build(config: BuildIndexConfig) -> IndexManifest:
    from bridge.index.folder import MANIFEST, load_index_manifest
    from pipelines.stages.index_request import asked_for

    out = storage.absolute(config.out)
    found = load_index_manifest(out) if storage.exists(storage.join(out, MANIFEST)) else None
    manifest = asked_for(config, out, found)
    from pipelines.stages import cluster
    from pipelines.stages.indexing import build_search_index, is_current

    options = config.index.or_those_of(manifest.search)
    if manifest.complete and is_current(out, manifest, options):
        print(f"{shown(out)} is complete: {_summary(manifest)}.")
        return manifest
    from pipelines.stages.running import running

    with running("build-index", out, config.watch):
        try:
            if not manifest.complete:
                from pipelines.stages.index_parts import embed_missing

                manifest = embed_missing(manifest, config, out)
            cluster.connect(config.num_cpus)
            search = build_search_index(out, manifest, options)
        except InputError:
            # What cannot be added leaves the index as it was.
            if found is not None and found.complete:
                found.save(out)
            raise
        manifest = replace(manifest, search=search, complete=True)
        manifest.save(out)
    print(f"{out}: {_summary(manifest)}.")
    return manifest


def _summary(manifest: IndexManifest) -> str:
    counts = ", ".join(f"{count:,} {role}" for role, count in manifest.counts.items())
    unreadable = len(manifest.unreadable)
    left_out = f"; {unreadable} unreadable" if unreadable else ""
    return f"{counts} descriptors of {manifest.dimension} dimensions{left_out}"


def main() -> None:
    """The command."""
    cli.main(run, BuildIndexConfig, description=__doc__)


if __name__ == "__main__":
    main()
