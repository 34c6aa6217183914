"""Speed of the path from encoded images to training batches, against bare JPEG decoding.

    python benchmarks/training_loader.py                   generated photos, about a minute
    python benchmarks/training_loader.py --data data/synthetic --out runs/loader.md

The loader is `bridge.training.data.prefetch` as training uses it: images in random order out of
the node's cache file, decoded, resized where the network is smaller, assembled into batches with
their labels. The floor is libjpeg-turbo alone, decoding the same bytes in memory into one buffer
per thread, in the same run on the same cores. "Share" is the loader's rate divided by the floor's.
Where the network is smaller than the images, the loader decodes them at a smaller scale and may
pass the floor, which decodes them whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tables import save, table
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.images import Encoded, decode, encode
from bridge.dataset.cache import ImageCache
from bridge.dataset.labels import Labels
from bridge.dataset.manifest import open_manifest
from bridge.training.bliss import BlissConfig, BlissSampler, positions
from bridge.training.data import TrainingData, prefetch, select_training_images

TUPLES = 32
"""Tuples per batch, as in the paper."""


@dataclass(frozen=True)
class Config:
    """What to measure."""

    data: str = ""
    """A dataset of JPEG images; photos are generated without it."""
    images: int = 5_000
    """Images to load per figure, rounded up to whole batches."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of decoding threads."""
    small: tuple[int, int] = (60, 80)
    """(H, W) of a smaller network."""
    repeats: int = 3
    """Runs per figure; the fastest counts."""
    seed: int = 0
    """Of the generated photos and of the plan."""
    out: Path | None = None
    """A Markdown file to write; the figures go beside it as JSON."""


def photo(rng: np.random.Generator, size: tuple[int, int] = (240, 320)) -> bytes:
    """A random picture as JPEG of quality 95, 4:4:4: smooth shades, straight edges, some grain."""
    picture = np.zeros((*size, 3))
    for cells in (3, 12, 48):
        shades = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        smooth = Image.fromarray(shades).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        picture += np.asarray(smooth) * (0.6 if cells == 3 else 0.2)
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    for _ in range(6):
        normal = rng.normal(size=2)
        through = rng.uniform(0, 1, 2) * size
        beyond = (rows - through[0]) * normal[0] + (columns - through[1]) * normal[1] > 0
        picture[beyond] = 0.6 * picture[beyond] + rng.uniform(0, 100, 3)
    picture += rng.normal(0, 4, size)[..., None]
    return encode(picture.clip(0, 255).astype(np.uint8))


def generated_data(config: Config) -> TrainingData:
    """A selection of generated photos, in a mapped file like a real one."""
    rng = np.random.default_rng(config.seed)
    count = min(config.images, 500)
    objects = np.arange(count, dtype=np.int32) % 10
    levels = rng.integers(1, 7, count).astype(np.int32)
    severity = (levels / 10 - 0.05).astype(np.float32)
    names = tuple(f"photo/{number}" for number in range(10))
    zeros = np.zeros(count, np.int32)
    labels = Labels(
        dataset="",
        objects=names,
        object=objects,
        trajectory=np.arange(count, dtype=np.int32),
        window=zeros,
        blur_level=levels,
        blur_severity=severity,
        mean_opacity=1 - severity,
        bbox=np.full((count, 4), 0.5, np.float32),
        image_id=pa.array([f"{names[objects[i]]}/{i:03d}/0" for i in range(count)]),
        shards=(),
        shard=zeros,
        row=np.arange(count),
    )
    photos = pa.array([photo(rng) for _ in range(count)], pa.binary())
    places = positions(levels, severity, BlissConfig())
    return TrainingData(labels, ImageCache([photos]), 1 - severity, places)


def real_data(config: Config) -> TrainingData:
    """The training selection of a dataset; InputError where it holds another format."""
    data = select_training_images(config.data, open_manifest(config.data), config.seed).load()
    try:
        simplejpeg.decode_jpeg_header(data.images[0])
    except ValueError as error:
        raise InputError(f"{config.data} does not hold JPEG images.") from error
    return data


def plan(data: TrainingData, config: Config) -> list[NDArray[np.int32]]:
    """Batches of tuples as training draws them, together at least `config.images` images."""
    sampler = BlissSampler(data.labels.object, data.positions, BlissConfig(), config.seed)
    slices: list[NDArray[np.int32]] = []
    epoch = 0
    while sum(part.size for part in slices) < config.images:
        tuples = sampler.plan(epoch)
        slices += [tuples[i : i + TUPLES] for i in range(0, len(tuples), TUPLES)]
        epoch += 1
    ends = np.cumsum([part.size for part in slices])
    return slices[: int(np.searchsorted(ends, config.images)) + 1]


def load_all(
    data: TrainingData, slices: Sequence[NDArray[np.int32]], size: tuple[int, int], threads: int
) -> int:
    """Images that went through the loader."""
    return sum(int(b.valid.sum()) for b in prefetch(data, iter(slices), size, threads))


def decode_all(encoded: Sequence[Encoded], threads: int) -> int:
    """Images that libjpeg-turbo alone decoded, whole, into a buffer per thread."""

    def work(part: Sequence[Encoded]) -> int:
        buffer = np.empty_like(decode(part[0]))
        for data in part:
            simplejpeg.decode_jpeg(data, buffer=buffer)
        return len(part)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, [encoded[number::threads] for number in range(threads)]))


def rate(run: Callable[[], int], repeats: int) -> float:
    """Images per second of the fastest of some runs."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        count = run()
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


def measure(config: Config) -> dict[str, Any]:
    """Images per second of the loader and of the floor, by number of threads.

    Raises:
        InputError: the dataset cannot be trained on, or holds no JPEG images.
    """
    data = real_data(config) if config.data else generated_data(config)
    slices = plan(data, config)
    encoded = [data.images[row] for part in slices for row in part.reshape(-1).tolist()]
    height, width = decode(encoded[0]).shape[:2]
    rates = []
    for threads in config.threads:
        floor = rate(partial(decode_all, encoded, threads), config.repeats)
        found: dict[str, float] = {"threads": threads, "floor": floor}
        for name, size in (("stored", (height, width)), ("small", config.small)):
            load = partial(load_all, data, slices, size, threads)
            found[name] = rate(load, config.repeats)
            found[f"{name}_share"] = found[name] / floor
        rates.append(found)
    return {
        "images": len(encoded),
        "mean_bytes": float(np.mean([len(data) for data in encoded])),
        "stored_size": (height, width),
        "small_size": config.small,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "rates": rates,
    }


def markdown(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    height, width = figures["stored_size"]
    small = "x".join(map(str, figures["small_size"]))
    rows = [
        [
            found["threads"],
            f"{found['floor']:,.0f}",
            *(
                text
                for name in ("stored", "small")
                for text in (f"{found[name]:,.0f}", f"{found[f'{name}_share']:.2f}")
            ),
        ]
        for found in figures["rates"]
    ]
    header = ["threads", "floor", f"loader {height}x{width}", "share", f"loader {small}", "share"]
    return (
        f"Images per second; {figures['images']:,} JPEG images of {height}x{width} pixels and "
        f"{figures['mean_bytes'] / 1000:.0f} KB, {figures['cores']} cores\n\n"
        f"{table(header, rows)}"
    )


def main(config: Config) -> None:
    """Measure and report."""
    figures = measure(config)
    save(config.out, markdown(figures), figures)


if __name__ == "__main__":
    cli.main(main, Config, description=__doc__)
