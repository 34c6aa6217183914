"""Our ResNets are torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from bridge.model.resnet import BLOCKS, resnet


@pytest.mark.parametrize("name", BLOCKS)
def test_a_seed_gives_torchvisions_network(name: str) -> None:
    torch.manual_seed(3)
    theirs = models.get_model(name, weights=None)
    after = torch.rand(1)
    torch.manual_seed(3)
    ours, channels = resnet(name)
    # What is drawn next, such as the heads, is the same too.
    assert torch.equal(torch.rand(1), after)
    assert channels == theirs.fc.in_features
    expected = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert list(ours.state_dict()) == list(expected)
    assert all(torch.equal(v, expected[k]) for k, v in ours.state_dict().items())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("training", [False, True])
def test_it_computes_the_same(name: str, training: bool) -> None:
    torch.manual_seed(3)
    theirs = models.get_model(name, weights=None).train(training)
    torch.manual_seed(3)
    ours, _ = resnet(name)
    images = torch.rand(2, 3, 65, 48)
    features = ours.train(training)(images)
    theirs.avgpool = theirs.fc = torch.nn.Identity()
    assert torch.equal(features.flatten(1), theirs(images))
