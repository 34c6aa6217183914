"""What benchmarks of training and embedding share: networks, the published loop, times on a device.

Nothing here needs a dataset, Arrow or Ray, so that it runs where there is little more than torch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from bridge.model.config import ModelConfig
from bridge.model.method import RetrievalModel
from bridge.model.registry import build_model
from bridge.training.data import Batch
from bridge.training.losses import LossInputs, joint_loss
from bridge.training.recipe import Recipe

ROUNDS = 3
"""Of all ways in turn, so that whatever else the machine does falls on all of them."""


class OneByOne:
    """The published training loop, in float32 and torch's own memory layout (channels first).

    Every image goes through the network by itself. The losses of a tuple are differentiated when
    its images are through, gradients add up, and Adam steps once per batch. The published code
    adds the tuples' losses; here they are averaged, as in `bridge.training.losses`, so that both
    ways can be compared.
    """

    def __init__(self, model: RetrievalModel, recipe: Recipe, device: str) -> None:
        """Train `model` in place, which has all heads, with losses within tuples."""
        self.model = channels_first(model.to(device)).train()
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


def channels_first(model: RetrievalModel) -> RetrievalModel:
    """The same network, from now on in torch's own memory layout."""
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model.backbone.register_forward_pre_hook(
        lambda _, images: tuple(each.contiguous() for each in images)
    )
    return model


@torch.no_grad()
def forward_flops(model: RetrievalModel) -> int:
    """Of one image at the network's size; an addition and a multiplication count as two."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *model.config.image_size))
    return counter.get_total_flops()
