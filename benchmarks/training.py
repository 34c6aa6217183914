"""Speed of training: the step, the data, and what a second worker adds.

    python benchmarks/training.py                        built-in objects, some minutes
    python benchmarks/training.py --data DATASET --preset paper --tuples 1 --parts step

What a GPU makes of it is for benchmarks/gpu.py. Nothing here needs Ray. Networks start from random
weights, which are as fast as others; nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from benchmarks.report import Options, Table, fill, machine, save
from benchmarks.scenes import dataset_or_pictures
from benchmarks.training_measures import (
    load,
    measure_loader,
    measure_step,
    measure_wait,
)
from benchmarks.training_scaling import measure_scaling
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.record import Count
from bridge.training.presets import PRESETS
from bridge.training.recipe import Compute, Recipe

Part = Literal["step", "data", "scaling"]

STEP = Table(
    "network | size | tuples | one batch | published loop | ratio | first loss | of the loop",
    "{preset} | {image_size} | {tuples} | {images_per_second[batched]:.2f} "
    "| {images_per_second[one_by_one]:.2f} | {ratio:.2f} | {loss[batched]:.5f} "
    "| {loss[one_by_one]:.5f}",
)
STEP_TEXT = (
    "Images per second of whole optimisation steps with the paper's losses and tuples of 7, "
    "medians of rounds in turn, same images and first weights. The published loop takes one image "
    "at a time in torch's default memory layout and float32."
)
WAIT = Table(
    "preset | images per step | waiting for data | images/s | steps",
    "{preset} | {images_per_step} | {data_wait:.2%} | {images_per_second:.1f} | {steps}",
)
LOADER_TEXT = (
    "Images per second; {images:,} JPEG images of {stored_size} pixels and {mean_bytes:,.0f} bytes "
    "each, small is {small_size}. The floor decodes them whole."
)
LOADER = Table(
    "threads | floor | loader, stored size | share | loader, small | share",
    "{threads} | {floor:,.0f} | {stored:,.0f} | {stored_share:.2f} | {small:,.0f} "
    "| {small_share:.2f}",
)
SCALING = Table(
    "way | images per step | seconds per step | efficiency",
    "{way} | {images} | {seconds:.3f} | {efficiency:.1%}",
)
BYTES = Table(
    "bytes all-reduced by the same batch | all-gathered | broadcast",
    "{allreduce:,} | {allgather:,} | {broadcast:,}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What to measure."""

    data: str = ""
    """A dataset of JPEG images; one of built-in objects is made without it."""
    preset: Literal["paper", "strong", "quick"] = "quick"
    """Network, and recipe of the parts data and scaling."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: on a GPU where there is one."""
    parts: tuple[Part, ...] = ("step", "data", "scaling")
    """What to report."""
    tuples: Count | None = None
    """Of a step of the parts step (4) and scaling (the preset's) on CPUs."""
    steps: Count = 6
    """That are timed for each figure of the parts data and scaling."""
    threads: Count = 2
    """That decode."""
    pictures: Count = 300
    """Trajectories to make, at 240x320; training takes an image of each."""
    loader_images: Count = 2_000
    """To load for each figure of the loader."""


def run(config: Config) -> dict[str, Any]:
    """Measure, print, and write what the options ask for."""
    gpu = torch.cuda.is_available() and config.device != "cpu"
    if config.device == "cuda" and not gpu:
        raise InputError("There is no GPU here that torch can use: leave out --device cuda.")
    device, compute = "cuda" if gpu else "cpu", Compute(compile=gpu)
    preset, named = PRESETS["bridge"][config.preset], {"preset": config.preset}
    figures: dict[str, Any] = {"device": device} | named
    text = [
        "# Speed of training",
        f"{machine()}; {device}, {torch.get_num_threads()} CPU threads; "
        f"{config.data or 'built-in objects'}; preset {config.preset}.",
    ]
    with dataset_or_pictures(config.data, config.pictures) as dataset:
        data = load(dataset)
        if "step" in config.parts:
            tuples = config.tuples or (Recipe().batch_size if gpu else 4)
            step = named | measure_step(preset.model, data, tuples, device, compute)
            figures["step"] = step
            text += ["## Step", STEP_TEXT, STEP.text([step])]
        if "data" in config.parts:
            wait = named | measure_wait(
                preset, data, device, compute, threads=config.threads, steps=config.steps
            )
            loader = measure_loader(data, config.loader_images, sorted({1, config.threads}))
            figures |= {"wait": wait, "loader": loader}
            text += ["## Data", "Share of the time of `Trainer.run`.", WAIT.text([wait])]
            text += ["## Loader", fill(LOADER_TEXT, loader), LOADER.text(loader["rates"])]
        if "scaling" in config.parts:
            tuples = config.tuples or min(preset.recipe.batch_size, len(data.labels) // 2)
            scaling = measure_scaling(preset, dataset, tuples, config.steps)
            figures["scaling"] = scaling
            text += ["## Two workers", "One CPU thread per process, gloo."]
            text += [SCALING.text(scaling["steps"]), BYTES.text([scaling["bytes"]])]
    save(config.out, text, figures)
    return figures


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
