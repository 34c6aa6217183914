"""Named trainings of each method: the paper's, a stronger one, and one for two CPU cores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from bridge.model.baselines.config import BaselineConfig, DelgConfig, DolgConfig, TokenConfig
from bridge.model.config import PAPER, QUICK, ModelConfig, TrainedName
from bridge.training.recipe import Augmentation, BlissConfig, LossConfig, Recipe

PresetName = Literal["paper", "strong", "quick"]
LOSSES = ("contrastive", "classification", "blur", "localisation")
"""Of Eq. 12, by the names of their weights."""


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

_BRIDGE: dict[PresetName, Preset] = {
    "paper": Preset(PAPER, Recipe(validate_every=400)),
    "strong": Preset(replace(PAPER, norm="folded", imagenet_norm=True), _STRONG),
    "quick": Preset(
        QUICK,
        replace(_STRONG, epochs=14, learning_rate=1e-3, warmup_steps=100, ema_decay=0.998),
    ),
}


def _baseline(paper: BaselineConfig, quick: BaselineConfig) -> dict[PresetName, Preset]:
    """BRIDGE's recipes for a method that learns classes alone, with as many images in all."""
    models: dict[PresetName, ModelConfig] = {"paper": paper, "strong": paper, "quick": quick}
    return {n: Preset(model, single_images(_BRIDGE[n].recipe)) for n, model in models.items()}


def single_images(recipe: Recipe) -> Recipe:
    """The same recipe for the classification loss alone, on as many images in all and each step.

    An image of a tuple becomes a tuple of its own, so an epoch shows each image once, and there
    are more of them.
    """
    images = recipe.tuple_size
    return replace(
        recipe,
        epochs=recipe.epochs * images,
        batch_size=recipe.batch_size * images,
        supervise="all",
        # Epochs are shorter, and each ends with a validation.
        validate_every=0,
        bliss=replace(recipe.bliss, num_positives=0, num_negatives=0),
        loss=LossConfig(contrastive=0.0, classification=1.0, blur=0.0, localisation=0.0),
    )


def loss_subsets(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe with every subset of its losses, by their names: "contrastive+blur" (Table 5)."""
    subsets: dict[str, Recipe] = {}
    for size in range(1, len(LOSSES) + 1):
        for kept in combinations(LOSSES, size):
            without: dict[str, Any] = {name: 0.0 for name in LOSSES if name not in kept}
            subsets["+".join(kept)] = replace(recipe, loss=replace(recipe.loss, **without))
    return subsets


_SMALL: dict[str, Any] = {"backbone": QUICK.backbone, "image_size": QUICK.image_size}

PRESETS: dict[TrainedName, dict[PresetName, Preset]] = {
    "bridge": _BRIDGE,
    "delg": _baseline(DelgConfig(), DelgConfig(**_SMALL)),
    # The small network's local map has fewer channels than the descriptor numbers.
    "dolg": _baseline(DolgConfig(), DolgConfig(local_dim=256, **_SMALL)),
    "token": _baseline(TokenConfig(), TokenConfig(width=256, **_SMALL)),
}
"""By method and name. `paper` follows the published code, `strong` is ours for the same network,
`quick` is that for a small network at 60x80 pixels."""
