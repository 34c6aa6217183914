"""GeM whose power is fixed, as DELG has it (a power learned under ArcFace tends to 1)."""

from __future__ import annotations

import math

import torch
from torch import nn

POWER = 3.0
SMALLEST = 1e-6
"""Values below count as this."""


class PowerMean(nn.Module):
    """The generalised mean over the places of a map, of the power 3 or one that starts there.

    Attributes:
        log_power: scalar parameter, so that the power stays positive; None where it is fixed.
    """

    def __init__(self, learned: bool = False) -> None:
        super().__init__()
        self.log_power = nn.Parameter(torch.tensor(math.log(POWER))) if learned else None

    @property
    def power(self) -> float | torch.Tensor:
        """p of Eq. 1."""
        return POWER if self.log_power is None else self.log_power.exp()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [B, C, h, w] to [B, C]."""
        power = self.power
        return features.clamp(min=SMALLEST).pow(power).mean(dim=(-2, -1)).pow(1 / power)
