"""DELG-global: its size, what its pooling promises, and that it learns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bridge.model.baselines.delg import Delg
from tests.bridge.model.baselines.small import (
    multiplications,
    numbers,
    outlined,
    small,
    steps_to_learn,
)


@pytest.mark.parametrize(
    ("backbone", "expected", "billions"),
    [
        ("resnet50", 23_770_304, 6.328),
        ("resnet18", 11_242_176, 2.818),
        ("tf_efficientnet_lite0", 3_534_976, 0.601),
    ],
)
def test_its_size(backbone: str, expected: int, billions: float) -> None:
    model = outlined("delg", backbone=backbone)
    assert numbers(model) == expected
    assert multiplications(model) == pytest.approx(billions, abs=0.0011)


def test_its_size_at_the_papers_descriptor_and_on_the_encoder_of_bridge() -> None:
    assert numbers(outlined("delg", descriptor_dim=2048)) == 27_704_384
    assert numbers(outlined("delg", norm="none", stem_pool=False)) == 23_717_184
    assert numbers(outlined("delg", gem_learned=True)) == 23_770_305


def test_the_scale_of_the_map_does_not_matter_without_a_bias() -> None:
    model = small("delg")
    assert isinstance(model, Delg) and not model.whiten.bias.any()
    features = torch.rand(2, 96, 2, 2) + 0.1
    pooled = model.pool(features)
    assert pooled.shape == (2, 96)
    torch.testing.assert_close(model.pool(7 * features), 7 * pooled)
    descriptor = model.describe_features(features).descriptor
    torch.testing.assert_close(model.describe_features(7 * features).descriptor, descriptor)
    torch.testing.assert_close(descriptor.norm(dim=1), torch.ones(2))


def test_the_norm_of_the_descriptor_changes_nothing_for_the_classifier() -> None:
    """The public code gives ArcFace descriptors of any length: gradients are the same."""
    model = small("delg", num_classes=3).eval()
    assert isinstance(model, Delg) and model.classifier is not None
    features, objects = torch.rand(3, 96, 2, 2), torch.arange(3)
    found = []
    for descriptors in (
        model.whiten(model.pool(features)),
        model.describe_features(features).descriptor,
    ):
        loss = F.cross_entropy(model.classifier(descriptors, objects), objects)
        found.append(torch.autograd.grad(loss, model.whiten.weight)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("learned", [False, True])
def test_it_learns(learned: bool) -> None:
    model = small("delg", num_classes=8, gem_learned=learned)
    steps_to_learn(model)
    assert isinstance(model, Delg) and (model.pool.power != 3) == learned
