"""Training: BLISS, losses, recipes and the loop (Sec. 3.2-3.3); no Ray and no INDEX."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.training.bliss import BlissSampler
    from bridge.training.losses import joint_loss
    from bridge.training.recipe import BlissConfig, Compute, LossConfig, Recipe
    from bridge.training.trainer import Trainer

__all__ = [
    "BlissConfig",
    "BlissSampler",
    "Compute",
    "LossConfig",
    "Recipe",
    "Trainer",
    "joint_loss",
]

__getattr__ = names_in(
    __name__,
    {
        "bliss": ("BlissSampler",),
        "losses": ("joint_loss",),
        "recipe": ("BlissConfig", "Compute", "LossConfig", "Recipe"),
        "trainer": ("Trainer",),
    },
)
