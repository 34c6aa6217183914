"""Named trainings of each method: the paper's, a stronger one, and one for two CPU cores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bridge.model.config import PAPER, QUICK, MethodName, ModelConfig
from bridge.training.recipe import Augmentation, BlissConfig, LossConfig, Recipe

PresetName = Literal["paper", "strong", "quick"]


@dataclass(frozen=True)
class Preset:
    """A network and how to train it."""

    model: ModelConfig
    recipe: Recipe


_STRONG = Recipe(
    batch_size=22,
    schedule="cosine",
    warmup_steps=1000,
    ema_decay=0.999,
    supervise="all",
    bliss=BlissConfig(num_positives=2, num_negatives=0),
    # With every image classified, half the paper's weight is enough.
    loss=LossConfig(pairs="batch", classification=0.05),
    augment=Augmentation(flip=0.5),
)

PRESETS: dict[MethodName, dict[PresetName, Preset]] = {
    "bridge": {
        "paper": Preset(PAPER, Recipe(validate_every=400)),
        "strong": Preset(replace(PAPER, norm="folded", imagenet_norm=True), _STRONG),
        "quick": Preset(
            QUICK,
            replace(_STRONG, epochs=14, learning_rate=1e-3, warmup_steps=100, ema_decay=0.998),
        ),
    },
}
"""By method and name. `paper` follows the published code, `strong` is ours for the same network,
`quick` is that for a small network at 60x80 pixels."""
