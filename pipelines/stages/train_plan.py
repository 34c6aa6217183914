"""What a training consists of, found out without torch: mistakes are told before it is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.dataset.manifest import MANIFEST, open_manifest
from bridge.dataset.schema import TRAIN_SPLIT
from bridge.dataset.selections import selections_of
from bridge.training.bliss import BlissSampler
from bridge.training.recipe import check_losses, check_workers
from bridge.training.selection import select_training_images
from pipelines.stages.train_options import DEFAULT_DATA, TrainConfig, worker_range

_LABELS = {"blur": "blur severities", "localisation": "boxes"}
"""What the losses need that not every dataset has."""


@dataclass(frozen=True)
class Plan:
    """What an epoch of a run consists of, whoever computes it."""

    images: int
    objects: int
    tuples: int
    left_out: int
    """Images without a partner in the window of their blur levels."""
    batch: int
    """Tuples of a step."""
    tuple_size: int
    steps: int
    """Optimisation steps of the whole run."""
    losses_left_out: tuple[str, ...] = ()
    """Those that no training image has labels for."""

    @property
    def images_per_step(self) -> int:
        """Images that all workers together see in a step."""
        return self.batch * self.tuple_size

    @property
    def passes(self) -> int:
        """Images that the whole run sees, with repetition."""
        return self.steps * self.images_per_step

    @property
    def note(self) -> str:
        """What is not trained, in a sentence; empty where all is."""
        if not self.losses_left_out:
            return ""
        names = " and ".join(self.losses_left_out)
        labels = " and no ".join(_LABELS[name] for name in self.losses_left_out)
        return f"note: left out of the losses: {names}, as the training images have no {labels}."

    def __str__(self) -> str:
        left_out = f", {self.left_out:,} without a positive" if self.left_out else ""
        return (
            f"{self.images:,} training images of {self.objects:,} objects{left_out}; "
            f"{self.tuples:,} tuples in an epoch, {self.steps:,} steps of {self.batch} tuples x "
            f"{self.tuple_size} images"
        )


def is_missing_default(data: str) -> bool:
    """Whether this is the default dataset, which is made where it does not exist yet."""
    manifest = storage.join(storage.absolute(data), MANIFEST)
    return data == DEFAULT_DATA and not storage.exists(manifest)


def check_data(data: str) -> None:
    """InputError where a dataset is not there, is not finished, or has nothing to train on."""
    folder = storage.absolute(data)
    if not open_manifest(folder).counts().get(TRAIN_SPLIT, {}).get("rows"):
        raise InputError(f"{folder} has no training images.")


def data_identity(config: TrainConfig) -> dict[str, Any]:
    """Which images are trained on, as JSON."""
    dataset = storage.absolute(config.data)
    return {
        "data_hash": open_manifest(dataset).content_hash,
        "selections": selections_of(dataset, config.recipe.seed),
    }


def plan_of(config: TrainConfig) -> Plan:
    """What will be trained on; InputError where that cannot be.

    Mistakes are found here rather than in every worker.
    """
    dataset, recipe = storage.absolute(config.data), config.recipe
    check_losses(config.model, recipe.loss)
    selected = select_training_images(dataset, open_manifest(dataset), recipe)
    check_losses(config.model, selected.recipe.loss)
    labels = selected.labels
    sampler = BlissSampler(labels.object, selected.positions, recipe.bliss, recipe.seed)
    batch = recipe.tuples_per_step(len(sampler))
    if config.num_workers is not None:
        check_workers(batch, worker_range(config.num_workers)[1], config.model)
    return Plan(
        images=len(labels),
        objects=len(labels.objects),
        tuples=len(sampler),
        left_out=sampler.num_left_out,
        batch=batch,
        tuple_size=recipe.tuple_size,
        steps=recipe.steps or recipe.epochs * (len(sampler) // batch),
        losses_left_out=selected.left_out,
    )
