"""Embedding what an INDEX lacks of its datasets' images."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge.common.errors import InputError
from bridge.common.manifest_writer import ManifestWriter
from bridge.common.progress import progress
from bridge.dataset.manifest import Manifest, open_manifest
from bridge.dataset.roles import DATABASE
from bridge.dataset.schema import DISTRACTOR_SPLIT
from bridge.index.folder import (
    IndexManifest,
    PartRecord,
    copy_part,
    finished_parts,
    model_of,
)
from bridge.model.config import Precision
from pipelines.stages import cluster
from pipelines.stages.embedding import EmbedOptions, embed_parts
from pipelines.stages.embedding_plan import Part, plan_parts
from pipelines.stages.index_options import BuildIndexConfig
from pipelines.stages.index_request import selections_of_all, too_few


def embed_missing(manifest: IndexManifest, config: BuildIndexConfig, out: str) -> IndexManifest:
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
    check = not config.trust_data
    planned = plan_parts(
        manifests,
        manifest.seed,
        manifest.model_hash,
        precision,
        thumbnails=manifest.thumbnails,
        check=check,
    )
    parts = list(planned)
    if DATABASE not in {part.record.role for part in parts}:
        raise too_few(config)
    options = EmbedOptions(
        manifest.model,
        precision,
        config.batch_size,
        config.num_workers,
        use_gpu,
        manifest.thumbnails,
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
    now = replace(manifest, selections=selections_of_all([*manifests], manifest.seed))
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
        ManifestWriter(out, manifest, IndexManifest.with_parts, manifest.blank()) as writer,
        progress("embed", total, "images", before) as bar,
    ):

        def finished(record: PartRecord) -> None:
            writer.add(record)
            records[record.key] = record
            bar.failures += len(record.unreadable)
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
