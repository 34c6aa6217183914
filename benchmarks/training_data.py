"""The path from encoded images to training batches: its speed, and how long training waits for it.

The loader is `bridge.training.data.prefetch` as training uses it: images in random order out of
the node's cache file, decoded, resized where the network is smaller, assembled into batches with
their labels. The floor is libjpeg-turbo alone, decoding the same bytes in memory into one buffer
per thread, in the same run on the same cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from benchmarks.training_step import new_model
from bridge.common.errors import InputError
from bridge.common.images import Encoded, decode
from bridge.training.bliss import BlissConfig, BlissSampler
from bridge.training.data import TrainingData, prefetch
from bridge.training.presets import Preset
from bridge.training.recipe import Compute
from bridge.training.trainer import Trainer

TUPLES = 32
"""Tuples per batch of the loader, as in the paper."""
SMALL = (60, 80)
"""(H, W) of a network that is smaller than the images."""
REPEATS = 3
"""Runs per figure of the loader; the fastest counts."""


def measure_loader(data: TrainingData, images: int, threads: Sequence[int]) -> dict[str, Any]:
    """Images per second of the loader and of the floor, by number of threads.

    Args:
        data: the training selection.
        images: to load per figure, rounded up to whole batches.
        threads: numbers of decoding threads.

    Raises:
        InputError: the images are not JPEG.
    """
    slices = plan(data, images)
    encoded = [data.images[row] for part in slices for row in part.reshape(-1).tolist()]
    try:
        simplejpeg.decode_jpeg_header(encoded[0])
    except ValueError as error:
        raise InputError("The loader is measured on JPEG images, and these are not.") from error
    stored: tuple[int, int] = decode(encoded[0]).shape[:2]
    rates = []
    for number in threads:
        found = {
            "threads": number,
            "floor": _rate(decode_all, encoded, number),
            "stored": _rate(load_all, data, slices, stored, number),
            "small": _rate(load_all, data, slices, SMALL, number),
        }
        shares = {f"{name}_share": found[name] / found["floor"] for name in ("stored", "small")}
        rates.append(found | shares)
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
    slices: list[NDArray[np.int32]] = []
    epoch = 0
    while sum(part.size for part in slices) < images:
        tuples = sampler.plan(epoch)
        slices += [tuples[i : i + TUPLES] for i in range(0, len(tuples), TUPLES)]
        epoch += 1
    ends = np.cumsum([part.size for part in slices])
    return slices[: int(np.searchsorted(ends, images)) + 1]


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


def _rate(run: Callable[..., int], *arguments: Any) -> float:
    """Images per second of the fastest of some runs."""
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        count = run(*arguments)
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


def measure_wait(
    preset: Preset, data: TrainingData, *, device: str, compute: Compute, threads: int, steps: int
) -> dict[str, Any]:
    """Train so many steps with a preset's network and recipe: how long it waits for data.

    Returns:
        `data_wait`, the share of the seconds that the trainer itself reports after two steps,
        which start the threads, and choose kernels on a GPU; images per second and per step.
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
