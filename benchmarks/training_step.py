"""Optimisation steps of training against the published training loop, on the same images."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from bridge.model.config import ModelConfig
from bridge.model.network import Bridge
from bridge.training.data import Batch, TrainingData
from bridge.training.losses import LossInputs, joint_loss
from bridge.training.recipe import Compute, Recipe
from bridge.training.trainer import Trainer

ROUNDS = 3
"""Of all ways in turn, so that whatever else the machine does falls on all of them."""

MOST_PIXELS_ON_CPU = 28 * 240 * 320
"""Of a step whose size is not given: about 15 GB of activations with the paper's network."""


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
        images = batch.images[rows].float() / 255
        outputs = [self.model(image[None]) for image in images]
        descriptors, blur, box = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        query = torch.zeros_like(batch.valid[rows])
        query[0] = True
        inputs = LossInputs(
            descriptors=descriptors,
            visibility=blur,
            box=box,
            objects=batch.objects[rows],
            positions=batch.positions[rows],
            true_visibility=batch.visibility[rows],
            true_box=batch.boxes[rows],
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
    device: str = "cpu",
    compute: Compute | None = None,
    tuples: int = 0,
    seconds: float = 60.0,
) -> dict[str, Any]:
    """Images per second of one forward and backward for all tuples, and of the published loop.

    Losses, samples and optimiser are the paper's, which the published loop is defined for.

    Args:
        network: what is trained, from random weights.
        data: where the images are from.
        device: where to compute.
        compute: how the first way computes; the published loop is in float32.
        tuples: of a step; 0: the paper's 32 on GPUs, on CPUs what `seconds` are enough for.
        seconds: to spend, roughly.

    Returns:
        Of each way, the median images per second over `ROUNDS` rounds and the loss of its first
        step, from the same weights; the ratios.
    """
    model = new_model(network, len(data.labels.objects))
    if not tuples:
        most = min(Recipe().batch_size, len(data.labels))
        tuples = _affordable(model, data, most, seconds) if device == "cpu" else most
    recipe = Recipe(batch_size=tuples)
    batch_1, batch_1_ours = (
        OneByOne(copy.deepcopy(model), recipe, device, channels_last)
        for channels_last in (False, True)
    )
    trainer = Trainer(model, recipe, data, None, device=device, compute=compute)
    ways: dict[str, Callable[[Batch], dict[str, torch.Tensor]]] = {
        "batched": trainer.train_step,
        "one_by_one": batch_1.train_step,
        "one_by_one_channels_last": batch_1_ours.train_step,
    }
    return {
        "image_size": network.image_size,
        "tuples": tuples,
        "device": device,
        **_rounds(ways, trainer.example_batch(tuples), device),
    }


def _affordable(model: Bridge, data: TrainingData, most: int, seconds: float) -> int:
    """Tuples, at least 1, of which all rounds take about so many seconds on a CPU."""
    way = OneByOne(copy.deepcopy(model), Recipe(), "cpu", channels_last=False)
    probe = Trainer(model, Recipe(), data, None).example_batch(1)
    # The published loop is the slowest of three ways; together they take twice as long.
    expected = 2 * ROUNDS * timed(lambda: way.train_step(probe), "cpu")[1]
    fitting = MOST_PIXELS_ON_CPU // (probe.images.numel() // 3)
    return max(1, min(int(seconds / expected), fitting, most))


def _rounds(
    ways: dict[str, Callable[[Batch], dict[str, torch.Tensor]]], batch: Batch, device: str
) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, float] = {}
    # The first step on a GPU chooses kernels, and may compile some.
    warm_ups = 0 if device == "cpu" else 1
    for number in range(warm_ups + ROUNDS):
        for name, way in ways.items():
            values, seconds = timed(lambda way=way: way(batch), device)  # type: ignore[misc]
            losses.setdefault(name, float(values["loss/total"]))
            if number >= warm_ups:
                times[name].append(seconds)
    rates = {name: len(batch.objects) / statistics.median(t) for name, t in times.items()}
    return {
        "images_per_second": rates,
        "loss": losses,
        "ratio": rates["batched"] / rates["one_by_one"],
        "ratio_same_layout": rates["batched"] / rates["one_by_one_channels_last"],
    }


def timed(
    step: Callable[[], dict[str, torch.Tensor]], device: str
) -> tuple[dict[str, torch.Tensor], float]:
    """What a step returns, and its seconds until the device has done it."""
    synchronise(device)
    start = time.perf_counter()
    values = step()
    synchronise(device)
    return values, time.perf_counter() - start


def synchronise(device: str) -> None:
    """Wait for a GPU."""
    if device != "cpu":
        torch.cuda.synchronize()
