"""Tests of benchmarks/steps.py and of the noise that it is fed with."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from benchmarks.noise import IMAGES_EACH, OBJECTS, noise_data, pictures, tensor
from benchmarks.steps import channels_first, forward_flops, median_seconds, new_model
from bridge.model.config import BridgeConfig

TINY = BridgeConfig(
    backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8, aux_hidden=8, num_classes=0
)


def test_flops_grow_with_the_picture() -> None:
    one = forward_flops(new_model(TINY))
    assert forward_flops(new_model(replace(TINY, image_size=(48, 64)))) > 3.5 * one


def test_channels_first_computes_the_same() -> None:
    model = new_model(TINY)
    other = channels_first(copy.deepcopy(model))
    images = tensor(pictures(2, (24, 32)))
    assert other.backbone.net[0].weight.is_contiguous()
    assert not model.backbone.net[0].weight.is_contiguous()
    torch.testing.assert_close(other.embed(images), model.embed(images))


def test_warming_up_is_not_timed() -> None:
    calls: list[str] = []
    ways = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    found = median_seconds(ways, "cpu", warm_ups=1, rounds=2)
    assert set(found) == {"a", "b"} and calls == ["a", "b"] * 3


def test_noise_is_a_selection_to_train_on() -> None:
    data = noise_data((24, 32), seed=1)
    assert len(data.labels) == OBJECTS * IMAGES_EACH
    batch = data.batch(np.array([[0, 5], [7, -1]], np.int32), (24, 32))
    assert batch.valid.tolist() == [True, True, True, False]
    assert batch.images.float().std() > 10
    again = noise_data((24, 32), seed=1)
    assert [data.images[i] for i in (0, 9)] == [again.images[i] for i in (0, 9)]
    assert data.images[0] != noise_data((24, 32), seed=2).images[0]
