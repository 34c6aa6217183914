"""Images embedded per second by `build_index.py`'s actors, against the bare network.

    python benchmarks/embedding.py                      the quick network, under two minutes
    python benchmarks/embedding.py --preset paper       ResNet-50 at 240x320

The bare network gets one decoded batch that lies in memory, in as many processes of one thread as
the machine has cores. The actors read shards, decode, embed and write descriptors, one per core;
their time is counted from the first finished part on, when all of them have started.
"""

from __future__ import annotations

import tempfile
import time
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
from bridge.checkpoint import save_model
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.images import decode_batch
from bridge.index_folder import PartRecord
from bridge.presets import PRESETS
from pipelines import cluster
from pipelines.embedding import EmbedOptions, Part, embed_parts

BATCH = 64


@dataclass(frozen=True)
class Config:
    """What is measured."""

    preset: str = "quick"
    """The network: paper, strong or quick, with random weights."""
    stored_size: tuple[int, int] = (240, 320)
    """Height and width of the images in the dataset."""
    part: int = 512
    """Images per unit of work."""
    parts: int = 6
    """Units of work of each actor; the first of each is not timed."""
    seconds: float = 10.0
    """For the bare network."""
    workers: int = 2
    """Processes."""
    out: Path | None = None
    """Markdown file to write, with the figures as JSON beside it."""


def bare_rate(model: str, dataset: str, workers: int, seconds: float) -> float:
    """Images per second of `workers` processes of one thread that only run the network."""
    with mp.get_context("spawn").Manager() as manager:
        rates, start = manager.list(), manager.Barrier(workers)
        mp.spawn(_bare, (model, dataset, seconds, start, rates), nprocs=workers)
        return sum(rates)


def _bare(rank: int, model: str, dataset: str, seconds: float, start: Any, rates: Any) -> None:
    torch.set_num_threads(1)
    network = bridge.load(model)
    labels = read_labels(dataset, open_manifest(dataset), "train")
    pixels = np.empty((BATCH, *network.config.image_size, 3), np.uint8)
    decode_batch(labels.take(np.arange(BATCH)).read_images(), pixels)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    network.describe(images)
    start.wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        network.describe(images)
        count += BATCH
    rates.append(count / (time.perf_counter() - began))


def actor_rate(model: str, dataset: str, out: str, config: Config) -> float:
    """Images per second of the actors, from the first part that each of them has finished on."""
    labels = read_labels(dataset, open_manifest(dataset), "train")
    needed = config.workers * config.parts
    rows = np.resize(np.arange(len(labels)), (needed, config.part))
    parts = [
        Part(PartRecord(f"{number:05d}.parquet", "query", 0, "", ""), labels.take(own), "train")
        for number, own in enumerate(rows)
    ]
    options = EmbedOptions(model, "float32", BATCH, config.workers, use_gpu=False)
    done = [
        (time.perf_counter(), record.rows + len(record.unreadable))
        for record in embed_parts(parts, out, options)
    ]
    first = config.workers - 1
    return sum(rows for _, rows in done[first + 1 :]) / (done[-1][0] - done[first][0])


def measure(config: Config) -> dict[str, float]:
    """Images per second of both, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        preset = PRESETS[config.preset]
        network = new_model(replace(preset.model, num_classes=0), 0)
        save_model(network, folder / "model")
        write_pictures(folder / "data", min(config.part, 512), size=config.stored_size)
        bare = bare_rate(
            str(folder / "model"), str(folder / "data"), config.workers, config.seconds
        )
        cluster.connect(config.workers)
        actors = actor_rate(str(folder / "model"), str(folder / "data"), str(folder), config)
    return {"bare": bare, "actors": actors, "ratio": actors / bare}


def main(config: Config) -> None:
    found = measure(config)
    size = "x".join(map(str, PRESETS[config.preset].model.image_size))
    text = table(
        ("network", "bare, images/s", "build_index.py, images/s", "ratio"),
        [
            (
                f"{config.preset}, {size}",
                f"{found['bare']:,.1f}",
                f"{found['actors']:,.1f}",
                f"{found['ratio']:.2f}",
            )
        ],
    )
    save(config.out, text, {"config": config.preset, **found})


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
