"""What is trained and how (Sec. 3.2, 3.3, 5), apart from the data and the machine.

Nothing here needs torch, so that commands can read their options before it is imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt

from bridge.common.errors import InputError
from bridge.common.record import Count, NonNegative, Positive, Share, WholeNumber, check
from bridge.model.config import ModelConfig

BlurTarget = Literal["eroded", "opacity"]

MAX_RANGE = 9
"""Between the blur levels 1 and 10; at this range no pair of images is ruled out by its levels."""

ContrastiveRange = Annotated[int, Ge(0), Le(MAX_RANGE)]


@dataclass(frozen=True)
class BlissConfig:
    """How the samples that accompany a query are selected.

    Raises:
        InputError: the range is not in 0..9, or a number of samples is negative.
    """

    contrastive_range: ContrastiveRange = 5
    """r: samples have positions within r of the query's, in blur levels (0..9). The training
    selection has the levels 1..6, so that 5 or more is no restriction with window "level"."""
    num_positives: WholeNumber = 1
    """N_p: images of the query's object, from other trajectories."""
    num_negatives: WholeNumber = 5
    """N_n: images of other objects."""
    window: Literal["level", "severity"] = "level"
    """What the range compares: blur levels as in the paper, or 10 times the blur severity, which
    is the same scale without its rounding."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the joint loss (Eq. 12); a weight of 0 leaves the part out."""

    contrastive: NonNegative = 1.0
    """Of Eq. 11."""
    classification: NonNegative = 0.1
    """alpha_cls, of Eq. 9."""
    blur: NonNegative = 1.0
    """alpha_be, of Eq. 7."""
    localisation: NonNegative = 10.0
    """alpha_loc, of the mean over the four coordinates: 2.5 for each term of Eq. 8."""
    margin: NonNegative = 0.7
    """tau: negatives further apart than this cost nothing."""
    pairs: Literal["tuple", "batch"] = "tuple"
    """Contrastive pairs: the query with its samples (the paper's), or any two of the batch."""
    batch_negatives: NonNegative = 32.0
    """With the pairs of a batch, how many negatives their mean stands for, beside one positive."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Augmentation:
    """Strengths; 0 leaves a part out, and all of them the picture as it is."""

    flip: Share = 0.0
    """Probability of a horizontal mirror image."""
    crop: Share = 0.0
    """Largest share of the width and height that a crop removes; all of the object stays."""
    colour: Share = 0.0
    """Largest relative change of brightness, contrast and saturation."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def is_none(self) -> bool:
        """Whether pictures stay as they are."""
        return self.flip == self.crop == self.colour == 0


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


def check_losses(model: ModelConfig, config: LossConfig) -> None:
    """InputError where nothing would be trained: no loss has both a weight and a head."""
    trained = {
        "contrastive": config.contrastive,
        "classification": config.classification,
        "blur": config.blur if "visibility" in model.predictions else 0,
        "localisation": config.localisation if "box" in model.predictions else 0,
    }
    if not any(trained.values()):
        raise InputError(
            "The network lacks a head for every loss that has a weight, or the images lack labels: "
            f"give one of {', '.join(f'`{name}`' for name in trained)} a positive number."
        )


def check_workers(tuples_per_step: int, workers: int, model: ModelConfig) -> None:
    """InputError where workers would have nothing to do, or statistics of their own."""
    if workers > tuples_per_step:
        raise InputError(
            f"{workers} workers are too many for steps of {tuples_per_step} tuples: a larger "
            "`batch_size` or fewer `num_workers`."
        )
    if workers > 1 and replace(model, norm="frozen").batch_statistics:
        raise InputError(
            f"The method {model.method} normalises the images of a batch together and trains with "
            "one worker only: `num_workers` 1."
        )
    if workers > 1 and model.batch_statistics:
        raise InputError("The `norm` batch trains with one worker only: choose folded or frozen.")
