"""What one optimisation step differentiates, and the running average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bridge.model.method import RetrievalModel
from bridge.training.augmentation import augment
from bridge.training.data import Batch
from bridge.training.distributed import gather_rows
from bridge.training.losses import LossInputs, joint_loss
from bridge.training.recipe import Compute, Recipe


class TupleLosses(nn.Module):
    """The network with the losses of a whole batch (Eq. 12)."""

    def __init__(self, model: RetrievalModel, recipe: Recipe, compute: Compute) -> None:
        super().__init__()
        self.model = model
        self._recipe = recipe
        self._compute = compute

    def forward(self, batch: Batch, keys: torch.Tensor) -> dict[str, torch.Tensor]:
        """All images of all tuples in one forward; losses over the batch of all workers.

        Args:
            batch: this rank's part, of the same size on all ranks.
            keys: int64 [B], what the augmentation of each image follows from.
        """
        device = batch.images.device.type
        images, boxes = augment(
            batch.images.float() / 255.0, batch.boxes, keys, self._recipe.augment
        )
        with torch.autocast(device, torch.bfloat16, enabled=self._compute.uses_bf16(device)):
            output = self.model(images)
        queries = torch.zeros_like(batch.valid)
        queries[:: batch.tuple_size] = True
        supervised = queries if self._recipe.supervise == "query" else batch.valid
        inputs = LossInputs(
            descriptors=gather_rows(output.descriptor),
            visibility=None if output.visibility is None else gather_rows(output.visibility),
            box=None if output.box is None else gather_rows(output.box),
            objects=gather_rows(batch.objects),
            positions=gather_rows(batch.positions),
            true_visibility=gather_rows(batch.visibility),
            true_box=gather_rows(boxes),
            supervised=gather_rows(supervised),
            valid=gather_rows(batch.valid),
            tuple_size=batch.tuple_size,
        )
        return joint_loss(inputs, self.model.classifier, self._recipe.loss, self._recipe.bliss)


class AveragedWeights:
    """An exponential moving average of a network's weights.

    The decay grows from 0.1 to its final value as (1 + n) / (10 + n), so that the first weights are
    soon forgotten. Buffers are those of the latest network.
    """

    def __init__(self, model: RetrievalModel, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: RetrievalModel, step: int) -> None:
        """Move towards `model` after the step number `step` (0-based)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        mine, theirs = list(self.model.parameters()), list(model.parameters())
        get_ema_multi_avg_fn(decay)(mine, theirs, None)
        for own, other in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(other)
