"""DOLG: its size, what orthogonal means, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from bridge.common.errors import InputError
from bridge.model.baselines.dolg import Dolg, dilation_of, orthogonal
from bridge.model.checkpoint import load, save_model
from tests.bridge.model.baselines.small import (
    multiplications,
    numbers,
    outlined,
    shuffled,
    small,
    steps_to_learn,
)

MULTI_ATROUS = 17_829_376
"""Numbers of it behind a ResNet-50."""


@pytest.mark.parametrize(
    ("backbone", "expected", "billions", "without"),
    [
        ("resnet50", 44_750_529, 11.837, 6.646),
        ("resnet18", 12_555_073, 3.162, 2.838),
        ("tf_efficientnet_lite0", 3_769_913, 0.667, 0.604),
    ],
)
def test_its_size(backbone: str, expected: int, billions: float, without: float) -> None:
    model = outlined("dolg", backbone=backbone)
    assert numbers(model) == expected
    # The projection is of the mean over the map here, not of each of its places.
    assert multiplications(model) == pytest.approx(billions, abs=0.0016)
    released = outlined("dolg", backbone=backbone, multi_atrous=False)
    assert multiplications(released) == pytest.approx(without, abs=0.0016)


def test_its_size_with_other_options() -> None:
    released = numbers(outlined("dolg", multi_atrous=False))
    assert released == 26_921_153
    assert numbers(outlined("dolg")) - released == MULTI_ATROUS
    assert numbers(outlined("dolg", descriptor_dim=512)) == 45_537_345
    assert numbers(outlined("dolg", norm="none", stem_pool=False)) == 44_697_409
    assert numbers(outlined("dolg", gem_learned=True)) == 44_750_530


def dolg(**options: object) -> Dolg:
    model = small("dolg", **options)
    assert isinstance(model, Dolg)
    return model


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0", "test_resnet"])
def test_both_maps(backbone: str, inner: bool) -> None:
    """The inner map has twice the resolution, and its stage stands before the last."""
    model = dolg(backbone=backbone).eval()
    local, last = model.backbone(torch.rand(2, 3, 60, 80))
    assert model.backbone.inner is not None
    assert local.shape == (2, model.backbone.inner.channels, 4, 5)
    assert last.shape == (2, model.backbone.num_features, 2, 3)
    assert model.backbone.inner.stride == 16
    whole, beyond = model.halves(local, last)
    assert whole.shape == beyond.shape == (2, model.backbone.inner.channels)


def test_the_encoder_of_bridge_gives_maps_of_twice_the_resolution() -> None:
    model = dolg(backbone="resnet18", stem_pool=False, norm="folded", image_size=(64, 64))
    local, last = model.backbone(torch.rand(1, 3, 64, 64))
    assert local.shape == (1, 256, 8, 8) and last.shape == (1, 512, 4, 4)


def test_both_maps_are_the_same_when_they_are_computed_again() -> None:
    model = dolg(backbone="resnet18", norm="frozen")
    images = torch.rand(2, 3, 48, 64)
    plain = model(images).descriptor
    gradient = torch.autograd.grad(plain.sum(), model.backbone.net.conv1.weight)[0]
    model.backbone.gradient_checkpointing = True
    again = model(images).descriptor
    torch.testing.assert_close(again, plain)
    other = torch.autograd.grad(again.sum(), model.backbone.net.conv1.weight)[0]
    torch.testing.assert_close(other, gradient, rtol=1e-3, atol=1e-5)


def test_half_width_floats_keep_the_head_precise() -> None:
    model = dolg().eval()
    images = torch.rand(2, 3, 48, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = model(images).descriptor
    assert narrow.dtype == torch.float32
    assert F.cosine_similarity(narrow, model(images).descriptor).min() > 0.98


def test_a_backbone_without_such_a_map_is_refused() -> None:
    with pytest.raises(InputError, match="pixels has no map of twice the resolution"):
        small("dolg", backbone="pixels")


def test_what_is_left_is_orthogonal_to_the_direction() -> None:
    local, whole = 0.4 * torch.randn(3, 64, 12), 2 * torch.randn(3, 64)
    left = orthogonal(local, whole)
    products = torch.einsum("bdn,bd->bn", left, whole).abs()
    lengths = whole.norm(dim=1)[:, None] * local.norm(dim=1)
    assert (products / lengths).max() <= 1e-6
    torch.testing.assert_close(orthogonal(local, 7 * whole), left, rtol=1e-5, atol=1e-6)
    # Of the mean as of each place.
    mean = orthogonal(local.mean(dim=2, keepdim=True), whole)
    torch.testing.assert_close(left.mean(dim=2, keepdim=True), mean, rtol=1e-5, atol=1e-6)


def test_nothing_is_left_of_the_direction_and_all_without_one() -> None:
    whole = torch.randn(2, 8)
    left = orthogonal(whole[..., None].expand(-1, -1, 3), whole)
    assert left.abs().max() < 1e-5
    local = torch.randn(2, 8, 3)
    assert torch.equal(orthogonal(local, torch.zeros(2, 8)), local)


def test_the_halves_of_the_network_are_orthogonal() -> None:
    model = dolg().eval()
    with torch.no_grad():
        whole, beyond = model.halves(torch.randn(4, 192, 3, 4), torch.rand(4, 96, 2, 2))
    assert F.cosine_similarity(whole, beyond).abs().max() <= 1e-5


def test_the_length_at_a_place_is_its_score() -> None:
    model = dolg().eval()
    features = torch.randn(2, 192, 3, 4)
    with torch.no_grad():
        scores = F.softplus(
            model.attend.score(model.attend.norm(model.attend.transform(features)).relu())
        )
        lengths = model.attend(features).norm(dim=1, keepdim=True)
    torch.testing.assert_close(lengths, scores)


def test_without_dilated_convolutions_places_have_no_order() -> None:
    local, last = torch.randn(2, 192, 3, 4), torch.rand(2, 96, 2, 2)
    moved = shuffled(local.flatten(2), 2).view_as(local), shuffled(last.flatten(2), 2).view_as(last)
    for multi_atrous in (False, True):
        model = dolg(multi_atrous=multi_atrous).eval()
        with torch.no_grad():
            first = model.describe_features((local, last)).descriptor
            second = model.describe_features(moved).descriptor
        assert torch.allclose(first, second, atol=1e-5) != multi_atrous


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [
        ((60, 80), 16, 1),
        ((120, 160), 16, 1),
        ((240, 320), 16, 3),
        ((240, 320), 8, 6),
        ((512, 512), 16, 6),
        ((512, 512), 8, 6),
    ],
)
def test_dilations_follow_the_map(size: tuple[int, int], stride: int, expected: int) -> None:
    assert dilation_of(size, stride) == expected


def test_dilations_that_are_given() -> None:
    model = dolg(dilation=6)
    assert [far.dilation[0] for far in model.context.far] == [6, 12, 18]  # type: ignore[union-attr]
    small_map = dolg()
    assert [far.dilation[0] for far in small_map.context.far] == [1, 2, 3]  # type: ignore[union-attr]


def test_it_trains_on_a_single_image() -> None:
    model = dolg().train()
    model(torch.rand(1, 3, 48, 64)).descriptor.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_folder_gives_the_same_descriptors(tmp_path: Path) -> None:
    model = dolg(num_classes=3, local_dim=24)
    save_model(model, tmp_path)
    images = torch.rand(2, 3, 48, 64)
    assert torch.equal(load(tmp_path).embed(images), model.embed(images))


def test_it_learns() -> None:
    steps_to_learn(small("dolg", num_classes=8))
