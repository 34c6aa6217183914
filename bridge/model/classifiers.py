"""Margin classifiers on the descriptor, used in training only (Sec. 3.3, Eq. 9-10).

The paper names ArcFace; the code behind its numbers is CurricularFace, which also makes classes
count more that are harder than the margin allows, the more so the further training has come.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

MOMENTUM = 0.01
"""Of CurricularFace's running mean, for one query."""

LIMIT = 1 - 1e-7
"""Cosines are kept this far from 1, where the slope of the angle is infinite."""


def margin_cosine(cosine: torch.Tensor, margin: float) -> torch.Tensor:
    """cos(arccos(s) + m) of Eq. 10, for s in (-1, 1)."""
    return cosine * math.cos(margin) - (1 - cosine.square()).sqrt() * math.sin(margin)


def arcface_logits(
    cosine: torch.Tensor, target: torch.Tensor, margin: float, scale: float
) -> torch.Tensor:
    """Eq. 10 with its scale of Eq. 9: float [B, N] from cosines [B, N] and classes int64 [B]."""
    own = target[:, None]
    return scale * cosine.scatter(1, own, margin_cosine(cosine.gather(1, own), margin))


def curricular_logits(
    cosine: torch.Tensor, target: torch.Tensor, t: torch.Tensor, margin: float, scale: float
) -> torch.Tensor:
    """CurricularFace's counterpart of `arcface_logits`.

    Args:
        cosine: float [B, N] in (-1, 1).
        target: int64 [B], class indices.
        t: float [1] or [B, 1], the running mean of the cosine to the own class.
        margin: m, radians.
        scale: gamma.
    """
    own = target[:, None]
    own_cosine = cosine.gather(1, own)
    with_margin = margin_cosine(own_cosine, margin)
    # Beyond an angle of pi - m the margin would make the loss fall again.
    own_logit = torch.where(
        own_cosine > math.cos(math.pi - margin),
        with_margin,
        own_cosine - margin * math.sin(math.pi - margin),
    )
    hard = cosine > with_margin
    others = torch.where(hard, cosine * (t + cosine), cosine)
    return scale * others.scatter(1, own, own_logit)


class ArcFace(nn.Module):
    """Eq. 9-10 as printed."""

    def __init__(self, dim: int, num_classes: int, margin: float = 0.15, scale: float = 30.0):
        super().__init__()
        self.margin = margin
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, dim))
        nn.init.xavier_normal_(self.weight)

    def forward(self, descriptors: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Logits float32 [B, N] for a cross-entropy, from float [B, d] and class indices [B]."""
        with torch.autocast(descriptors.device.type, enabled=False):
            directions = F.normalize(descriptors.float()), F.normalize(self.weight.float())
            return self._logits(F.linear(*directions).clamp(-LIMIT, LIMIT), target)

    def _logits(self, cosine: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return arcface_logits(cosine, target, self.margin, self.scale)


class CurricularFace(ArcFace):
    """The published code's classifier, with initialised weights.

    `t` follows the cosine to the own class in training mode. By default it moves with each query
    in turn, and the logits of each query use the value after its own move: the published code sees
    one query at a time, and this is its sequence for the queries of a batch in their order. With
    `momentum` it moves once per batch, by the mean.
    """

    t: torch.Tensor

    def __init__(
        self,
        dim: int,
        num_classes: int,
        margin: float = 0.15,
        scale: float = 30.0,
        momentum: float | None = None,
    ) -> None:
        super().__init__(dim, num_classes, margin, scale)
        self.momentum = momentum
        self.register_buffer("t", torch.zeros(1))

    def _logits(self, cosine: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        t = self.t
        if self.training and len(target):
            t = self._moved(cosine.detach().gather(1, target[:, None]).squeeze(1))
            # In place: distributed training keeps hold of this very tensor.
            self.t.copy_(t[-1])
        return curricular_logits(cosine, target, t, self.margin, self.scale)

    def _moved(self, own: torch.Tensor) -> torch.Tensor:
        """The value of t for each query: float [B, 1] from cosines [B], or [1, 1] of the batch."""
        if self.momentum is not None:
            return torch.lerp(self.t, own.mean(), self.momentum)[None]
        steps = torch.arange(len(own), device=own.device)
        age = (steps[:, None] - steps).to(torch.float64)
        weights = torch.where(age >= 0, MOMENTUM * (1 - MOMENTUM) ** age, 0.0)
        kept = (1 - MOMENTUM) ** (steps + 1).to(torch.float64)
        return (weights @ own.double() + kept * self.t)[:, None].to(own.dtype)
