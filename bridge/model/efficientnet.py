"""EfficientNet-Lite0 as timm has it, tensor for tensor: importing timm takes longer than torch.

Names, shapes and initial values are those of timm's `tf_efficientnet_lite0`, so that weights fit
either and a seed gives the same network.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn

from bridge.model.layers import ReLU6, SameConv2d

NUM_FEATURES = 1280
INNER_FEATURES, INNER_STAGE = 112, "blocks.4"
"""Channels of the last map of twice that resolution, and what ends in it."""
_STEM = 32
_STAGES = (
    # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPSILON = 1e-3


class Norm(nn.BatchNorm2d):
    """BatchNorm that holds the activation behind it, so that whoever removes it can keep that."""

    def __init__(self, channels: int, act: bool = True) -> None:
        super().__init__(channels, eps=_EPSILON)
        self.act = ReLU6() if act else nn.Identity()

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """float [B, C, h, w] to the same shape."""
        return self.act(super().forward(input))


class Separable(nn.Module):
    """A depthwise convolution and a pointwise one."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _convolution(inputs, inputs, size, stride, groups=inputs)
        self.bn1 = Norm(inputs)
        self.conv_pw = _convolution(inputs, outputs, 1)
        self.bn2 = Norm(outputs, act=False)
        self._has_skip = stride == 1 and inputs == outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float [B, C, h, w] to [B, C', h', w']."""
        out = self.bn1(self.conv_dw(features))
        out = self.bn2(self.conv_pw(out))
        return out + features if self._has_skip else out


class Inverted(nn.Module):
    """A pointwise convolution to more channels, a depthwise one, and a pointwise one to fewer."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.conv_pw = _convolution(inputs, middle, 1)
        self.bn1 = Norm(middle)
        self.conv_dw = _convolution(middle, middle, size, stride, groups=middle)
        self.bn2 = Norm(middle)
        self.conv_pwl = _convolution(middle, outputs, 1)
        self.bn3 = Norm(outputs, act=False)
        self._has_skip = stride == 1 and inputs == outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float [B, C, h, w] to [B, C', h', w']."""
        out = self.bn1(self.conv_pw(features))
        out = self.bn2(self.conv_dw(out))
        out = self.bn3(self.conv_pwl(out))
        return out + features if self._has_skip else out


def efficientnet_lite0() -> nn.Sequential:
    """The network up to its map of `NUM_FEATURES` channels, a 32nd of the image's size."""
    stem, norm = _convolution(3, _STEM, 3, stride=2), Norm(_STEM)
    # timm tries a layer out that this network has not, which draws random numbers all the same.
    for _ in range(2):
        nn.Conv2d(8, 8, 1)
    stages, inputs = [], _STEM
    for repeats, size, stride, expansion, outputs in _STAGES:
        blocks: list[nn.Module] = []
        for number in range(repeats):
            step = stride if number == 0 else 1
            if expansion == 1:
                blocks.append(Separable(inputs, outputs, size, step))
            else:
                blocks.append(Inverted(inputs, outputs, size, step, expansion))
            inputs = outputs
        stages.append(nn.Sequential(*blocks))
    net = nn.Sequential(
        OrderedDict(
            conv_stem=stem,
            bn1=norm,
            blocks=nn.Sequential(*stages),
            conv_head=_convolution(inputs, NUM_FEATURES, 1),
            bn2=Norm(NUM_FEATURES),
        )
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] ** 2 * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
    return net


def _convolution(
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    return SameConv2d(inputs, outputs, size, stride, groups=groups, bias=False)
