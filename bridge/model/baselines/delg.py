"""DELG's global descriptor: backbone, GeM, and one linear layer that also whitens.

Its local branch takes part in no gradient of the global descriptor (it reads a map that is cut off
from the graph), so it is left out here without a change to what is trained.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from bridge.model.baselines.config import DelgConfig
from bridge.model.baselines.deblurring import deblurred, require_deblurring
from bridge.model.baselines.pooling import PowerMean
from bridge.model.method import Description, RetrievalModel, build_classifier


class Delg(RetrievalModel):
    """The network; its descriptors have length 1, which ArcFace gives them in any case."""

    config: DelgConfig

    def __init__(self, config: DelgConfig, weights: str = "none") -> None:
        """Build the network; `weights` of the encoder as in `build_backbone`.

        Raises:
            InputError: as `build_backbone` does, or what deblurs is not installed.
        """
        if config.deblur:
            require_deblurring()
        super().__init__(config, weights)
        self.pool = PowerMean(config.gem_learned)
        self.whiten = nn.Linear(self.backbone.num_features, config.descriptor_dim)
        nn.init.xavier_uniform_(self.whiten.weight)
        nn.init.zeros_(self.whiten.bias)
        self.classifier = build_classifier(config)

    def describe_features(self, features: torch.Tensor) -> Description:
        """Of a float32 map [B, C, h, w]."""
        return Description(F.normalize(self.whiten(self.pool(features))))

    def restored(self, images: torch.Tensor) -> torch.Tensor:
        """Deblurred, where the configuration says so."""
        return deblurred(images) if self.config.deblur else images
