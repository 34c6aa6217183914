"""What one process trains per second: optimisation steps, the loader, the wait for data.

The loader is `bridge.training.data.prefetch` as training uses it: images in random order out of
the node's cache file, decoded, resized where the network is smaller, assembled into batches with
their labels. Its floor is libjpeg-turbo alone, decoding the same bytes in memory into one buffer
per thread, in the same run on the same cores.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from benchmarks.steps import OneByOne, median_seconds, new_model
from bridge.common.images import Encoded, decode
from bridge.dataset.manifest import open_manifest
from bridge.model.config import ModelConfig
from bridge.training.bliss import BlissConfig, BlissSampler
from bridge.training.data import TrainingData, prefetch
from bridge.training.presets import Preset
from bridge.training.recipe import Compute, Recipe
from bridge.training.selection import select_training_images
from bridge.training.trainer import Trainer

TUPLES = 32
"""Tuples per batch of the loader, as in the paper."""
SMALL = (60, 80)
"""(H, W) of a network that is smaller than the images."""


def load(dataset: str, recipe: Recipe | None = None) -> TrainingData:
    """What a recipe, the paper's by default, trains on of a dataset."""
    return select_training_images(dataset, open_manifest(dataset), recipe or Recipe()).load()


def measure_step(
    network: ModelConfig, data: TrainingData, tuples: int, device: str, compute: Compute
) -> dict[str, Any]:
    """Images per second of steps of so many tuples in one go, and by the published loop.

    Both begin with the same random weights; their first losses are told too. Losses, samples and
    optimiser are the paper's, which the published loop is defined for.
    """
    model, recipe = new_model(network, len(data.labels.objects)), Recipe(batch_size=tuples)
    loop = OneByOne(copy.deepcopy(model), recipe, device)
    trainer = Trainer(model, recipe, data, None, device=device, compute=compute)
    batch = trainer.example_batch(tuples)
    ways = {"batched": trainer.train_step, "one_by_one": loop.train_step}
    losses = {name: float(step(batch)["loss/total"]) for name, step in ways.items()}
    seconds = median_seconds({name: partial(step, batch) for name, step in ways.items()}, device)
    return {
        "image_size": network.image_size,
        "tuples": tuples,
        "images_per_second": {n: len(batch.objects) / spent for n, spent in seconds.items()},
        "loss": losses,
        "ratio": seconds["one_by_one"] / seconds["batched"],
    }


def measure_loader(data: TrainingData, images: int, threads: Sequence[int]) -> dict[str, Any]:
    """Images per second of loader and floor, from so many JPEG images, by number of threads."""
    slices = plan(data, images)
    encoded = [data.images[row] for part in slices for row in part.reshape(-1).tolist()]
    stored: tuple[int, int] = decode(encoded[0]).shape[:2]
    rates = []
    for number in threads:
        ways = {
            "floor": partial(decode_all, encoded, number),
            "stored": partial(load_all, data, slices, stored, number),
            "small": partial(load_all, data, slices, SMALL, number),
        }
        found = {name: len(encoded) / s for name, s in median_seconds(ways, "cpu").items()}
        shares = {f"{name}_share": found[name] / found["floor"] for name in ("stored", "small")}
        rates.append({"threads": number, **found, **shares})
    return {
        "images": len(encoded),
        "mean_bytes": float(np.mean([len(each) for each in encoded])),
        "stored_size": stored,
        "small_size": SMALL,
        "rates": rates,
    }


def plan(data: TrainingData, images: int) -> list[NDArray[np.int32]]:
    """Batches of tuples as the paper's training draws them, of at least so many images."""
    sampler = BlissSampler(data.labels.object, data.positions, BlissConfig(), seed=0)
    plans = (sampler.plan(epoch) for epoch in count())
    batches = (tuples[i : i + TUPLES] for tuples in plans for i in range(0, len(tuples), TUPLES))
    slices: list[NDArray[np.int32]] = []
    while sum(part.size for part in slices) < images:
        slices.append(next(batches))
    return slices


def load_all(
    data: TrainingData, slices: Sequence[NDArray[np.int32]], size: tuple[int, int], threads: int
) -> int:
    """Images that went through the loader."""
    return sum(int(batch.valid.sum()) for batch in prefetch(data, iter(slices), size, threads))


def decode_all(encoded: Sequence[Encoded], threads: int) -> int:
    """Images that libjpeg-turbo alone decoded, whole, into a buffer per thread."""

    def work(part: Sequence[Encoded]) -> int:
        buffer = np.empty_like(decode(part[0]))
        for data in part:
            simplejpeg.decode_jpeg(data, buffer=buffer)
        return len(part)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, [encoded[number::threads] for number in range(threads)]))


def measure_wait(
    preset: Preset, data: TrainingData, device: str, compute: Compute, *, threads: int, steps: int
) -> dict[str, Any]:
    """The share of the seconds that training with a preset waits for data, by its own report.

    The first two steps do not count: they start threads, and choose kernels on a GPU.
    """
    # An event after every other step, and one at the end of an epoch.
    recipe = replace(preset.recipe, steps=2 + steps, log_every=2)
    model = new_model(preset.model, len(data.labels.objects))
    trainer = Trainer(model, recipe, data, None, device=device, compute=compute, threads=threads)
    first, *events = trainer.run()
    seconds = sum(event.metrics["seconds"] for event in events)
    waited = sum(event.metrics["data_wait"] * event.metrics["seconds"] for event in events)
    steps = trainer.step - first.step
    return {
        "data_wait": waited / seconds,
        "images_per_second": steps * trainer.images_per_step / seconds,
        "images_per_step": trainer.images_per_step,
        "steps": steps,
    }
