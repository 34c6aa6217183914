"""The ResNets of torchvision, tensor for tensor: importing them from there takes as long as torch.

Names, shapes and initial values are torchvision's, so that its weights fit and a seed gives the
same network.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""Residual blocks of each of the four stages."""
_BASIC = ("resnet18", "resnet34")
_CLASSES = 1000


class Basic(nn.Module):
    """Two convolutions 3x3 and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float [B, C, h, w] to [B, C', h', w']."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.bn2(self.conv2(out))
        out += shortcut
        return self.relu(out)


class Bottleneck(nn.Module):
    """A convolution 3x3, which has the stride, between two 1x1, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, width * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float [B, C, h, w] to [B, C', h', w']."""
        shortcut = features if self.downsample is None else self.downsample(features)
        out = self.relu(self.bn1(self.conv1(features)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += shortcut
        return self.relu(out)


def resnet(name: str) -> tuple[nn.Sequential, int]:
    """The stages of a ResNet up to its feature map, and the channels of that.

    Args:
        name: a key of `BLOCKS`.
    """
    kind = Basic if name in _BASIC else Bottleneck
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    inputs = 64
    for stage, (width, blocks) in enumerate(zip((64, 128, 256, 512), BLOCKS[name], strict=True)):
        layers[f"layer{stage + 1}"] = _stage(kind, inputs, width, blocks, stride=1 + (stage > 0))
        inputs = width * kind.expansion
    # The classifier that is left out draws from the random numbers all the same.
    nn.Linear(inputs, _CLASSES)
    net = nn.Sequential(layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net, inputs


def _stage(
    kind: type[Basic] | type[Bottleneck], inputs: int, width: int, blocks: int, stride: int
) -> nn.Sequential:
    outputs = width * kind.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(
            _convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
        )
    first = kind(inputs, width, stride, downsample)
    return nn.Sequential(first, *(kind(outputs, width, 1, None) for _ in range(blocks - 1)))


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
