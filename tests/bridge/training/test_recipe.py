"""Recipes: their ranges, the learning rate, and what the presets are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.common.errors import InputError
from bridge.model.config import BridgeConfig
from bridge.training.augmentation import Augmentation
from bridge.training.bliss import BlissConfig
from bridge.training.losses import LossConfig
from bridge.training.presets import PRESETS
from bridge.training.recipe import Compute, Recipe


def test_the_learning_rate_rises_and_falls() -> None:
    recipe = Recipe(learning_rate=3e-4, schedule="cosine", warmup_steps=3)
    rates = [recipe.rate(step, 18) for step in range(18)]
    assert rates[:4] == pytest.approx([1e-4, 2e-4, 3e-4, 3e-4])
    assert all(a > b for a, b in zip(rates[3:], rates[4:], strict=False))
    assert rates[-1] < 0.05 * 3e-4
    assert Recipe().rate(10**6, 10**6) == 1e-4
    short = replace(recipe, warmup_steps=100)
    assert short.rate(5, 18) == pytest.approx(3e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"steps": -1},
        {"batch_size": 0},
        {"log_every": 0},
        {"learning_rate": 0.0},
        {"ema_decay": 1.0},
    ],
)
def test_options_out_of_range_are_input_errors(change: dict) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(change))}` must"):
        replace(Recipe(), **change)


def test_precision_follows_the_device() -> None:
    assert Compute().uses_bf16("cuda") and not Compute().uses_bf16("cpu")
    assert Compute(precision="bf16").uses_bf16("cpu")
    assert not Compute(precision="fp32").uses_bf16("cuda")


def test_the_papers_recipe() -> None:
    """Reference: Adam 1e-4, 32 tuples of 1 + 1 + 5, 30 epochs, r = 5, validated each 400 steps."""
    model, recipe = PRESETS["bridge"]["paper"].model, PRESETS["bridge"]["paper"].recipe
    assert model == BridgeConfig() and model.norm == "none" and not model.imagenet_norm
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (30, 32, 1e-4)
    assert recipe.validate_every == 400
    assert recipe.bliss == BlissConfig(5, 1, 5, "level")
    assert recipe.loss == LossConfig(1.0, 0.1, 1.0, 10.0, 0.7, "tuple")
    assert (recipe.schedule, recipe.supervise, recipe.ema_decay) == ("constant", "query", 0.0)
    assert recipe.augment == Augmentation() and recipe.blur_target == "eroded"


def test_the_other_presets_need_three_images_per_tuple() -> None:
    for name in ("strong", "quick"):
        recipe = PRESETS["bridge"][name].recipe
        assert recipe.tuple_size == 3 and recipe.loss.pairs == "batch"
        assert PRESETS["bridge"][name].model.norm == "folded"
    assert PRESETS["bridge"]["strong"].model.backbone == PRESETS["bridge"]["paper"].model.backbone
    assert PRESETS["bridge"]["quick"].model.image_size == (60, 80)
