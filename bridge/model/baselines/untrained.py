"""The floors: what retrieves without having been trained for it."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from bridge.common.errors import InputError
from bridge.model.baselines.config import HistogramConfig, PretrainedConfig
from bridge.model.baselines.pooling import PowerMean
from bridge.model.method import Description, RetrievalModel


class Pretrained(RetrievalModel):
    """GeM of the power 3 over the map of a backbone, as it is."""

    classifier = None

    def __init__(self, config: PretrainedConfig, weights: str = "none") -> None:
        """Build the network; `weights` of the encoder as in `build_backbone`.

        Raises:
            InputError: as `build_backbone` does, or for another size than that of the map.
        """
        super().__init__(config, weights)
        self.config = replace(config, descriptor_dim=_size(config, self.backbone.num_features))
        self.pool = PowerMean()

    def describe_features(self, features: torch.Tensor) -> Description:
        """Of a float32 map [B, C, h, w]."""
        return Description(F.normalize(self.pool(features)))


class Histogram(RetrievalModel):
    """The square roots of how often each colour occurs, a colour between two bins in both.

    The dot product of two of them is how far two distributions of colours overlap.
    """

    classifier = None
    config: HistogramConfig

    def __init__(self, config: HistogramConfig, weights: str = "none") -> None:
        """There is nothing to build; `weights` are those of no encoder: "none".

        Raises:
            InputError: another size than the bins give, or weights.
        """
        super().__init__(config, weights)
        self.config = replace(config, descriptor_dim=_size(config, config.bins**3))

    def describe_features(self, features: torch.Tensor) -> Description:
        """Of pictures float32 [B, 3, H, W] with values in 0..1."""
        bins = self.config.bins
        centres = torch.linspace(0, 1, bins, device=features.device)
        distances = (features.flatten(2)[:, :, None] - centres[:, None]).abs() * (bins - 1)
        red, green, blue = (1 - distances).clamp(min=0).unbind(dim=1)
        pairs = (red[:, :, None] * green[:, None]).flatten(1, 2)
        frequencies = (pairs @ blue.transpose(1, 2)).flatten(1) / features[0, 0].numel()
        return Description(F.normalize(frequencies.clamp(min=0).sqrt()))


def _size(config: PretrainedConfig | HistogramConfig, size: int) -> int:
    if config.descriptor_dim not in (0, size):
        raise InputError(
            f"`descriptor_dim` of this {config.method} network is {size}, not "
            f"{config.descriptor_dim}."
        )
    return size
