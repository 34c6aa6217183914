"""How long training waits for data: the share that the trainer itself reports."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from benchmarks.training_step import new_model
from bridge.training.data import TrainingData
from bridge.training.presets import Preset
from bridge.training.recipe import Compute
from bridge.training.trainer import Trainer

LINE = 2
"""Steps between events, each of which holds the share of the time that passed since the last."""


def measure_wait(
    preset: Preset,
    data: TrainingData,
    *,
    device: str = "cpu",
    compute: Compute | None = None,
    threads: int = 2,
    seconds: float = 20.0,
) -> dict[str, Any]:
    """Train for some time with a preset's network and recipe, without validations.

    The first steps are not counted: they start the threads, and choose kernels on a GPU.

    Args:
        preset: network, from random weights, and recipe.
        data: the training selection.
        device: where to compute.
        compute: precision and compilation.
        threads: that decode.
        seconds: to train after the first steps; at least `LINE` steps.

    Returns:
        `data_wait`, a share of the seconds; `images_per_second`, the number of steps and of images
        in each.
    """
    # An end that is never reached.
    recipe = replace(preset.recipe, steps=1_000_000, log_every=LINE)
    model = new_model(preset.model, len(data.labels.objects))
    trainer = Trainer(model, recipe, data, None, device=device, compute=compute, threads=threads)
    waited = total = 0.0
    first = 0
    for event in trainer.run():
        if not first:
            first, end = event.step, time.monotonic() + seconds
            continue
        waited += event.metrics["data_wait"] * event.metrics["seconds"]
        total += event.metrics["seconds"]
        if time.monotonic() >= end:
            break
    steps = trainer.step - first
    return {
        "data_wait": waited / total,
        "images_per_second": steps * trainer.images_per_step / total,
        "steps": steps,
        "images_per_step": trainer.images_per_step,
        "threads": threads,
    }
