"""Optimisation steps of training: against the published training loop, and on a GPU."""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bridge.model.network import Bridge, ModelConfig
from bridge.training.data import Batch, TrainingData
from bridge.training.losses import LossInputs, joint_loss
from bridge.training.recipe import Compute, Recipe
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

Values = dict[str, torch.Tensor]
Result = TypeVar("Result")


class DefaultLayout(nn.Module):
    """A backbone in torch's own memory layout, channels first, as the published code has it."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As the backbone."""
        return self.backbone(images.contiguous())


class OneByOne:
    """The published training loop, in float32.

    Every image goes through the network by itself. The losses of a tuple are differentiated when
    its images are through, gradients add up, and Adam steps once per batch. The published code
    adds the tuples' losses; here they are averaged, as in `bridge.losses`, so that both ways can
    be compared.
    """

    def __init__(self, model: Bridge, recipe: Recipe, device: str, channels_last: bool) -> None:
        """Train `model` in place, which has all heads, with losses within tuples."""
        self.model = model.to(device).train()
        if not channels_last:
            self.model.backbone = DefaultLayout(self.model.backbone)
        self._recipe = recipe
        self._optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)

    def train_step(self, batch: Batch) -> Values:
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

    def _losses(self, batch: Batch, rows: slice) -> Values:
        images = batch.images[rows].float() / 255
        outputs = [self.model(image[None]) for image in images]
        descriptors, blur, box = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        query = torch.zeros_like(batch.valid[rows])
        query[0] = True
        inputs = LossInputs(
            descriptors=descriptors,
            blur=blur,
            box=box,
            objects=batch.objects[rows],
            positions=batch.positions[rows],
            blur_values=batch.blur_values[rows],
            boxes=batch.boxes[rows],
            supervised=query,
            valid=batch.valid[rows],
            tuple_size=batch.tuple_size,
        )
        return joint_loss(inputs, self.model.classifier, self._recipe.loss, self._recipe.bliss)


def new_model(network: ModelConfig, classes: int = 0) -> Bridge:
    """The network with random weights and a classifier for at least so many objects."""
    torch.manual_seed(0)
    return Bridge(replace(network, num_classes=max(network.num_classes, classes)))


def measure_step(
    network: ModelConfig,
    data: TrainingData,
    *,
    tuples: int,
    device: str = "cpu",
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Images per second of one forward and backward for all tuples, and of the published loop.

    Losses, samples and optimiser are the paper's, which the published loop is defined for.

    Args:
        network: what is trained, from random weights.
        data: where the images are from.
        tuples: of a step.
        device: where to compute.
        compute: how the first way computes; the published loop is in float32.

    Returns:
        Of each way, the median images per second over `ROUNDS` rounds and the loss of its first
        step, from the same weights; the ratios.
    """
    model, recipe = new_model(network, len(data.labels.objects)), Recipe(batch_size=tuples)
    loop, loop_ours = (
        OneByOne(copy.deepcopy(model), recipe, device, channels_last)
        for channels_last in (False, True)
    )
    trainer = Trainer(model, recipe, data, None, device=device, compute=compute)
    batch = trainer.example_batch(tuples)
    ways: dict[str, Callable[[Batch], Values]] = {
        "batched": trainer.train_step,
        "one_by_one": loop.train_step,
        "one_by_one_channels_last": loop_ours.train_step,
    }
    losses: dict[str, float] = {}
    times: dict[str, list[float]] = {name: [] for name in ways}
    # The first step on a GPU chooses kernels, and may compile some.
    warm_ups = 0 if device == "cpu" else 1
    for _ in range(warm_ups + ROUNDS):
        for name, way in ways.items():
            values, seconds = timed(partial(way, batch), device)
            losses.setdefault(name, float(values["loss/total"]))
            times[name].append(seconds)
    rates = {n: len(batch.objects) / statistics.median(t[warm_ups:]) for n, t in times.items()}
    return {
        "image_size": network.image_size,
        "tuples": tuples,
        "images_per_second": rates,
        "loss": losses,
        "ratio": rates["batched"] / rates["one_by_one"],
        "ratio_same_layout": rates["batched"] / rates["one_by_one_channels_last"],
    }


def measure_gpu(
    network: ModelConfig,
    data: TrainingData,
    *,
    tuples: int = 32,
    device: str = "cuda",
    matrix: int = 8192,
    variants: dict[str, Compute] = GPU_VARIANTS,
) -> dict[str, Any]:
    """Steps of the paper's recipe with each way of computing, against a product of matrices.

    TFLOP/s are model arithmetic, three times the forward pass, whatever checkpointing adds.

    Args:
        network: what is trained, from random weights.
        data: where the images are from.
        tuples: of a step.
        device: a GPU; on a CPU there is no figure of memory.
        matrix: side of the square bf16 matrices whose product is the measure of the chip.
        variants: ways of computing, by name.

    Returns:
        FLOPs of a forward pass per image, the chip's rate, and figures of each variant; one for
        which the memory is too small has a `note` alone.
    """
    flops = forward_flops(new_model(network))
    left, right = (torch.randn(matrix, matrix, device=device).bfloat16() for _ in range(2))
    chip = 2 * matrix**3 / _median_seconds(partial(torch.mm, left, right), device, 20)
    rows: list[dict[str, Any]] = []
    for name, compute in variants.items():
        try:
            rate, memory = _rate_and_memory(network, data, tuples, device, compute)
        except torch.OutOfMemoryError:
            rows.append({"variant": name, "note": "out of memory"})
            continue
        arithmetic = 3 * flops * rate
        row = {"variant": name, "images_per_second": rate, "tflops": arithmetic / 1e12}
        rows.append(row | {"share_of_matmul": arithmetic / chip, "peak_memory_gb": memory})
    return {
        "gpu": torch.cuda.get_device_name() if device != "cpu" else "none",
        "tuples": tuples,
        "image_size": network.image_size,
        "forward_gflop_per_image": flops / 1e9,
        "matmul_tflops": chip / 1e12,
        "variants": rows,
    }


def _rate_and_memory(
    network: ModelConfig, data: TrainingData, tuples: int, device: str, compute: Compute
) -> tuple[float, float | None]:
    """Images per second, and the most memory of a GPU in GB."""
    gpu = device != "cpu"
    if gpu:
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = new_model(network, len(data.labels.objects))
    trainer = Trainer(model, Recipe(batch_size=tuples), data, None, device=device, compute=compute)
    batch = trainer.example_batch(tuples)
    seconds = _median_seconds(partial(trainer.train_step, batch), device, 10)
    return len(batch.objects) / seconds, torch.cuda.max_memory_allocated() / 1e9 if gpu else None


def _median_seconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """After three calls that do not count."""
    return statistics.median([timed(work, device)[1] for _ in range(3 + repeats)][3:])


def timed(work: Callable[[], Result], device: str) -> tuple[Result, float]:
    """What a function returns, and the seconds until the device has done its work."""
    wait = torch.cuda.synchronize if device != "cpu" else bool
    wait()
    start = time.perf_counter()
    values = work()
    wait()
    return values, time.perf_counter() - start


@torch.no_grad()
def forward_flops(model: Bridge) -> int:
    """Of one image at the network's size; an addition and a multiplication count as two."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *model.config.image_size))
    return counter.get_total_flops()
