"""Training: one optimisation step over a batch of tuples, and the loop around it (Sec. 3.3, 5).

Nothing here knows of Ray. `Trainer.run` is a generator of events, so that whoever drives it
(Ray Train, a notebook, a test) decides what to do with metrics and checkpoints.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.model.checkpoint import read_weights, save_model
from bridge.model.folder import read_config
from bridge.model.method import RetrievalModel
from bridge.model.weights import load_exactly
from bridge.training.bliss import BlissSampler
from bridge.training.data import Batch, TrainingData, prefetch
from bridge.training.distributed import World, union_over_ranks
from bridge.training.errors import DamagedCheckpoint, NonFiniteLoss
from bridge.training.recipe import Compute, Recipe, check_losses, check_workers
from bridge.training.step import AveragedWeights, TupleLosses
from bridge.training.validation import CHOICE, ValidationData, validate

STATE_FILE = "training_state.pt"
_STATE_HASH = "training_state_sha256"
_STATE_KEYS = {"step", "best_map", "plan_hash", "optimizer", "average"}


@dataclass(frozen=True)
class Event:
    """Something to report: metrics since the last event, and whether to write a checkpoint."""

    step: int
    epoch: int
    metrics: dict[str, float]
    checkpoint: bool
    improved: bool = False
    """With a checkpoint: the validation mAP is the best so far."""
    unreadable: tuple[str, ...] = ()
    """Training images that could not be decoded so far, on all ranks."""


class Trainer:
    """The training loop and its state.

    Every draw of every rank (plan, augmentation, whatever a backbone drops at random) is keyed by
    the seed and the step, so a checkpoint needs no random state and a run continues exactly where
    it stood, also with another number of workers.
    """

    def __init__(
        self,
        model: RetrievalModel,
        recipe: Recipe,
        data: TrainingData,
        validation: ValidationData | None,
        *,
        device: str = "cpu",
        threads: int = 2,
        compute: Compute | None = None,
        checkpoint_every: int = 0,
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
            compute: precision and memory; default: that of the device.
            checkpoint_every: steps between checkpoints besides those at validations; 0: none.
            model_info: recorded beside the weights (e.g. what they were trained on).

        Raises:
            InputError: there are more workers than tuples in a step, no loss has both a weight and
                a head, or several workers would have normalisation statistics of their own.
        """
        self.recipe = recipe
        self.step = 0
        self.best_map = -1.0
        self._compute = compute or Compute()
        self._world = World.current()
        self._device = torch.device(device)
        self._threads = threads
        self._data = data
        self._validation = validation
        self._checkpoint_every = checkpoint_every
        self._model_info = model_info or {}
        self.sampler = BlissSampler(data.labels.object, data.positions, recipe.bliss, recipe.seed)
        self._tuples_per_step = recipe.tuples_per_step(len(self.sampler))
        check_workers(self._tuples_per_step, self._world.size, model.config)
        check_losses(model.config, recipe.loss)
        self.steps_per_epoch = len(self.sampler) // self._tuples_per_step
        self.total_steps = recipe.steps or recipe.epochs * self.steps_per_epoch
        self.images_per_step = self._tuples_per_step * recipe.tuple_size
        self.model = model.to(self._device).train()
        self._average = AveragedWeights(model, recipe.ema_decay) if recipe.ema_decay else None
        self.model.backbone.gradient_checkpointing = self._compute.gradient_checkpointing
        if self._compute.compile:
            self.model.backbone.compile()
        self._losses = self._distributed(TupleLosses(self.model, recipe, self._compute))
        if self._device.type == "cuda":
            # Torch's own default computes float32 convolutions with 10 bits of mantissa.
            torch.backends.cudnn.allow_tf32 = self._compute.precision != "fp32"
        self._optimizer = torch.optim.Adam(
            self.model.parameters(), lr=recipe.learning_rate, fused=True
        )

    def _distributed(self, losses: TupleLosses) -> nn.Module:
        if self._world.size == 1:
            return losses
        weights = self.recipe.loss
        all_used = weights.classification and weights.blur and weights.localisation
        # Where it need not look for parameters without gradient (heads without loss), torch
        # divides them anew after the first step and adds up in another order from then on: a
        # continued run would not be bit-equal. GPUs are not anyway, and faster so.
        look = self._device.type == "cpu" or not all_used
        return DistributedDataParallel(
            losses,
            device_ids=[self._device] if self._device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            find_unused_parameters=look,
        )

    @property
    def evaluated(self) -> RetrievalModel:
        """The network that is validated and kept: the averaged one where there is an average."""
        return self._average.model if self._average else self.model

    @cached_property
    def plan_hash(self) -> str:
        """SHA-256 of what decides the images of every step."""
        images = "\n".join(self._data.labels.image_id.to_pylist())
        division = f"{images} {self._tuples_per_step} {self.recipe.seed}".encode()
        return storage.sha256(division + self.sampler.plan(0).tobytes())

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step (0-based), a function of the recipe alone."""
        return self.recipe.rate(step, self.total_steps)

    def run(self, poll: Callable[[], bool] | None = None) -> Iterator[Event]:
        """Train from the current step to the end, yielding an event per interval.

        Args:
            poll: called on every rank after each `log_every` steps; True asks for a checkpoint.

        Raises:
            NonFiniteLoss: names the step and the images; no later event was yielded, so the last
                checkpoint is sound.
            TooManyUnreadable: more training images cannot be decoded than is borne; on all ranks.
        """
        history: list[dict[str, torch.Tensor]] = []
        started, waited = time.monotonic(), 0.0
        size = self.model.config.image_size
        pin = self._device.type == "cuda"
        batches = prefetch(self._data, self._slices(), size, self._threads, pin_memory=pin)
        with closing(batches):
            while self.step < self.total_steps:
                asked = time.monotonic()
                batch = next(batches).to(self._device)
                waited += time.monotonic() - asked
                history.append(self.train_step(batch))
                at_line = self.step % self.recipe.log_every == 0
                polled = bool(at_line and poll is not None and poll())
                if not (at_line or self._is_checkpoint()):
                    continue
                values = self._means(history)
                unreadable = union_over_ranks(self._data.unreadable)
                self._data.check(unreadable)
                elapsed = time.monotonic() - started
                metrics = values | {
                    "learning_rate": self.learning_rate(self.step - 1),
                    "workers": self._world.size,
                    "seconds": elapsed,
                    "images_per_second": len(history) * self.images_per_step / elapsed,
                    "data_wait": waited / elapsed,
                    "unreadable": len(unreadable),
                }
                ids = tuple(self._data.labels.image_id[row].as_py() for row in sorted(unreadable))
                yield replace(self._event(metrics, polled), unreadable=ids)
                history, started, waited = [], time.monotonic(), 0.0

    def train_step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One optimisation step (Eq. 12).

        Returns:
            Scalars on the device: the loss, its parts, and the length of the gradient.
        """
        torch.manual_seed(self._key(self.step * self._world.size + self._world.rank))
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        losses = self._losses(batch, self._keys(batch))
        self._optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        length = torch.nn.utils.get_total_norm(gradients)
        self._optimizer.step()
        if self._average is not None:
            self._average.update(self.model, self.step)
        self.step += 1
        values = {f"loss/{name}": value.detach() for name, value in losses.items()}
        return values | {"gradient_norm": length}

    def _key(self, number: int) -> int:
        """Different for every number below 2^40, and for seeds up to four million."""
        return (self.recipe.seed % (1 << 22) << 40) + number

    def _keys(self, batch: Batch) -> torch.Tensor:
        """For the augmentation of each image: its place in all epochs' plans, and the seed."""
        share = len(batch.objects) // batch.tuple_size
        first = self.step * self._tuples_per_step + self._world.rank * share
        places = torch.arange(len(batch.objects), device=self._device)
        return places + self._key(first * batch.tuple_size)

    def _means(self, history: list[dict[str, torch.Tensor]]) -> dict[str, float]:
        """Means over the steps since the last event.

        Values stay on the device until here: fetching them would stop it in every step.
        """
        names = list(history[0])
        table = torch.stack([torch.stack([v.float() for v in step.values()]) for step in history])
        values = table.cpu()
        if not values.isfinite().all():
            first = int((~values.isfinite()).any(dim=1).nonzero()[0])
            parts = dict(zip(names, values[first].tolist(), strict=True))
            raise NonFiniteLoss(self._complaint(self.step - len(history) + first, parts))
        return dict(zip(names, values.double().mean(dim=0).tolist(), strict=True))

    def _complaint(self, step: int, parts: dict[str, float]) -> str:
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self._tuples_per_step
        rows = np.unique(self.sampler.plan(epoch)[start : start + self._tuples_per_step])
        ids = self._data.labels.image_id.take(rows).to_pylist()
        shown = ", ".join(f"{name} {value:g}" for name, value in parts.items())
        return f"Step {step} gave a loss that is not finite ({shown}); its images: {' '.join(ids)}"

    def _slices(self) -> Iterator[np.ndarray]:
        """This rank's tuples of every step from the current one on, filled up with -1."""
        epoch, plan = -1, np.empty((0, 0), dtype=np.int32)
        for step in range(self.step, self.total_steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                plan = self.sampler.plan(epoch)
            start = step % self.steps_per_epoch * self._tuples_per_step
            tuples = plan[start : start + self._tuples_per_step]
            yield share_of(tuples, self._world.rank, self._world.size)

    def _is_validation(self) -> bool:
        every = self.recipe.validate_every
        at_end = self.step % self.steps_per_epoch == 0 or self.step == self.total_steps
        return at_end or (every > 0 and self.step % every == 0)

    def _is_checkpoint(self) -> bool:
        every = self._checkpoint_every
        return self._is_validation() or (every > 0 and self.step % every == 0)

    def _event(self, metrics: dict[str, float], polled: bool) -> Event:
        epoch = (self.step - 1) // self.steps_per_epoch
        if not self._is_validation():
            return Event(self.step, epoch, metrics, polled or self._is_checkpoint())
        if self._validation is None:
            return Event(self.step, epoch, metrics, checkpoint=True, improved=True)
        scores = validate(self.evaluated, self._validation, self._threads)
        improved = scores[CHOICE] > self.best_map
        self.best_map = max(self.best_map, scores[CHOICE])
        return Event(self.step, epoch, metrics | scores, checkpoint=True, improved=improved)

    def example_batch(self, num_tuples: int = 4) -> Batch:
        """The first tuples of the first epoch, to look at, on the trainer's device."""
        tuples = self.sampler.plan(0)[:num_tuples]
        return self._data.batch(tuples, self.model.config.image_size).to(self._device)

    def save(self, folder: Path) -> None:
        """Write all that a bit-equal continuation needs."""
        state = {
            "step": self.step,
            "best_map": self.best_map,
            "plan_hash": self.plan_hash,
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.model.state_dict() if self._average else None,
        }
        # Where torch writes a file itself, it does not tell why it cannot.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        storage.write_bytes(folder / STATE_FILE, buffer.getbuffer())
        # The configuration, which is written last, vouches for both files.
        save_model(self.model, folder, {_STATE_HASH: storage.sha256_file(folder / STATE_FILE)})

    def save_model(self, folder: str | Path) -> None:
        """Write the MODEL folder of the evaluated network, local or on an object store."""
        info = {"step": self.step, "classes": list(self._data.labels.objects)}
        save_model(self.evaluated, folder, extra=info | self._model_info)

    def load(self, folder: Path) -> None:
        """Continue from what `save` wrote, by any number of workers.

        Raises:
            InputError: it was written for another plan: other data, seed or sampling.
            DamagedCheckpoint: its files are not those that were written. The trainer may be
                anything then, but for another checkpoint to be loaded.
        """
        state, tensors = self._read(folder)
        if state["plan_hash"] != self.plan_hash:
            raise InputError(
                f"The checkpoint of step {state['step']} was written for another training plan: "
                "other data, another seed or other sampling."
            )
        try:
            load_exactly(self.model, tensors, str(folder))
            if self._average is not None:
                self._average.model.load_state_dict(state["average"])
            self.step = int(state["step"])
            self.best_map = float(state["best_map"])
            self._optimizer.load_state_dict(state["optimizer"])
        # Files that vouch for each other can still be another program's.
        except Exception as error:
            raise DamagedCheckpoint(f"The checkpoint {folder} cannot be used: {error}") from error

    def _read(self, folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """The training state and the weights in a checkpoint; DamagedCheckpoint as `load`."""
        path = folder / STATE_FILE
        try:
            config = read_config(folder)
            with reading(path):
                # Checkpoints of earlier versions have no hash.
                if _STATE_HASH in config and storage.sha256_file(path) != config[_STATE_HASH]:
                    raise ValueError("another file than the one that was written")
                state = torch.load(path, weights_only=True, map_location=self._device)
                if not isinstance(state, dict) or not state.keys() >= _STATE_KEYS:
                    raise ValueError("not a training state")
            return state, read_weights(folder, config)
        except InputError as error:
            raise DamagedCheckpoint(str(error)) from error


def share_of(tuples: np.ndarray, rank: int, workers: int) -> np.ndarray:
    """One rank's part of a step's tuples, of equal length on all ranks: filled up with -1."""
    share = -(-len(tuples) // workers)
    mine = tuples[rank * share : (rank + 1) * share]
    return np.pad(mine, ((0, share - len(mine)), (0, 0)), constant_values=-1)
