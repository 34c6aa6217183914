"""Embed queries, database and distractors with a MODEL and build the INDEX.

    python pipelines/build_index.py --model runs/bridge/model --data data/synthetic
    python pipelines/build_index.py --distractors data/distractors --out indexes/with_distractors
    python pipelines/build_index.py --out indexes/with_distractors --index-type hnsw
    python pipelines/build_index.py --out indexes/with_distractors --add data/more

Run the same command again after an interruption: finished parts are kept. Parts that another index
in the same folder has of the same model and images are taken over from it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tyro

import bridge
from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.identity import refuse_difference
from bridge.common.manifest_writer import ManifestWriter
from bridge.common.progress import progress
from bridge.common.record import Count, Share, WholeNumber, check
from bridge.dataset.manifest import Manifest, open_manifest
from bridge.dataset.roles import DATABASE, QUERY
from bridge.dataset.schema import DISTRACTOR_SPLIT, REAL_SPLIT, TEST_SPLIT
from bridge.dataset.selections import open_selections
from bridge.index.folder import (
    MANIFEST,
    IndexManifest,
    PartRecord,
    copy_part,
    finished_parts,
    load_index_manifest,
)
from bridge.index.searcher import model_of
from bridge.model.checkpoint import model_sha256
from bridge.model.embedding import Precision
from pipelines.stages import cluster
from pipelines.stages.embedding import EmbedOptions, embed_parts
from pipelines.stages.embedding_plan import Part, plan_parts
from pipelines.stages.indexing import IndexOptions, build_search_index, is_current


@dataclass(frozen=True)
class BuildIndexConfig:
    """What to embed with what."""

    model: str = "runs/bridge/model"
    """A MODEL folder, or a published checkpoint file."""
    data: str = "data/synthetic"
    """The dataset; its test, real and distractor images become queries and database."""
    distractors: str | None = None
    """A dataset of distractors to add to the database."""
    real: str | None = None
    """A dataset of real images, for the protocol `real`."""
    out: str = "indexes/bridge"
    """Folder of the index."""
    add: tuple[str, ...] = ()
    """Datasets to add to the index that is in --out; --model, --data and so on are its own then."""
    seed: WholeNumber = 0
    """Of the selection of queries and database."""
    index: tyro.conf.OmitArgPrefixes[IndexOptions] = field(default_factory=IndexOptions)
    num_workers: Count | None = None
    """Processes that embed; default: one per GPU, or per CPU."""
    use_gpu: bool | None = None
    """Whether each of them has a GPU; default: where the cluster has any."""
    precision: Precision | None = None
    """In which the network computes; default: bfloat16 on GPUs, float32 on CPUs."""
    batch_size: Count | None = None
    """Images per forward pass; default: 64, on CPUs fewer where they are large."""
    max_rejected: Share = 0.01
    """Give up when more than this share of the images cannot be decoded."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""

    def __post_init__(self) -> None:
        check(self)


def run(config: BuildIndexConfig) -> IndexManifest:
    """Build the index, or what is missing of it."""
    out = storage.absolute(config.out)
    found = load_index_manifest(out) if storage.exists(storage.join(out, MANIFEST)) else None
    manifest = _asked_for(config, out, found)
    options = config.index.or_those_of(manifest.search)
    if manifest.complete and is_current(out, manifest, options):
        print(f"{out} is complete: {_summary(manifest)}.")
        return manifest
    try:
        if not manifest.complete:
            manifest = _embed(manifest, config, out)
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


def _asked_for(config: BuildIndexConfig, out: str, found: IndexManifest | None) -> IndexManifest:
    """The index to make with what there is of it; InputError where another index is there.

    What was added to an index stays in it, and is not asked for again. Parts whose files are gone
    are made again.
    """
    if config.add:
        if found is None:
            raise InputError(f"There is no index at {config.out} to add to.")
        found = _with_files(found, out)
        return _with_datasets(found, _hashes(config.add), _selections(config.add, found.seed))
    model = storage.absolute(config.model)
    paths = [path for path in (config.data, config.distractors, config.real) if path is not None]
    datasets = _hashes(paths)
    _check_split(config.distractors, DISTRACTOR_SPLIT, "distractors")
    _check_split(config.real, REAL_SPLIT, "real")
    wanted = IndexManifest(
        model=model,
        model_hash=model_sha256(model),
        dimension=bridge.load(model).config.descriptor_dim,
        datasets=datasets,
        seed=config.seed,
        selections=_selections(paths, config.seed),
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


def _selections(paths: Sequence[str], seed: int) -> dict[str, dict[str, Any]]:
    """What selects the queries and the database of datasets that have some, by content hash."""
    manifests = {path: open_manifest(path) for path in paths}
    return {
        manifest.content_hash: open_selections(path, manifest, seed).used
        for path, manifest in manifests.items()
        if {TEST_SPLIT, REAL_SPLIT} & manifest.counts().keys()
    }


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


def _embed(manifest: IndexManifest, config: BuildIndexConfig, out: str) -> IndexManifest:
    """Embed what the manifest lacks; every row that goes in is counted again at the end."""
    manifests = _open_same(manifest)
    _refuse_overlap(manifests)
    model_of(manifest)
    cluster.connect(config.num_cpus)
    use_gpu = cluster.num_gpus() > 0 if config.use_gpu is None else config.use_gpu
    if use_gpu and not cluster.num_gpus():
        raise InputError("--use-gpu needs a GPU; the cluster has none.")
    precision: Precision = manifest.precision or ("bfloat16" if use_gpu else "float32")
    manifest = replace(manifest, precision=precision)
    parts = list(plan_parts(manifests, manifest.seed, manifest.model_hash, precision))
    if not {QUERY, DATABASE} <= {part.record.role for part in parts}:
        raise InputError(
            f"{config.data} has too few test objects or trajectories for queries and a database."
        )
    storage.prepare_output(out)
    options = EmbedOptions(
        manifest.model, precision, config.batch_size, config.num_workers, use_gpu
    )
    records = _finish_parts(manifest, parts, options, out)
    manifest = replace(manifest, parts=[records[part.record.key] for part in parts])
    _check_counts(manifest, parts, config.max_rejected)
    counts: Counter[str] = Counter()
    for record in manifest.parts:
        counts[record.role] += record.rows
    manifest = replace(manifest, counts=dict(sorted(counts.items())))
    manifest.save(out)
    return manifest


def _open_same(manifest: IndexManifest) -> dict[str, Manifest]:
    """The datasets of an index; InputError where one is gone or is not what it was."""
    manifests = {path: open_manifest(path) for path in manifest.datasets}
    for path, content in manifest.datasets.items():
        if manifests[path].content_hash != content:
            raise InputError(f"{path} is not the dataset any more that the index was built from.")
    now = replace(manifest, selections=_selections([*manifests], manifest.seed))
    if not manifest.same_images(now):
        raise InputError("The selections are not those any more that the index was built with.")
    return manifests


def _refuse_overlap(manifests: Mapping[str, Manifest]) -> None:
    """Objects of one dataset are negatives of another's queries, so none may be in both."""
    for (path, manifest), (other_path, other) in itertools.combinations(manifests.items(), 2):
        if all(set(each.counts()) == {DISTRACTOR_SPLIT} for each in (manifest, other)):
            continue
        shared = manifest.objects & other.objects
        if shared:
            raise InputError(
                f"{other_path} shares {len(shared)} objects with {path}, e.g. {min(shared)}: make "
                "distractors with --exclude."
            )


def _finish_parts(
    manifest: IndexManifest, parts: Sequence[Part], options: EmbedOptions, out: str
) -> dict[str, PartRecord]:
    """Records of all parts by key: those there are, those of other indexes, those made now."""
    records = {record.key: record for record in manifest.parts}
    missing = [part for part in parts if part.record.key not in records]
    total = sum(map(len, parts))
    before = total - sum(map(len, missing))
    with (
        ManifestWriter(out, manifest, IndexManifest.with_parts) as writer,
        progress("embed", total, "images", before) as bar,
    ):

        def finished(record: PartRecord) -> None:
            writer.add(record)
            records[record.key] = record
            bar.advance(record.rows + len(record.unreadable))

        others = finished_parts(out.rpartition("/")[0])
        for part in missing:
            other = others.get(part.record.key)
            copied = copy_part(other, out, part.record.path, part.dataset) if other else None
            if copied:
                finished(copied)
        left = [part for part in missing if part.record.key not in records]
        for record in embed_parts(left, out, options):
            finished(record)
    return records


def _check_counts(manifest: IndexManifest, parts: Sequence[Part], max_rejected: float) -> None:
    """Every row that went in came out, or is named as unreadable; few enough are."""
    rows_in = sum(map(len, parts))
    rows_out = sum(part.rows for part in manifest.parts)
    # An image that has two roles went in twice.
    left_out = sum(len(part.unreadable) for part in manifest.parts)
    if rows_in != rows_out + left_out:
        raise RuntimeError(f"{rows_in} images went in, {rows_out} descriptors came out.")
    if left_out > max_rejected * rows_in:
        name, why = next(iter(manifest.unreadable.items()))
        raise InputError(
            f"{left_out} of {rows_in} images cannot be decoded, more than the share "
            f"--max-rejected {max_rejected} allows, e.g. {name}: {why}."
        )


def _summary(manifest: IndexManifest) -> str:
    counts = ", ".join(f"{count:,} {role}" for role, count in manifest.counts.items())
    unreadable = len(manifest.unreadable)
    left_out = f"; {unreadable} unreadable" if unreadable else ""
    return f"{counts} descriptors of {manifest.dimension} dimensions{left_out}"


if __name__ == "__main__":
    cli.main(run, BuildIndexConfig, description=__doc__)
