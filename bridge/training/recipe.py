"""What is trained and how (Sec. 3.3, 5), apart from the data and the machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Lt

from bridge.common.record import Count, Positive, WholeNumber, check
from bridge.training.augmentation import Augmentation
from bridge.training.bliss import BlissConfig
from bridge.training.losses import LossConfig

BlurTarget = Literal["eroded", "opacity"]


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the paper's.

    Raises:
        InputError: a number is out of its range.
    """

    epochs: Count = 30
    """Passes over the training selection: every image is a query once per epoch."""
    steps: WholeNumber = 0
    """Optimisation steps in all, instead of whole epochs; 0: as many as the epochs have."""
    batch_size: Count = 32
    """Tuples per optimisation step, over all workers together."""
    learning_rate: Positive = 1e-4
    """Of Adam."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over time; cosine ends at 0."""
    warmup_steps: WholeNumber = 0
    """Steps over which the learning rate rises from 0, at most a third of all."""
    ema_decay: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Validate and keep a running average of the weights with this decay per step; 0: none."""
    supervise: Literal["query", "all"] = "query"
    """Images of a tuple that the classification, blur and localisation losses see."""
    blur_target: BlurTarget = "eroded"
    """What the blur head learns: 1 - BS (eroded), or the mean opacity without erosion."""
    sharp_only: bool = False
    """Train on the sharp image of each trajectory only (the paper's Ours-sharp)."""
    validate_every: WholeNumber = 0
    """Steps between validations, besides those after each epoch; 0: none."""
    log_every: Count = 20
    """Steps between lines of metrics."""
    seed: WholeNumber = 0
    """Of the initial weights, the selection, the plan and the augmentation."""
    bliss: BlissConfig = field(default_factory=BlissConfig)
    """Selection of the contrastive samples."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Losses and their weights."""
    augment: Augmentation = field(default_factory=Augmentation)
    """Changes of the pictures that leave their labels true."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def tuple_size(self) -> int:
        """Images of a tuple: 1 + N_p + N_n."""
        return 1 + self.bliss.num_positives + self.bliss.num_negatives

    def tuples_per_step(self, num_tuples: int) -> int:
        """Tuples of one step where an epoch has `num_tuples`: as asked for, or all there are."""
        return min(self.batch_size, num_tuples)

    def rate(self, step: int, total_steps: int) -> float:
        """The learning rate of a step (0-based)."""
        warmup = min(self.warmup_steps, total_steps // 3)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        if self.schedule == "constant":
            return self.learning_rate
        angle = math.pi * (step - warmup) / max(1, total_steps - warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(angle))


@dataclass(frozen=True)
class Compute:
    """How the arithmetic is done; changes speed, memory and rounding, not what is computed."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the convolutions; auto: bf16 on GPUs. Pooling, heads and losses are always in fp32."""
    compile: bool = False
    """Compile the backbone with torch.compile: faster on GPUs after a minute or more."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: a third more work, far less memory."""

    def uses_bf16(self, device: str) -> bool:
        """Whether convolutions run in bf16 on a device."""
        return self.precision == "bf16" or (self.precision == "auto" and device != "cpu")
