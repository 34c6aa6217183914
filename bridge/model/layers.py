"""Layers that compute what torch's own do, with gradients that cost less on a CPU."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

MOST_PRODUCTS = 80 * 80
"""Places of an input times those of its output, up to which all their products are worth it."""


class ReLU6(nn.Module):
    """min(max(x, 0), 6), in place.

    Its gradient follows from its result. Torch's own keeps a copy of the input for it.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float [...] to the same tensor."""
        if torch.compiler.is_compiling():
            return F.relu6(features)
        if torch.is_grad_enabled() and features.requires_grad:
            result: torch.Tensor = _ReLU6.apply(features)
            return result
        return F.relu6(features, inplace=True)


class _ReLU6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(features)
        ctx.save_for_backward(features.clamp_(0, 6))
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # Between the bounds the result is the input; there is no slope at them.
        (result,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, result, 0, 6)


class SameConv2d(nn.Conv2d):
    """A square convolution whose padding is TensorFlow's: more at the end where it is odd."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """float [B, C, h, w] to [B, C', ceil(h / stride), ceil(w / stride)]."""
        if self._is_depthwise and _is_slow(input, self.kernel_size[0], self.stride[0]):
            result: torch.Tensor = _Depthwise.apply(input, self.weight, self.bias, self.stride[0])
            return result
        return _convolved(input, self.weight, self.bias, self.stride[0], self.groups)

    @property
    def _is_depthwise(self) -> bool:
        return self.groups == self.in_channels == self.out_channels > 1


def _is_slow(input: torch.Tensor, size: int, stride: int) -> bool:
    """Whether torch takes long for the gradient of a depthwise convolution's weights.

    oneDNN has quick code for 3x3 on maps that are wider than that, and for nothing else.
    """
    if torch.compiler.is_compiling() or input.device.type != "cpu":
        return False
    if not torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    sides = input.shape[-2:]
    places = math.prod(sides) * math.prod(_spans(side, size, stride)[0] for side in sides)
    return places <= MOST_PRODUCTS and (size > 3 or min(sides) <= size)


def _spans(side: int, size: int, stride: int) -> tuple[int, int, int]:
    """Places of the output along a side, and zeros before and behind the input's."""
    places = math.ceil(side / stride)
    zeros = max((places - 1) * stride + size - side, 0)
    return places, zeros // 2, zeros - zeros // 2


def _convolved(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: int,
    groups: int,
) -> torch.Tensor:
    (_, top, bottom), (_, left, right) = (
        _spans(side, weight.shape[-1], stride) for side in input.shape[-2:]
    )
    if stride == 1 and (top, left) == (bottom, right):
        return F.conv2d(input, weight, bias, padding=(top, left), groups=groups)
    padded = F.pad(input, (left, right, top, bottom))
    return F.conv2d(padded, weight, bias, stride, groups=groups)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose weights get their gradient from a product of matrices.

    A weight's gradient is a sum over the pairs of an input place and an output place that it joins.
    On a small map it costs little to multiply all pairs, over all images at once, and to add up
    those that a weight joins, as another product (`_joined`).
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(input, weight)
        ctx.stride = stride
        return _convolved(input, weight, bias, stride, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        channels, _, size, _ = weight.shape
        height, width = (_spans(side, size, ctx.stride) for side in input.shape[-2:])
        of_input = None
        if ctx.needs_input_grad[0]:
            of_input = _input_gradient(gradient, input, weight, ctx.stride, height, width)
        # [C, places of the output, B] @ [C, B, places of the input]
        outputs = gradient.flatten(2).permute(1, 2, 0).contiguous()
        inputs = input.flatten(2).permute(1, 0, 2).contiguous()
        pairs = torch.bmm(outputs, inputs).flatten(1)
        joined = _joined(size, ctx.stride, (height, width), tuple(input.shape[-2:]))
        of_weight = pairs @ joined.to(pairs.dtype)
        of_bias = outputs.sum(dim=(1, 2)) if ctx.needs_input_grad[2] else None
        return of_input, of_weight.view_as(weight), of_bias, None


def _input_gradient(
    gradient: torch.Tensor,
    input: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    height: tuple[int, int, int],
    width: tuple[int, int, int],
) -> torch.Tensor:
    """As torch computes it, of the padded input, whose shape is all that matters."""
    (_, top, bottom), (_, left, right) = height, width
    images, channels, rows, columns = input.shape
    padded = torch.empty(
        (images, channels, top + rows + bottom, left + columns + right),
        dtype=input.dtype,
        memory_format=torch.channels_last,
    )
    whole, _, _ = torch.ops.aten.convolution_backward(
        gradient,
        padded,
        weight,
        None,
        [stride, stride],
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        channels,
        [True, False, False],
    )
    return whole[:, :, top : top + rows, left : left + columns]


@lru_cache(maxsize=64)
def _joined(
    size: int,
    stride: int,
    spans: tuple[tuple[int, int, int], tuple[int, int, int]],
    sides: tuple[int, int],
) -> torch.Tensor:
    """Which weight joins an output place with an input place: float [pairs, size * size], 0 or 1.

    Along a side of 3 places, a kernel of 3 and a stride of 1, output 0 is joined with the inputs
    0 and 1 by the weights 1 and 2: its weight 0 lies on padding.
    """
    along = []
    for (places, before, _), side in zip(spans, sides, strict=True):
        weight = torch.arange(side) - torch.arange(places)[:, None] * stride + before
        along.append(weight[..., None] == torch.arange(size))
    rows, columns = along
    joined = torch.einsum("ihk,jwl->ijhwkl", rows.float(), columns.float())
    return joined.reshape(-1, size * size)
