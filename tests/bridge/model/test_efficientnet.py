"""Our EfficientNet-Lite0 is timm's."""

from __future__ import annotations

import pytest
import timm
import torch

from bridge.model.backbones import PACKAGED
from bridge.model.efficientnet import NUM_FEATURES, efficientnet_lite0


def test_a_seed_gives_timms_network() -> None:
    torch.manual_seed(3)
    theirs = timm.create_model(PACKAGED, num_classes=0)
    after = torch.rand(1)
    torch.manual_seed(3)
    ours = efficientnet_lite0()
    # What is drawn next, such as the heads, is the same too.
    assert torch.equal(torch.rand(1), after)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())
    assert theirs.num_features == NUM_FEATURES


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(60, 80), (64, 64), (49, 51)])
def test_it_computes_the_same(training: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(3)
    theirs = timm.create_model(PACKAGED, num_classes=0).train(training)
    torch.manual_seed(3)
    ours = efficientnet_lite0().train(training)
    images = torch.rand(2, 3, *size)
    assert torch.equal(ours(images), theirs.forward_features(images))
