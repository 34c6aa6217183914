"""Which INDEX `build_index.py` is asked for, and what there is of it already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.identity import refuse_difference
from bridge.dataset.manifest import Manifest, open_manifest
from bridge.dataset.schema import DISTRACTOR_SPLIT, REAL_SPLIT, TEST_SPLIT
from bridge.dataset.selections import open_selections
from bridge.index.folder import IndexManifest
from bridge.model.folder import model_sha256
from pipelines.stages.index_options import BuildIndexConfig


def asked_for(config: BuildIndexConfig, out: str, found: IndexManifest | None) -> IndexManifest:
    """The index to make with what there is of it; InputError where another index is there.

    What was added to an index stays in it, and is not asked for again. Parts whose files are gone
    are made again.
    """
    if config.add:
        if found is None:
            raise InputError(f"There is no index at {config.out} to add to.")
        found = _with_files(found, out)
        return _with_datasets(found, _hashes(config.add), selections_of_all(config.add, found.seed))
    model = storage.absolute(config.model)
    paths = [path for path in (config.data, config.distractors, config.real) if path is not None]
    datasets = _hashes(paths)
    _check_split(config.distractors, DISTRACTOR_SPLIT, "distractors")
    _check_split(config.real, REAL_SPLIT, "real")
    drawn = selections_of_all(paths, config.seed)
    if not drawn:
        raise too_few(config)
    model_hash = model_sha256(model)
    known_model = found is not None and found.model_hash == model_hash
    wanted = IndexManifest(
        model=model,
        model_hash=model_hash,
        dimension=found.dimension if found and known_model else _dimension(model),
        datasets=datasets,
        seed=config.seed,
        selections=drawn,
        thumbnails=config.thumbnails,
        precision=config.precision or (found.precision if found else ""),
    )
    if found is None:
        return wanted
    here = {content: path for path, content in datasets.items()}
    if set(here) <= set(found.datasets.values()):
        known = {here.get(content, path): content for path, content in found.datasets.items()}
        selections = {**found.selections, **wanted.selections}
        wanted = replace(wanted, datasets=known, selections=selections)
    content = "an index of another model or dataset"
    refuse_difference(out, content, found.identity(), wanted.identity())
    return replace(
        _with_files(found, out),
        model=model,
        datasets=wanted.datasets,
        selections=wanted.selections,
    )


def _hashes(paths: Sequence[str]) -> dict[str, str]:
    return {storage.absolute(path): open_manifest(path).content_hash for path in paths}


def selections_of_all(paths: Sequence[str], seed: int) -> dict[str, dict[str, Any]]:
    """What selects the queries and the database of datasets that have some, by content hash."""
    manifests = {path: open_manifest(path) for path in paths}
    return {
        manifest.content_hash: open_selections(path, manifest, seed).used
        for path, manifest in manifests.items()
        if _has_queries(manifest)
    }


def _has_queries(manifest: Manifest) -> bool:
    counts = manifest.counts()
    return any(counts.get(split, {}).get("rows") for split in (TEST_SPLIT, REAL_SPLIT))


def too_few(config: BuildIndexConfig) -> InputError:
    """What is said where there are no queries, or nothing to find with them."""
    return InputError(
        f"{config.data} has too few test objects or trajectories for queries and a database."
    )


def _dimension(model: str) -> int:
    """Of a model's descriptors; InputError where it cannot be loaded."""
    # The first of the checks that needs torch.
    import bridge

    return bridge.load(model).config.descriptor_dim


def _check_split(path: str | None, split: str, option: str) -> None:
    if path is not None and not open_manifest(path).counts().get(split, {}).get("rows"):
        raise InputError(f"{path} has no {split} images: it is not for --{option}.")


def _with_files(found: IndexManifest, out: str) -> IndexManifest:
    """The index without the parts whose files are gone."""
    parts = [part for part in found.parts if storage.exists(storage.join(out, part.path))]
    return replace(found, parts=parts, complete=found.complete and len(parts) == len(found.parts))


def _with_datasets(
    found: IndexManifest, added: Mapping[str, str], selections: Mapping[str, dict[str, Any]]
) -> IndexManifest:
    known = set(found.datasets.values())
    new = {path: content for path, content in added.items() if content not in known}
    return replace(
        found,
        datasets={**found.datasets, **new},
        selections={**selections, **found.selections},
        complete=found.complete and not new,
    )
