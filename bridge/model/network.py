"""BRIDGE: from an image to a descriptor that is robust to object motion blur (Sec. 3.1, Fig. 2).

Where the paper's text and the published weights differ, this follows the weights: a GeM pooling
per head, ReLU after each projection, and L2 norms after pooling and at the end.
"""

from __future__ import annotations

import torch
from torch import nn

from bridge.model.config import BridgeConfig
from bridge.model.method import Description, RetrievalModel, build_classifier

OUTPUTS = {"cls": 0, "blur": 1, "loc": 4}
"""Numbers that a head predicts."""


class GeM(nn.Module):
    """Generalised mean over the positions of a feature map, with a learned power (Eq. 1)."""

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [B, C, h, w] to [B, C]; values below 1e-6 count as 1e-6."""
        return self.of_logarithms(logarithms(features))

    def of_logarithms(self, values: torch.Tensor) -> torch.Tensor:
        """The same of `logarithms(features)`, which several poolings of a map can share."""
        return (self.p * values).exp().mean(dim=(-2, -1)).pow(1 / self.p)


def logarithms(features: torch.Tensor) -> torch.Tensor:
    """Of a map whose values below 1e-6 count as 1e-6; a power is a product of them."""
    return features.clamp(min=1e-6).log()


class Head(nn.Module):
    """One branch of Fig. 2: pool, project, and predict what the head is trained on."""

    def __init__(self, channels: int, dim: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.gem = GeM()
        self.project = nn.Linear(channels, dim)
        self.outputs = outputs
        if outputs:
            self.hidden = nn.Linear(dim, hidden)
            self.predict = nn.Linear(hidden, outputs)

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logarithms of a map [B, C, h, w] to features [B, dim] and predictions [B, outputs].

        Predictions lie in (0, 1).
        """
        projected = self.project(_unit(self.gem.of_logarithms(values))).relu()
        if not self.outputs:
            return projected, None
        return projected, self.predict(self.hidden(projected).relu()).sigmoid()


class Bridge(RetrievalModel):
    """The network of Fig. 2.

    Its descriptor has length 1 up to the 1e-6 in the divisor (`embed` is exact); the blur head
    predicts the visibility, the localisation head the box.
    """

    config: BridgeConfig

    def __init__(self, config: BridgeConfig, weights: str = "none") -> None:
        """Build the network; `weights` of the encoder as in `build_backbone`.

        Raises:
            InputError: as `build_backbone` does.
        """
        super().__init__(config, weights)
        channels = self.backbone.num_features
        dims = {h: config.cls_dim if h == "cls" else config.aux_dim for h in config.heads}
        self.heads = nn.ModuleDict(
            {h: Head(channels, dim, config.aux_hidden, OUTPUTS[h]) for h, dim in dims.items()}
        )
        self.fuse = nn.Linear(sum(dims.values()), config.descriptor_dim)
        self.classifier = build_classifier(config)

    def describe_features(self, features: torch.Tensor) -> Description:
        """Eq. 2, on a float32 map [B, C, h, w]."""
        values = logarithms(features)
        outputs = {name: head(values) for name, head in self.heads.items()}
        projected = torch.cat([features for features, _ in outputs.values()], dim=1)
        visibility = outputs["blur"][1].squeeze(1) if "blur" in outputs else None
        box = outputs["loc"][1] if "loc" in outputs else None
        return Description(_unit(self.fuse(projected)), visibility, box)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / (vectors.norm(dim=1, keepdim=True) + 1e-6)
