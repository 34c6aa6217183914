"""Small baselines, and what is asked of each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bridge.model.method import RetrievalModel
from bridge.model.registry import create_model
from tests.factories import picture

SMALL: dict[str, Any] = {"backbone": "test_resnet", "image_size": (48, 64), "descriptor_dim": 16}
"""Maps: 96 channels at 2x2 places, and 192 at 3x4."""
CLASSES, IMAGES = 8, 4
MOST_STEPS = 300


def outlined(method: str, **options: Any) -> RetrievalModel:
    """A network whose tensors have shapes and no numbers, so that it takes no time."""
    with torch.device("meta"):
        return create_model(method, **options)


def numbers(module: nn.Module) -> int:
    """In all parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiplications(model: RetrievalModel) -> float:
    """Of one image, in 10^9 of them with their additions; the network is of no use afterwards."""
    model.to_empty(device="cpu").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *model.config.image_size))
    return counter.get_total_flops() / 2e9


def steps_to_learn(model: RetrievalModel, rate: float = 1e-3) -> int:
    """Steps until plain cosines tell 32 images of 8 objects apart; AssertionError at the most."""
    pixels, objects = pictures(model.config.image_size)
    assert model.classifier is not None
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(MOST_STEPS):
        if step % 10 == 0 and torch.equal(_nearest(model, pixels), objects):
            return step
        model.train()
        loss = F.cross_entropy(model.classifier(model(pixels).descriptor, objects), objects)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"{model.config.method} has not learnt 32 images by heart")


def pictures(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """32 images float32 [32, 3, H, W] in 0..1, and their objects."""
    rng = np.random.default_rng(0)
    drawn = [picture(n, 1 + i, size, rng) for n in range(CLASSES) for i in range(IMAGES)]
    pixels = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 255
    return pixels, torch.arange(CLASSES).repeat_interleave(IMAGES)


def _nearest(model: RetrievalModel, pixels: torch.Tensor) -> torch.Tensor:
    """The object whose direction is nearest to each image, without margins."""
    assert model.classifier is not None
    return (model.embed(pixels) @ F.normalize(model.classifier.weight).T).argmax(dim=1)


def shuffled(places: torch.Tensor, dim: int) -> torch.Tensor:
    """The same places of a map or sequence in another order."""
    order = torch.randperm(places.shape[dim], generator=torch.Generator().manual_seed(1))
    return places.index_select(dim, order)


def small(method: str, **options: Any) -> RetrievalModel:
    """A small network of a method."""
    return create_model(method, **(SMALL | options))
