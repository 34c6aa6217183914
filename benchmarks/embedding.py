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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import tyro

import bridge
from benchmarks.tables import save, table
from benchmarks.training_pictures import write_pictures
from benchmarks.training_step import new_model
from bridge.common.images import decode_batch
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.index.folder import PartRecord
from bridge.model.checkpoint import save_model
from bridge.model.embedding import default_batch_size
from bridge.training.presets import PRESETS
from pipelines.stages import cluster
from pipelines.stages.embedding import EmbedOptions, embed_parts
from pipelines.stages.embedding_plan import part_of


@dataclass(frozen=True)
class Config:
    """What is measured."""

    preset: str = "quick"
    """The network: paper, strong or quick, with random weights."""
    data: str = ""
    """A dataset with training images; random pictures are made without it."""
    stored_size: tuple[int, int] = (240, 320)
    """Height and width of those."""
    part: int = 512
    """Images per unit of work."""
    parts: int = 30
    """Units of work of each actor; the first of each is not timed."""
    seconds: float = 20.0
    """For the bare network, half of them before the actors and half after, and as many again for
    the network with decoding."""
    workers: int = 2
    """Processes."""
    out: Path | None = None
    """Markdown file to write, with the figures as JSON beside it."""


def bare_rates(model: str, dataset: str, workers: int, seconds: float) -> tuple[float, float]:
    """Images per second of `workers` processes of one thread that only run the network, and of the
    same that also decode."""
    os.environ.update(cluster.TENSORS_ON_CPU["env_vars"])
    with mp.get_context("spawn").Manager() as manager:
        rates, start = manager.list(), manager.Barrier(workers)
        mp.spawn(_bare, (model, dataset, seconds, start, rates), nprocs=workers)
        bare, decoding = (sum(column) for column in zip(*rates, strict=True))
        return bare, decoding


def _bare(rank: int, model: str, dataset: str, seconds: float, start: Any, rates: Any) -> None:
    torch.set_num_threads(1)
    network = bridge.load(model)
    batch = default_batch_size(network)
    labels = read_labels(dataset, open_manifest(dataset), "train")
    encoded = labels.take(np.arange(batch)).read_images()
    pixels = np.empty((batch, *network.config.image_size, 3), np.uint8)
    decode_batch(encoded, pixels)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def decode_and_describe() -> None:
        decode_batch(encoded, pixels)
        network.describe(images)

    rates.append(
        tuple(
            batch * _calls_per_second(call, seconds, start)
            for call in (lambda: network.describe(images), decode_and_describe)
        )
    )


def _calls_per_second(call: Callable[[], object], seconds: float, start: Any) -> float:
    call()
    start.wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        call()
        count += 1
    return count / (time.perf_counter() - began)


def actor_rate(model: str, dataset: str, out: str, config: Config) -> float:
    """Images per second of the actors, from the first part that each of them has finished on."""
    labels = read_labels(dataset, open_manifest(dataset), "train")
    needed = config.workers * config.parts
    rows = np.resize(np.arange(len(labels)), (needed, config.part))
    parts = [
        part_of(
            PartRecord(f"{number:05d}.parquet", "query", 0, "", ""),
            labels.dataset,
            "train",
            labels.shards,
            np.stack([labels.shard[own], labels.row[own]]),
        )
        for number, own in enumerate(np.sort(rows))
    ]
    options = EmbedOptions(model, "float32", None, config.workers, use_gpu=False)
    # When a part was written, and not when the driver hears of it, which may be much later.
    done = sorted(
        ((Path(out) / record.path).stat().st_mtime, record.rows + len(record.unreadable))
        for record in embed_parts(parts, out, options)
    )
    first = config.workers - 1
    return sum(rows for _, rows in done[first + 1 :]) / (done[-1][0] - done[first][0])


def measure(config: Config) -> dict[str, float]:
    """Images per second of all three, and of the actors as a share of the other two."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        preset = PRESETS["bridge"][config.preset]
        network = new_model(replace(preset.model, num_classes=0), 0)
        save_model(network, folder / "model")
        dataset = config.data
        if not dataset:
            dataset = str(folder / "data")
            write_pictures(folder / "data", min(config.part, 512), size=config.stored_size)
        model = str(folder / "model")
        cluster.connect(config.workers)
        # Before and after, for a machine whose speed drifts.
        before = bare_rates(model, dataset, config.workers, config.seconds / 2)
        actors = actor_rate(model, dataset, name, config)
        after = bare_rates(model, dataset, config.workers, config.seconds / 2)
        bare, decoding = np.mean([before, after], axis=0).tolist()
    return {
        "bare": bare,
        "decoding": decoding,
        "actors": actors,
        "ratio": actors / bare,
        "ratio_decoding": actors / decoding,
    }


def main(config: Config) -> None:
    found = measure(config)
    size = "x".join(map(str, PRESETS["bridge"][config.preset].model.image_size))
    header = "network|bare, images/s|and decoding|build_index.py|of bare|of bare and decoding"
    rates = (f"{found[name]:,.1f}" for name in ("bare", "decoding", "actors"))
    ratios = (f"{found[name]:.2f}" for name in ("ratio", "ratio_decoding"))
    text = table(header.split("|"), [(f"{config.preset}, {size}", *rates, *ratios)])
    save(config.out, text, {"config": config.preset, **found})


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
