"""What one process trains per second: optimisation steps, GPUs, the loader, the wait for data.

The loader is `bridge.training.data.prefetch` as training uses it: images in random order out of
the node's cache file, decoded, resized where the network is smaller, assembled into batches with
their labels. Its floor is libjpeg-turbo alone, decoding the same bytes in memory into one buffer
per thread, in the same run on the same cores.
"""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from bridge.common.images import Encoded, decode
from bridge.dataset.manifest import open_manifest
from bridge.model.config import ModelConfig
from bridge.model.method import RetrievalModel
from bridge.model.registry import build_model
from bridge.training.bliss import BlissConfig, BlissSampler
from bridge.training.data import Batch, TrainingData, prefetch
from bridge.training.losses import LossInputs, joint_loss
from bridge.training.presets import Preset
from bridge.training.recipe import Compute, Recipe
from bridge.training.selection import select_training_images
from bridge.training.trainer import Trainer

ROUNDS = 3
"""Of all ways in turn, so that whatever else the machine does falls on all of them."""

GPU_VARIANTS = {
    "fp32": Compute("fp32"),
    "bf16": Compute("bf16"),
    "bf16, compiled": Compute("bf16", compile=True),
    "bf16, checkpointing": Compute("bf16", gradient_checkpointing=True),
    "bf16, compiled, checkpointing": Compute("bf16", compile=True, gradient_checkpointing=True),
}

TUPLES = 32
"""Tuples per batch of the loader, as in the paper."""
SMALL = (60, 80)
"""(H, W) of a network that is smaller than the images."""


class OneByOne:
    """The published training loop, in float32 and torch's own memory layout (channels first).

    Every image goes through the network by itself. The losses of a tuple are differentiated when
    its images are through, gradients add up, and Adam steps once per batch. The published code
    adds the tuples' losses; here they are averaged, as in `bridge.training.losses`, so that both
    ways can be compared.
    """

    def __init__(self, model: RetrievalModel, recipe: Recipe, device: str) -> None:
        """Train `model` in place, which has all heads, with losses within tuples."""
        self.model = model.to(device, memory_format=torch.contiguous_format).train()
        self.model.backbone.register_forward_pre_hook(
            lambda _, images: tuple(each.contiguous() for each in images)
        )
        self._recipe = recipe
        self._optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)

    def train_step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One optimisation step; the losses of the batch, named as by the trainer."""
        self._optimizer.zero_grad()
        size = batch.tuple_size
        tuples = len(batch.objects) // size
        sums: dict[str, torch.Tensor] = {}
        for number in range(tuples):
            losses = self._losses(batch, slice(number * size, (number + 1) * size))
            (losses["total"] / tuples).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach() / tuples
        self._optimizer.step()
        return {f"loss/{name}": value for name, value in sums.items()}

    def _losses(self, batch: Batch, rows: slice) -> dict[str, torch.Tensor]:
        outputs = [self.model(image[None]) for image in batch.images[rows].float() / 255]
        descriptors, visibility, box = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        inputs = LossInputs(
            descriptors=descriptors,
            visibility=visibility,
            box=box,
            objects=batch.objects[rows],
            positions=batch.positions[rows],
            true_visibility=batch.visibility[rows],
            true_box=batch.boxes[rows],
            supervised=torch.arange(batch.tuple_size, device=box.device) == 0,
            valid=batch.valid[rows],
            tuple_size=batch.tuple_size,
        )
        return joint_loss(inputs, self.model.classifier, self._recipe.loss, self._recipe.bliss)


def new_model(network: ModelConfig, classes: int = 0) -> RetrievalModel:
    """The network with random weights and a classifier for at least so many objects."""
    torch.manual_seed(0)
    return build_model(replace(network, num_classes=max(network.num_classes, classes)))


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


def measure_gpu(
    network: ModelConfig,
    data: TrainingData,
    *,
    tuples: int = 32,
    device: str = "cuda",
    matrix: int = 8192,
    variants: Mapping[str, Compute] = GPU_VARIANTS,
) -> dict[str, Any]:
    """Steps of the paper's recipe with each way of computing.

    Returns:
        FLOPs of a forward pass per image; the chip's rate, by the product of two square bf16
        matrices of side `matrix`; of each variant images per second, TFLOP/s of model arithmetic
        (three times the forward pass, whatever checkpointing adds), its share of the chip's rate,
        and on GPUs the peak of the memory. A variant that memory is too small for has a `note`.
    """
    flops = forward_flops(new_model(network))
    left, right = (torch.randn(matrix, matrix, device=device).bfloat16() for _ in range(2))
    product = partial(torch.mm, left, right)
    chip = 2 * matrix**3 / median_seconds({"": product}, device, warm_ups=5, rounds=20)[""]
    gpu = device != "cpu"
    rows: list[dict[str, Any]] = []
    for name, compute in variants.items():
        if gpu:
            torch.compiler.reset()
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        model, recipe = new_model(network, len(data.labels.objects)), Recipe(batch_size=tuples)
        trainer = Trainer(model, recipe, data, None, device=device, compute=compute)
        batch = trainer.example_batch(tuples)
        step = partial(trainer.train_step, batch)
        try:
            seconds = median_seconds({"": step}, device, warm_ups=3, rounds=10)[""]
        except torch.OutOfMemoryError:
            rows.append({"variant": name, "note": "out of memory"})
            continue
        rate = len(batch.objects) / seconds
        rows.append(
            {
                "variant": name,
                "images_per_second": rate,
                "tflops": 3 * flops * rate / 1e12,
                "share_of_matmul": 3 * flops * rate / chip,
                "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if gpu else None,
            }
        )
    return {
        "gpu": torch.cuda.get_device_name() if gpu else "none",
        "tuples": tuples,
        "image_size": network.image_size,
        "forward_gflop_per_image": flops / 1e9,
        "matmul_tflops": chip / 1e12,
        "variants": rows,
    }


def median_seconds(
    ways: Mapping[str, Callable[[], object]],
    device: str,
    *,
    warm_ups: int = 0,
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Of each function, called in turn, until the device has done its work."""
    wait = torch.cuda.synchronize if device != "cpu" else bool
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(warm_ups + rounds):
        for name, way in ways.items():
            wait()
            start = time.perf_counter()
            way()
            wait()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(spent[warm_ups:]) for name, spent in times.items()}


@torch.no_grad()
def forward_flops(model: RetrievalModel) -> int:
    """Of one image at the network's size; an addition and a multiplication count as two."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *model.config.image_size))
    return counter.get_total_flops()


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
