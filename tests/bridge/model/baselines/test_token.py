"""Token: its size, how places are shared out among tokens, and that it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bridge.common.errors import InputError
from bridge.model.baselines.token import Attention, Token
from tests.bridge.model.baselines.small import (
    multiplications,
    numbers,
    outlined,
    shuffled,
    small,
    steps_to_learn,
)

WIDTH = 32
HEAD = {256: 2_437_248, 512: 8_806_272}
"""Numbers of it behind EfficientNet-Lite0, by its width."""


@pytest.mark.parametrize(
    ("backbone", "expected", "billions"),
    [
        ("resnet50", 57_635_264, 7.354),
        ("resnet18", 43_730_880, 3.718),
        ("tf_efficientnet_lite0", 36_711_808, 1.564),
    ],
)
def test_its_size(backbone: str, expected: int, billions: float) -> None:
    model = outlined("token", backbone=backbone)
    assert numbers(model) == expected
    assert multiplications(model) == pytest.approx(billions, abs=0.0011)


def test_its_size_with_other_options() -> None:
    assert numbers(outlined("token", descriptor_dim=1024)) == 61_307_968
    assert numbers(outlined("token", norm="none", stem_pool=False)) == 57_582_144
    for width, expected in HEAD.items():
        model = outlined("token", backbone="tf_efficientnet_lite0", width=width)
        assert numbers(model) - numbers(model.backbone) == expected


def token(**options: Any) -> Token:
    model = small("token", **({"width": WIDTH} | options))
    assert isinstance(model, Token)
    return model


def test_shapes() -> None:
    model = token().eval()
    places = model.places(torch.rand(2, 96, 2, 3))
    assert places.shape == (2, 6, WIDTH)
    assert model.tokenise.shares(places).shape == (2, 4, 6)
    assert model.tokenise(places).shape == (2, 4, WIDTH)
    assert model.describe_features(torch.rand(2, 96, 2, 3)).descriptor.shape == (2, 16)


@pytest.mark.parametrize("tokeniser", ["query", "scaled", "conv"])
def test_each_place_is_shared_out(tokeniser: str) -> None:
    model = token(tokeniser=tokeniser)
    places = torch.randn(2, 12, WIDTH)
    shares = model.tokenise.shares(places)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 12))
    gathered = model.tokenise.gather(places)
    if tokeniser == "conv":
        weights = shares / shares.sum(dim=2, keepdim=True)
        torch.testing.assert_close(gathered, weights @ places)
        twice = model.tokenise.gather(torch.cat([places, places], dim=1))
        torch.testing.assert_close(twice, gathered)
    else:
        torch.testing.assert_close(gathered.sum(dim=1), places.sum(dim=1), rtol=1e-5, atol=1e-5)
        twice = model.tokenise.gather(torch.cat([places, places], dim=1))
        torch.testing.assert_close(twice, 2 * gathered, rtol=1e-5, atol=1e-5)


def test_shares_are_less_decided_where_logits_are_scaled() -> None:
    places = torch.randn(2, 12, 256)
    sharp, soft = (
        token(width=256, tokeniser=tokeniser).tokenise.shares(places).amax(dim=1).mean()
        for tokeniser in ("query", "scaled")
    )
    assert sharp > 0.9 and soft < 0.7


def test_attention_begins_as_nothing_and_then_learns() -> None:
    """Zeros behind it: at first only they have a gradient, after a step all that is before them."""
    model = token(num_classes=2)
    assert model.classifier is not None
    images, objects = torch.rand(6, 3, 48, 64), torch.arange(6) % 2
    blocks = [module for module in model.modules() if isinstance(module, Attention)]
    assert len(blocks) == 1 + 2 * 2
    asking = torch.randn(2, 3, WIDTH)
    assert not blocks[0](asking, asking).any()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model.classifier(model(images).descriptor, objects), objects).backward()
        for block in blocks:
            # What is asked for matters only where something differs between the places.
            for linear in (block.query, block.key, block.value):
                assert linear.weight.grad is not None
                assert linear.weight.grad.any() == (step == 1)
            assert block.out.weight.grad is not None and block.out.weight.grad.any()
        optimizer.step()


def test_places_have_no_order() -> None:
    model = token().eval()
    features = torch.rand(2, 96, 3, 4)
    moved = shuffled(features.flatten(2), 2).view_as(features)
    with torch.no_grad():
        first = model.describe_features(features).descriptor
        second = model.describe_features(moved).descriptor
    torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-5)


def test_one_image_cannot_be_trained_on() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        token().train()(torch.rand(1, 3, 48, 64))


def test_only_training_is_random() -> None:
    # Branches that begin as zeros can be dropped unseen, but not the hidden units of the MLP.
    model, images = token(), torch.rand(4, 3, 48, 64)
    model.train()
    assert not torch.equal(model(images).descriptor, model(images).descriptor)
    assert torch.equal(model.embed(images), model.embed(images))
    model = token(dropout=0.0).train()
    assert torch.equal(model(images).descriptor, model(images).descriptor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 30}, "The `width` 30 does not divide into 8 `attention_heads`."),
        ({"dropout": 1.0}, "`dropout` must be less than 1"),
        ({"tokens": 0}, "`tokens` must be at least 1"),
    ],
)
def test_impossible_configurations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        token(**options)
    assert message in str(error.value)


@pytest.mark.parametrize("tokeniser", ["query", "conv"])
def test_it_learns(tokeniser: str) -> None:
    steps_to_learn(small("token", num_classes=8, width=64, dropout=0.0, tokeniser=tokeniser))
