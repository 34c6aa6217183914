"""Training: BLISS, losses, recipes and the loop (Sec. 3.2-3.3); no Ray and no INDEX."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.training.bliss import BlissConfig, BlissSampler
    from bridge.training.losses import LossConfig, joint_loss
    from bridge.training.recipe import Compute, Recipe
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
        "bliss": ("BlissConfig", "BlissSampler"),
        "losses": ("LossConfig", "joint_loss"),
        "recipe": ("Compute", "Recipe"),
        "trainer": ("Trainer",),
    },
)
