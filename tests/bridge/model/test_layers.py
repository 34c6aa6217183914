"""The layers with gradients of their own compute torch's outputs and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bridge.model import layers
from bridge.model.efficientnet import efficientnet_lite0
from bridge.model.folding import fold_norms
from bridge.model.layers import ReLU6, SameConv2d


def gradients(layer: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Its output, and the gradients of the images and the parameters."""
    taken = images.clone(memory_format=torch.preserve_format).requires_grad_()
    # Layers that work in place have to leave the images alone.
    output = layer(taken * 1)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    wanted = [taken, *layer.parameters()]
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), wanted)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("sides", "size", "stride"),
    [
        ((2, 3), 3, 1),
        ((2, 3), 5, 1),
        ((4, 5), 5, 2),
        ((8, 10), 5, 1),
        ((7, 3), 5, 2),
        ((1, 1), 5, 1),
    ],
)
def test_depthwise_gradients_are_torchs(
    monkeypatch: pytest.MonkeyPatch, sides: tuple[int, int], size: int, stride: int, bias: bool
) -> None:
    layer = SameConv2d(16, 16, size, stride, groups=16, bias=bias)
    images = torch.randn(3, 16, *sides).contiguous(memory_format=torch.channels_last)
    assert layers._is_slow(images, size, stride)
    mine = gradients(layer, images)
    monkeypatch.setattr(layers, "MOST_PRODUCTS", 0)
    assert torch.equal(mine[0], layer(images))
    exact = gradients(layer.double(), images.double())
    for value, expected in zip(mine, exact, strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("sides", "size"), [((60, 80), 3), ((15, 20), 3), ((60, 80), 5)])
def test_large_maps_and_quick_kernels_stay_with_torch(sides: tuple[int, int], size: int) -> None:
    assert not layers._is_slow(torch.empty(1, 8, *sides), size, 1)


def test_only_float32_on_a_cpu_that_is_trained_goes_another_way() -> None:
    images = torch.empty(1, 8, 2, 3)
    assert layers._is_slow(images, 5, 1)
    with torch.no_grad():
        assert not layers._is_slow(images, 5, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert not layers._is_slow(images, 5, 1)
    assert not layers._is_slow(images.to("meta"), 5, 1)


def test_relu6_has_torchs_values_and_slopes_also_at_its_bounds() -> None:
    values = torch.tensor([-1.0, 0.0, 1e-9, 3.0, 6.0, 7.0, float("nan")])
    ours, theirs = (gradients(layer, values) for layer in (ReLU6(), nn.ReLU6()))
    for value, expected in zip(ours, theirs, strict=True):
        assert torch.equal(value[:-1], expected[:-1])
    # What is not a number stays visible.
    assert ours[0][-1].isnan()
    assert torch.equal(ReLU6()(values.clone())[:-1], F.relu6(values)[:-1])


def test_a_whole_network_has_the_gradients_that_torch_gives_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = efficientnet_lite0().eval()
    fold_norms(net, torch.rand(1, 3, 60, 80))
    net.double()
    images = torch.rand(2, 3, 60, 80, dtype=torch.float64)
    mine = gradients(net, images)
    monkeypatch.setattr(layers, "MOST_PRODUCTS", 0)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ReLU6):
                setattr(module, name, nn.ReLU6())
    for value, expected in zip(mine, gradients(net, images), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
