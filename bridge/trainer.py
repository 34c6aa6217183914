"""Training: one optimisation step over a batch of tuples, and the loop around it (Sec. 3.3, 5).

Nothing here knows of Ray. `Trainer.run` is a generator of events, so that whoever drives it
(Ray Train, a notebook, a test) decides what to do with metrics and checkpoints.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bridge.bliss import BlissConfig, BlissSampler
from bridge.checkpoint import WEIGHTS_FILE, save_model
from bridge.distributed import World, gather_rows
from bridge.errors import InputError
from bridge.losses import LossConfig, LossInputs, joint_loss
from bridge.model import Bridge
from bridge.training_data import Batch, TrainingData, prefetch
from bridge.validation import CHOICE, ValidationData, validate

STATE_FILE = "training_state.pt"


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are the paper's."""

    epochs: int = 30
    """Passes over the training selection: every image is a query once per epoch."""
    batch_size: int = 32
    """Tuples per optimisation step, over all workers together."""
    learning_rate: float = 1e-4
    """Of Adam."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over time; cosine ends at 0."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    supervise: Literal["query", "all"] = "query"
    """Images of a tuple that the classification, blur and localisation losses see."""
    sharp_only: bool = False
    """Train on the sharp image of each trajectory only (the paper's Ours-sharp)."""
    validate_every: int = 0
    """Steps between validations and checkpoints, besides those after each epoch; 0: none."""
    log_every: int = 20
    """Steps between lines of metrics."""
    seed: int = 0
    """Of the initial weights, the selection and the plan."""
    bliss: BlissConfig = field(default_factory=BlissConfig)
    """Selection of the contrastive samples."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Losses and their weights."""

    def __post_init__(self) -> None:
        least = {
            "epochs": 1,
            "batch_size": 1,
            "log_every": 1,
            "warmup_steps": 0,
            "validate_every": 0,
            "seed": 0,
        }
        for name, value in least.items():
            if getattr(self, name) < value:
                option = f"--{name.replace('_', '-')}"
                raise InputError(f"{option} must be at least {value}, not {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise InputError(f"--learning-rate must be positive, not {self.learning_rate}.")


@dataclass(frozen=True)
class Event:
    """Something to report: metrics since the last event, and whether to write a checkpoint."""

    step: int
    epoch: int
    metrics: dict[str, float]
    checkpoint: bool
    improved: bool = False
    """With a checkpoint: the validation mAP is the best so far."""


def batch_size(recipe: Recipe, num_tuples: int, workers: int) -> int:
    """Tuples per step: the recipe's, or as many as there are for every worker alike.

    Raises:
        InputError: the recipe's do not divide over the workers, or there are fewer than workers.
    """
    if recipe.batch_size % workers:
        raise InputError(
            f"A batch of {recipe.batch_size} tuples does not divide over {workers} workers: choose "
            "another --batch-size or --num-workers."
        )
    if num_tuples < workers:
        raise InputError(f"{num_tuples} training tuples are too few for {workers} workers.")
    return min(recipe.batch_size, num_tuples // workers * workers)


class TupleLosses(nn.Module):
    """The network with the losses of a whole batch: what one training step differentiates."""

    def __init__(self, model: Bridge, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self._recipe = recipe

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """All images of all tuples in one forward; losses over the batch of all workers."""
        output = self.model(batch.images.float() / 255.0)
        queries = torch.zeros(len(batch.objects), dtype=torch.bool, device=batch.objects.device)
        queries[:: batch.tuple_size] = True
        supervised = queries if self._recipe.supervise == "query" else torch.ones_like(queries)
        inputs = LossInputs(
            descriptors=gather_rows(output.descriptor),
            blur=None if output.blur is None else gather_rows(output.blur),
            box=None if output.box is None else gather_rows(output.box),
            objects=gather_rows(batch.objects),
            levels=gather_rows(batch.levels),
            blur_values=gather_rows(batch.blur_values),
            boxes=gather_rows(batch.boxes),
            supervised=gather_rows(supervised),
            tuple_size=batch.tuple_size,
        )
        return joint_loss(inputs, self.model.classifier, self._recipe.loss, self._recipe.bliss)


class Trainer:
    """The training loop and its state."""

    def __init__(
        self,
        model: Bridge,
        recipe: Recipe,
        data: TrainingData,
        validation: ValidationData | None,
        *,
        device: str = "cpu",
        threads: int = 2,
        model_info: dict[str, Any] | None = None,
    ) -> None:
        """Prepare to train `model` in place.

        Args:
            model: with a classifier for `data.labels.objects`, in their order.
            recipe: how.
            data: the training selection.
            validation: what to choose the best model by; None chooses the last.
            device: where to compute.
            threads: that decode images.
            model_info: recorded beside the weights (e.g. what they were trained on).

        Raises:
            InputError: where the data cannot fill a batch for every worker.
        """
        self.recipe = recipe
        self.step = 0
        self.best_map = -1.0
        self._world = World.current()
        self._device = torch.device(device)
        self._threads = threads
        self._data = data
        self._validation = validation
        self._model_info = model_info or {}
        self.sampler = BlissSampler(
            data.labels.object, data.labels.blur_level, recipe.bliss, recipe.seed
        )
        self._batch_size = batch_size(recipe, len(self.sampler), self._world.size)
        self.steps_per_epoch = len(self.sampler) // self._batch_size
        self.total_steps = recipe.epochs * self.steps_per_epoch
        samples = 1 + recipe.bliss.num_positives + recipe.bliss.num_negatives
        self.images_per_step = self._batch_size * samples
        self.model = model.to(self._device).train()
        self._losses: nn.Module = TupleLosses(self.model, recipe)
        if self._world.size > 1:
            weights = recipe.loss
            self._losses = DistributedDataParallel(
                self._losses,
                device_ids=[self._device] if self._device.type == "cuda" else None,
                # A head whose loss has no weight gets no gradient.
                find_unused_parameters=not (
                    weights.classification and weights.blur and weights.localisation
                ),
            )
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step (0-based), a function of the recipe alone."""
        rate = self.recipe.learning_rate
        if step < self.recipe.warmup_steps:
            return rate * (step + 1) / self.recipe.warmup_steps
        if self.recipe.schedule == "constant":
            return rate
        span = max(1, self.total_steps - self.recipe.warmup_steps)
        return rate * 0.5 * (1 + math.cos(math.pi * (step - self.recipe.warmup_steps) / span))

    def run(self) -> Iterator[Event]:
        """Train from the current step to the end, yielding an event per interval."""
        sums: dict[str, float] = defaultdict(float)
        started, steps, waited = time.monotonic(), 0, 0.0
        batches = prefetch(self._data, self._slices(), self.model.config.image_size, self._threads)
        while self.step < self.total_steps:
            asked = time.monotonic()
            batch = next(batches).to(self._device)
            waited += time.monotonic() - asked
            for name, value in self.train_step(batch).items():
                sums[name] += value
            steps += 1
            checkpoint = self._is_checkpoint()
            if not checkpoint and self.step % self.recipe.log_every:
                continue
            elapsed = time.monotonic() - started
            metrics = {name: value / steps for name, value in sums.items()} | {
                "learning_rate": self.learning_rate(self.step - 1),
                "seconds": elapsed,
                "images_per_second": steps * self.images_per_step / elapsed,
                "data_wait": waited / elapsed,
            }
            yield self._checkpoint_event(metrics) if checkpoint else self._event(metrics)
            sums, started, steps, waited = defaultdict(float), time.monotonic(), 0, 0.0

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One optimisation step (Eq. 12); returns the loss and its parts.

        Raises:
            FloatingPointError: the loss is not finite; the weights are those before the step.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        losses = self._losses(batch)
        values = {f"loss/{name}": float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(values["loss/total"]):
            raise FloatingPointError(f"The loss of step {self.step} is not finite: {values}.")
        self._optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        self._optimizer.step()
        self.step += 1
        return values

    def _slices(self) -> Iterator[np.ndarray]:
        """This rank's tuples of every step from the current one on."""
        share = self._batch_size // self._world.size
        epoch, plan = -1, np.empty((0, 0), dtype=np.int32)
        for step in range(self.step, self.total_steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                plan = self.sampler.plan(epoch)
            start = step % self.steps_per_epoch * self._batch_size + self._world.rank * share
            yield plan[start : start + share]

    def _is_checkpoint(self) -> bool:
        every = self.recipe.validate_every
        return self.step % self.steps_per_epoch == 0 or (every > 0 and self.step % every == 0)

    def _event(
        self, metrics: dict[str, float], checkpoint: bool = False, improved: bool = False
    ) -> Event:
        epoch = (self.step - 1) // self.steps_per_epoch
        return Event(self.step, epoch, metrics, checkpoint, improved)

    def _checkpoint_event(self, metrics: dict[str, float]) -> Event:
        if self._validation is None:
            return self._event(metrics, checkpoint=True, improved=True)
        scores = validate(self.model, self._validation, self._threads)
        improved = scores[CHOICE] > self.best_map
        self.best_map = max(self.best_map, scores[CHOICE])
        return self._event(metrics | scores, checkpoint=True, improved=improved)

    def save(self, folder: Path) -> None:
        """Write the model and all that a bit-equal continuation needs."""
        self.save_model(folder)
        state = {
            "step": self.step,
            "best_map": self.best_map,
            "optimizer": self._optimizer.state_dict(),
        }
        torch.save(state, folder / STATE_FILE)

    def save_model(self, folder: str | Path) -> None:
        """Write the MODEL folder alone, local or on an object store."""
        info = {"step": self.step, "classes": list(self._data.labels.objects)}
        save_model(self.model, folder, extra=info | self._model_info)

    def load(self, folder: Path) -> None:
        """Continue from what `save` wrote."""
        from safetensors.torch import load_file

        self.model.load_state_dict(load_file(folder / WEIGHTS_FILE))
        state = torch.load(folder / STATE_FILE, weights_only=True, map_location=self._device)
        self.step = state["step"]
        self.best_map = state["best_map"]
        self._optimizer.load_state_dict(state["optimizer"])
