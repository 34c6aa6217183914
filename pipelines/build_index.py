"""Embed queries, database and distractors with a MODEL and build the INDEX.

    python pipelines/build_index.py --model runs/bridge/model --data data/synthetic
    python pipelines/build_index.py --distractors data/distractors --out indexes/with_distractors

Run the same command again after an interruption: parts that are finished are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

import bridge
from bridge import cli, storage
from bridge.checkpoint import model_sha256
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import Manifest, open_manifest, refuse_difference
from bridge.dataset.splits import distractor_rows, queries_and_database
from bridge.embedding import embed_encoded
from bridge.errors import InputError
from bridge.index import build_index, save_index
from bridge.index_folder import (
    DATABASE,
    DISTRACTOR,
    FAISS_FILE,
    MANIFEST,
    QUERY,
    IndexManifest,
    PartRecord,
    descriptor_schema,
    load_index_manifest,
    read_descriptors,
    write_part,
)
from bridge.progress import progress
from pipelines import cluster

ROWS_PER_PART = 1024
"""Images per unit of work: what an interruption can cost."""


@dataclass(frozen=True)
class BuildIndexConfig:
    """What to embed with what."""

    model: str = "runs/bridge/model"
    """A MODEL folder, or a published checkpoint file."""
    data: str = "data/synthetic"
    """The dataset; its test objects give queries and database."""
    distractors: str | None = None
    """A dataset of distractors to add to the database."""
    out: str = "indexes/bridge"
    """Folder of the index."""
    seed: int = 0
    """Of the selection of queries and database."""
    num_workers: int | None = None
    """Processes that embed; default: one per GPU, or per CPU."""
    use_gpu: bool | None = None
    """Whether each of them has a GPU; default: where the cluster has any."""
    batch_size: int = 64
    """Images per forward pass."""
    max_rejected: float = 0.01
    """Give up when more than this share of the images cannot be decoded."""
    num_cpus: int | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""


@dataclass(frozen=True)
class Part:
    """One unit of work: rows of one dataset that have one role."""

    path: str
    labels: Labels
    role: str


def run(config: BuildIndexConfig) -> IndexManifest:
    """Build the index, or what is missing of it."""
    out = storage.absolute(config.out)
    model = storage.absolute(config.model)
    dimension = bridge.load(model).config.descriptor_dim
    datasets = [storage.absolute(p) for p in (config.data, config.distractors) if p is not None]
    manifests = {path: open_manifest(path) for path in datasets}
    wanted = IndexManifest(
        model=model,
        model_hash=model_sha256(model),
        dimension=dimension,
        datasets={path: manifest.content_hash for path, manifest in manifests.items()},
        seed=config.seed,
    )
    manifest = _existing(out, wanted)
    if manifest.complete:
        print(f"{out} is complete: {_summary(manifest)}.")
        return manifest
    _refuse_overlap(manifests)
    parts = list(_parts(manifests, config.seed))
    if not {QUERY, DATABASE} <= {part.role for part in parts}:
        raise InputError(
            f"{config.data} has too few test objects or trajectories for queries and a database."
        )
    storage.prepare_output(out)
    cluster.connect(config.num_cpus)
    manifest = _embed_missing(manifest, parts, config, out)
    _check_counts(manifest, parts, config.max_rejected)
    rows = read_descriptors(out, manifest)
    save_index(
        build_index(rows.only(DATABASE, DISTRACTOR).descriptors), storage.join(out, FAISS_FILE)
    )
    counts = Counter(rows.roles.tolist())
    manifest = replace(manifest, counts=dict(sorted(counts.items())), complete=True)
    manifest.save(out)
    print(f"{out}: {_summary(manifest)}.")
    return manifest


def _existing(out: str, wanted: IndexManifest) -> IndexManifest:
    """What an earlier run left, or `wanted`; InputError where another index is there."""
    if not storage.exists(storage.join(out, MANIFEST)):
        return wanted
    found = load_index_manifest(out)
    content = "an index of another model or dataset"
    refuse_difference(out, content, found.identity(), wanted.identity())
    return found


def _refuse_overlap(manifests: dict[str, Manifest]) -> None:
    """Distractors are negatives of every query, so none may show an object of the dataset."""
    (data, manifest), *others = manifests.items()
    for path, other in others:
        shared = manifest.objects & other.objects
        if shared:
            raise InputError(
                f"{path} shares {len(shared)} objects with {data}, e.g. {min(shared)}: make the "
                "distractors with --exclude."
            )


def _parts(manifests: dict[str, Manifest], seed: int) -> Iterator[Part]:
    """The images to embed, in units of work that depend on the datasets and the seed alone."""
    (data, manifest), *others = manifests.items()
    labels = read_labels(data, manifest, "test")
    sides = queries_and_database(labels, seed)
    yield from _cut(labels, sides.queries, QUERY)
    yield from _cut(labels, sides.database, DATABASE)
    for path, other in others:
        labels = read_labels(path, other, "distractor")
        yield from _cut(labels, distractor_rows(labels), DISTRACTOR)


def _cut(labels: Labels, rows: np.ndarray, role: str) -> Iterator[Part]:
    for number, start in enumerate(range(0, len(rows), ROWS_PER_PART)):
        chosen = labels.take(rows[start : start + ROWS_PER_PART])
        yield Part(f"descriptors/{role}-{number:05d}.parquet", chosen, role)


class Embedder:
    """A Ray Data actor: loads the model once, then turns parts into descriptor shards."""

    def __init__(self, model: str, out: str, batch_size: int, device: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._model = bridge.load(model, device)
        self._out, self._batch_size, self._threads = out, batch_size, threads

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Embed one part, write it, and return its record."""
        part: Part = row["item"]
        embedded = embed_encoded(
            self._model,
            part.labels.read_images(),
            batch_size=self._batch_size,
            threads=self._threads,
        )
        kept = part.labels.take(embedded.rows)
        dimension = embedded.descriptors.shape[1]
        table = pa.table(
            {
                "image_id": kept.image_id,
                "object_id": kept.object_ids(),
                "blur_level": kept.blur_level,
                "role": [part.role] * len(kept),
                "descriptor": pa.FixedSizeListArray.from_arrays(
                    pa.array(embedded.descriptors.reshape(-1)), dimension
                ),
                "shard": [storage.join(kept.dataset, kept.shards[i]) for i in kept.shard],
                "row": kept.row,
            },
            schema=descriptor_schema(dimension),
        )
        names = part.labels.image_id
        unreadable = {names[row].as_py(): why for row, why in embedded.unreadable.items()}
        return {"item": write_part(self._out, part.path, table, unreadable)}


def _embed_missing(
    manifest: IndexManifest, parts: list[Part], config: BuildIndexConfig, out: str
) -> IndexManifest:
    """Embed the parts that the manifest does not name, recording each as it is finished."""
    records = {record.path: record for record in manifest.parts}
    missing = [part for part in parts if part.path not in records]
    total = sum(len(part.labels) for part in parts)
    with progress("embed", total, "images") as counter:
        counter.advance(total - sum(len(part.labels) for part in missing))
        for record in _embed(missing, config, out):
            records[record.path] = record
            ordered = [records[part.path] for part in parts if part.path in records]
            manifest = replace(manifest, parts=ordered)
            manifest.save(out)
            counter.advance(record.rows + len(record.unreadable))
    return manifest


def _embed(parts: list[Part], config: BuildIndexConfig, out: str) -> Iterator[PartRecord]:
    if not parts:
        return
    gpus, cpus = int(cluster.num_gpus()), max(1, int(cluster.num_cpus()))
    use_gpu = gpus > 0 if config.use_gpu is None else config.use_gpu
    # On CPUs one actor per core scales better than the threads of one forward pass.
    actors = config.num_workers or (gpus if use_gpu else cpus) or 1
    actors = min(len(parts), actors if use_gpu else min(actors, cpus))
    threads = max(1, cpus // actors)
    dataset = ray.data.from_items(parts, override_num_blocks=len(parts)).map(
        Embedder,
        fn_constructor_args=(
            storage.absolute(config.model),
            out,
            config.batch_size,
            "cuda" if use_gpu else "cpu",
            min(threads, 8),
        ),
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_gpus=1 if use_gpu else None,
        num_cpus=None if use_gpu else 1,
    )
    for row in dataset.iter_rows():
        yield row["item"]


def _check_counts(manifest: IndexManifest, parts: list[Part], max_rejected: float) -> None:
    """Every row that went in came out, or is named as unreadable; few enough are."""
    rows_in = sum(len(part.labels) for part in parts)
    rows_out = sum(part.rows for part in manifest.parts)
    unreadable = manifest.unreadable
    if rows_in != rows_out + len(unreadable):
        raise RuntimeError(f"{rows_in} images went in, {rows_out} descriptors came out.")
    if len(unreadable) > max_rejected * rows_in:
        name, why = next(iter(unreadable.items()))
        raise InputError(
            f"{len(unreadable)} of {rows_in} images cannot be decoded, more than the share "
            f"--max-rejected {max_rejected} allows, e.g. {name}: {why}."
        )


def _summary(manifest: IndexManifest) -> str:
    counts = ", ".join(f"{count:,} {role}" for role, count in manifest.counts.items())
    unreadable = len(manifest.unreadable)
    left_out = f"; {unreadable} unreadable" if unreadable else ""
    return f"{counts} descriptors of {manifest.dimension} dimensions{left_out}"


if __name__ == "__main__":
    cli.main(run, BuildIndexConfig, description=__doc__)
