"""Images embedded per second by `build_index.py`'s actors, against the bare network.

    python benchmarks/embedding.py                      the quick network, some minutes
    python benchmarks/embedding.py --preset paper       ResNet-50 at 240x320

The bare network gets one decoded batch that lies in memory, in as many processes of one thread as
there are actors; then the same processes also decode. The actors read shards, decode, embed and
write descriptors, one per core; their time is counted from the first finished part on, when all of
them have started. All have the same batch size and the same way with memory.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch

import bridge
from benchmarks.report import Options, Table, in_processes, save
from benchmarks.scenes import dataset_or_pictures
from benchmarks.steps import new_model
from bridge.common import cli
from bridge.common.images import decode_batch
from bridge.common.record import Count
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.dataset.roles import QUERY
from bridge.dataset.schema import TRAIN_SPLIT
from bridge.index.folder import PartRecord
from bridge.model.checkpoint import save_model
from bridge.model.embedding import default_batch_size
from bridge.training.presets import PRESETS
from pipelines.stages import cluster
from pipelines.stages.embedding import EmbedOptions, embed_parts
from pipelines.stages.embedding_plan import part_of

TABLE = Table(
    "network | bare, images/s | and decoding | build_index.py | of bare | of bare and decoding",
    "{preset}, {image_size} | {bare:,.1f} | {decoding:,.1f} | {actors:,.1f} | {ratio:.2f} "
    "| {ratio_decoding:.2f}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What is measured."""

    preset: Literal["paper", "strong", "quick"] = "quick"
    """The network, with random weights."""
    data: str = ""
    """A dataset with training images; one of built-in objects is made without it."""
    stored_size: tuple[int, int] = (240, 320)
    """Height and width of its images."""
    part: Count = 512
    """Images per unit of work."""
    parts: Count = 30
    """Units of work of each actor; the first of each is not timed."""
    seconds: float = 20.0
    """Of the bare network, half before the actors and half after; as many again with decoding."""
    workers: Count = 2
    """Processes."""


def bare_rates(model: str, dataset: str, workers: int, seconds: float) -> np.ndarray:
    """Images per second of `workers` processes of one thread that only run the network, and of the
    same that also decode."""
    with patch.dict(os.environ, cluster.TENSORS_ON_CPU["env_vars"]):
        return np.sum(in_processes(workers, _bare, model, dataset, seconds), axis=0)


def _bare(
    rank: int, start: Barrier, model: str, dataset: str, seconds: float
) -> tuple[float, float]:
    torch.set_num_threads(1)
    network = bridge.load(model)
    batch = default_batch_size(network)
    labels = read_labels(dataset, open_manifest(dataset), TRAIN_SPLIT)
    encoded = labels.take(np.arange(batch)).read_images()
    pixels = np.empty((batch, *network.config.image_size, 3), np.uint8)
    decode_batch(encoded, pixels)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def rate(decoding: bool) -> float:
        network.describe(images)
        start.wait()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            if decoding:
                decode_batch(encoded, pixels)
            network.describe(images)
            count += batch
        return count / (time.perf_counter() - began)

    return rate(False), rate(True)


def actor_rate(model: str, dataset: str, out: str, config: Config) -> float:
    """Images per second of the actors, from the first part that each of them has finished on."""
    labels = read_labels(dataset, open_manifest(dataset), TRAIN_SPLIT)
    rows = np.resize(np.arange(len(labels)), (config.workers * config.parts, config.part))
    parts = []
    for number, own in enumerate(np.sort(rows)):
        record = PartRecord(f"{number:05d}.parquet", QUERY, 0, "", "")
        places = np.stack([labels.shard[own], labels.row[own]])
        parts.append(part_of(record, dataset, TRAIN_SPLIT, labels.shards, places))
    options = EmbedOptions(model, "float32", None, config.workers, use_gpu=False)
    # When a part was written, and not when the driver hears of it, which may be much later.
    done = sorted(
        ((Path(out) / record.path).stat().st_mtime, record.rows + len(record.unreadable))
        for record in embed_parts(parts, out, options)
    )
    first = config.workers - 1
    return sum(rows for _, rows in done[first + 1 :]) / (done[-1][0] - done[first][0])


def run(config: Config) -> dict[str, Any]:
    """Images per second of all three, and of the actors as a share of the other two."""
    network = replace(PRESETS["bridge"][config.preset].model, num_classes=0)
    with (
        tempfile.TemporaryDirectory() as out,
        dataset_or_pictures(config.data, min(config.part, 512), config.stored_size) as dataset,
    ):
        model = str(Path(out) / "model")
        save_model(new_model(network), model)
        cluster.connect(config.workers)
        # Before and after, for a machine whose speed drifts.
        before = bare_rates(model, dataset, config.workers, config.seconds / 2)
        actors = actor_rate(model, dataset, out, config)
        after = bare_rates(model, dataset, config.workers, config.seconds / 2)
    bare, decoding = ((before + after) / 2).tolist()
    figures = {
        "preset": config.preset,
        "image_size": network.image_size,
        "bare": bare,
        "decoding": decoding,
        "actors": actors,
        "ratio": actors / bare,
        "ratio_decoding": actors / decoding,
    }
    save(config.out, [TABLE.text([figures])], figures)
    return figures


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
