"""DOLG: what local features say beyond the global one, beside the latter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from bridge.model.baselines.config import DolgConfig
from bridge.model.baselines.pooling import PowerMean
from bridge.model.method import Description, RetrievalModel, build_classifier

DILATION = 6
"""Of the paper's first dilated convolution."""
MAP_SIDE = 32
"""Side of the local map that it was meant for."""
EPSILON = 1e-12
"""Keeps the projection on a global feature of zeros finite."""


class Dolg(RetrievalModel):
    """The network; its descriptors have length 1, which ArcFace gives them in any case."""

    inner_map = True
    config: DolgConfig

    def __init__(self, config: DolgConfig, weights: str = "none") -> None:
        """Build the network; `weights` of the encoder as in `build_backbone`.

        Raises:
            InputError: as `build_backbone` does.
        """
        super().__init__(config, weights)
        inner = self.backbone.inner
        assert inner is not None
        dim = config.local_dim or inner.channels
        dilation = config.dilation or dilation_of(config.image_size, inner.stride)
        self.pool = PowerMean(config.gem_learned)
        self.project = nn.Linear(self.backbone.num_features, dim)
        self.context = (
            MultiAtrous(inner.channels, dilation) if config.multi_atrous else nn.Identity()
        )
        self.attend = SpatialAttention(inner.channels, dim)
        self.fuse = nn.Linear(2 * dim, config.descriptor_dim)
        for module in (*self.context.modules(), *self.attend.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.classifier = build_classifier(config)

    def describe_features(self, features: tuple[torch.Tensor, torch.Tensor]) -> Description:
        """Of float32 maps: local [B, C', 2h, 2w], and the last [B, C, h, w]."""
        return Description(F.normalize(self.fuse(torch.cat(self.halves(*features), dim=1))))

    def halves(self, local: torch.Tensor, last: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The global feature and the mean of what is orthogonal to it: float32 [B, D] each."""
        whole = self.project(self.pool(last))
        # The projection is linear: that of the mean is the mean of those of all places.
        mean = self.attend(self.context(local)).mean(dim=(-2, -1))
        return whole, orthogonal(mean[..., None], whole).squeeze(-1)


class MultiAtrous(nn.Module):
    """Convolutions that look as far as differs between them, and the mean of the whole map."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        inner = channels // 2
        self.mean = nn.Conv2d(channels, inner, 1)
        self.near = nn.Conv2d(channels, inner, 1)
        self.far = nn.ModuleList(
            nn.Conv2d(channels, inner, 3, padding=times * dilation, dilation=times * dilation)
            for times in (1, 2, 3)
        )
        self.join = nn.Conv2d(5 * inner, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [B, C, h, w] to the same shape."""
        mean = (
            self.mean(features.mean(dim=(-2, -1), keepdim=True))
            .relu()
            .expand(-1, -1, *features.shape[-2:])
        )
        far = [convolution(features) for convolution in self.far]
        return self.join(torch.cat([mean, self.near(features), *far], dim=1)).relu()


class SpatialAttention(nn.Module):
    """Features of length 1, each times how much its place matters."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(channels, dim, 1)
        self.norm = nn.BatchNorm2d(dim)
        self.score = nn.Conv2d(dim, 1, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [B, C, h, w] to [B, D, h, w]; the length at a place is its score, above 0."""
        transformed = self.norm(self.transform(features))
        scores = F.softplus(self.score(transformed.relu()))
        return scores * F.normalize(transformed)


def orthogonal(vectors: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Vectors [B, D, N] without their parts along the directions [B, D]."""
    along = torch.einsum("bdn,bd->bn", vectors, direction)
    square = direction.square().sum(dim=1, keepdim=True) + EPSILON
    return vectors - direction[..., None] * (along / square)[:, None]


def dilation_of(image_size: tuple[int, int], stride: int) -> int:
    """Of the first dilated convolution: as much of the paper's as the map has of 32 places.

    With more, all but the middle of a 3x3 convolution falls outside a small map.

    Args:
        image_size: height and width, pixels.
        stride: pixels between the places of the local map.
    """
    side = max(-(-size // stride) for size in image_size)
    return min(max(DILATION * side // MAP_SIDE, 1), DILATION)
