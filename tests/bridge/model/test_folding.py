"""Folding BatchNorm into convolutions: the function stays, the normalisation goes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bridge.common.errors import InputError
from bridge.model.backbones import build_backbone
from bridge.model.folding import calibrate, fold_norms, photo_noise


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_a_folded_network_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, norm="batch")
    # Statistics, scales and shifts as training leaves them.
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    calibrate(backbone)
    backbone.eval()
    images = photo_noise(2, 64, seed=1)
    with torch.no_grad():
        expected = backbone(images)
        fold_norms(backbone, images[:1])
        folded = backbone(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
    torch.testing.assert_close(folded, expected, rtol=1e-3, atol=1e-4)


def test_pretrained_features_stay_intact() -> None:
    images = photo_noise(2, 64, seed=1)
    frozen = build_backbone("tf_efficientnet_lite0", norm="frozen", weights="imagenet").eval()
    folded = build_backbone("tf_efficientnet_lite0", norm="folded", weights="imagenet").eval()
    dropped = build_backbone("tf_efficientnet_lite0", norm="none", weights="imagenet").eval()
    with torch.no_grad():
        torch.testing.assert_close(folded(images), frozen(images), rtol=1e-3, atol=1e-3)
        assert (dropped(images) - frozen(images)).abs().max() > 0.1


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_random_weights_keep_signals_at_their_size(name: str) -> None:
    torch.manual_seed(0)
    images = photo_noise(2, 64, seed=1)
    with torch.no_grad():
        folded = build_backbone(name, norm="folded").eval()(images).std()
        dropped = build_backbone(name, norm="none").eval()(images).std()
    assert 0.3 < folded < 4
    assert dropped > 3 * folded


def test_a_network_without_normalisation_trains_from_random_weights() -> None:
    """Sixteen pictures of noise are told apart after a few steps."""
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", norm="folded")
    classify = nn.Linear(backbone.num_features, 16)
    parameters = [*backbone.parameters(), *classify.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-4)
    images, labels = photo_noise(16, 32, seed=2), torch.arange(16)
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(classify(backbone(images).mean(dim=(2, 3))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_a_norm_that_follows_no_convolution_cannot_be_folded() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    with pytest.raises(InputError, match="cannot be folded"):
        fold_norms(net, torch.zeros(1, 3, 8, 8))


def test_noise_is_reproducible_and_in_the_range_of_photos() -> None:
    noise = photo_noise(4, 64)
    assert torch.equal(noise, photo_noise(4, 64)) and not torch.equal(noise, photo_noise(4, 64, 1))
    assert noise.mean().item() == pytest.approx(0.45, abs=0.05)
    assert noise.std().item() == pytest.approx(0.25, abs=0.05)
