"""The running average of the weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bridge.model.config import QUICK
from bridge.model.network import Bridge
from bridge.training.step import AveragedWeights


@pytest.fixture
def model() -> Bridge:
    torch.manual_seed(0)
    small = replace(QUICK, backbone="test_resnet", cls_dim=8, aux_dim=4, num_classes=3)
    return Bridge(small)


def test_the_average_follows_the_weights(model: Bridge) -> None:
    """Decays 1/10, 2/11, 3/12, ... until the one asked for."""
    average = AveragedWeights(model, decay=0.2)
    expected = model.fuse.weight.detach().clone()
    for step, decay in enumerate([1 / 10, 2 / 11, 0.2, 0.2]):
        with torch.no_grad():
            model.fuse.weight.add_(1.0)
        average.update(model, step)
        expected = decay * expected + (1 - decay) * model.fuse.weight.detach()
        torch.testing.assert_close(average.model.fuse.weight, expected)
    assert not average.model.fuse.weight.requires_grad


def test_buffers_are_the_latest(model: Bridge) -> None:
    average = AveragedWeights(model, decay=0.9)
    assert model.classifier is not None and average.model.classifier is not None
    model.classifier.t.fill_(0.5)
    average.update(model, 0)
    assert average.model.classifier.t.item() == 0.5
