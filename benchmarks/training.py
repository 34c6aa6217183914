"""Speed of training: the step, the data, the share of a GPU, and what a second worker adds.

    python benchmarks/training.py                        built-in objects, some minutes
    python benchmarks/training.py --data DATASET --preset paper --tuples 1 --parts step
    python benchmarks/training.py --preset paper --parts gpu     on a machine with a GPU

Nothing here needs Ray. Networks start from random weights, which are as fast as others; nothing is
downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.pictures import dataset_or_pictures, load
from benchmarks.report import Table, machine, save, size_text
from benchmarks.training_data import measure_loader, measure_wait
from benchmarks.training_scaling import measure_scaling
from benchmarks.training_step import measure_gpu, measure_step
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.record import Count, check
from bridge.training.presets import PRESETS
from bridge.training.recipe import Compute, Recipe

Part = Literal["step", "data", "gpu", "scaling"]

STEP = Table(
    "network | size | tuples | one batch | published loop | ratio | that, channels last | ratio "
    "| first loss | of the loop",
    "{preset} | {image_size} | {tuples} | {images_per_second[batched]:.2f} "
    "| {images_per_second[one_by_one]:.2f} | {ratio:.2f} "
    "| {images_per_second[one_by_one_channels_last]:.2f} | {ratio_same_layout:.2f} "
    "| {loss[batched]:.5f} | {loss[one_by_one]:.5f}",
)
WAIT = Table(
    "preset | images per step | waiting for data | images/s | steps",
    "{preset} | {images_per_step} | {data_wait:.2%} | {images_per_second:.1f} | {steps}",
)
LOADER = Table(
    "threads | floor | loader, stored size | share | loader, small | share",
    "{threads} | {floor:,.0f} | {stored:,.0f} | {stored_share:.2f} | {small:,.0f} "
    "| {small_share:.2f}",
)
GPU = Table(
    "variant | images/s | TFLOP/s | share | peak memory, GB | note",
    "{variant} | {images_per_second:.0f} | {tflops:.1f} | {share_of_matmul:.1%} "
    "| {peak_memory_gb:.1f} | {note}",
)
SCALING = Table(
    "way | images per step | seconds per step | efficiency",
    "{way} | {images} | {seconds:.3f} | {efficiency:.1%}",
)
BYTES = Table(
    "all-reduced | all-gathered | broadcast", "{allreduce:,} | {allgather:,} | {broadcast:,}"
)


@dataclass(frozen=True)
class Config:
    """What to measure."""

    data: str = ""
    """A dataset of JPEG images; one of built-in objects is made without it."""
    preset: Literal["paper", "strong", "quick"] = "quick"
    """Network, and recipe of the parts data and scaling."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: on a GPU where there is one."""
    parts: tuple[Part, ...] = ("step", "data", "gpu", "scaling")
    """What to report; gpu is left out where there is none."""
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
    out: Path | None = None
    """Markdown file for the report; the figures go beside it as JSON."""

    def __post_init__(self) -> None:
        check(self)


def run(config: Config) -> dict[str, Any]:
    """Measure, print, and write what the options ask for."""
    gpu = torch.cuda.is_available() and config.device != "cpu"
    if config.device == "cuda" and not gpu:
        raise InputError("There is no GPU here that torch can use: leave out --device cuda.")
    device, compute = "cuda" if gpu else "cpu", Compute(compile=gpu)
    preset = PRESETS[config.preset]
    figures: dict[str, Any] = {"device": device, "preset": config.preset}
    with dataset_or_pictures(config.data, config.pictures) as dataset:
        data = load(dataset)
        if "step" in config.parts:
            tuples = config.tuples or (Recipe().batch_size if gpu else 4)
            figures["step"] = measure_step(
                preset.model, data, tuples=tuples, device=device, compute=compute
            )
        if "data" in config.parts:
            threads, steps = config.threads, config.steps
            figures["wait"] = measure_wait(
                preset, data, device=device, compute=compute, threads=threads, steps=steps
            )
            figures["loader"] = measure_loader(data, config.loader_images, sorted({1, threads}))
        if "gpu" in config.parts and gpu:
            figures["gpu"] = measure_gpu(preset.model, data)
        if "scaling" in config.parts:
            tuples = config.tuples or min(preset.recipe.batch_size, len(data.labels) // 2)
            figures["scaling"] = measure_scaling(preset, dataset, tuples, config.steps)
    save(config.out, report(config, figures), figures)
    return figures


def report(config: Config, figures: dict[str, Any]) -> list[str]:
    """Paragraphs and tables of the parts that were measured."""
    named = {"preset": config.preset}
    parts = [
        "# Speed of training",
        f"{machine()}; {figures['device']}, {torch.get_num_threads()} CPU threads; "
        f"{config.data or 'built-in objects'}; preset {config.preset}.",
    ]
    if "step" in figures:
        parts += [
            "## Step",
            "Images per second of whole optimisation steps with the paper's losses and tuples of "
            "7, medians of rounds in turn, same images and first weights. The published loop takes "
            "one image at a time in torch's default memory layout and float32.",
            STEP.text([named | figures["step"]]),
        ]
    if "wait" in figures:
        loader = figures["loader"]
        parts += [
            "## Data",
            "Share of the time of `Trainer.run`.",
            WAIT.text([named | figures["wait"]]),
            "## Loader",
            f"Images per second; {loader['images']:,} JPEG images of "
            f"{size_text(loader['stored_size'])} pixels and {loader['mean_bytes'] / 1000:.0f} KB, "
            f"small is {size_text(loader['small_size'])}. The floor decodes them whole.",
            LOADER.text(loader["rates"]),
        ]
    if "gpu" in figures:
        gpu = figures["gpu"]
        parts += [
            "## GPU",
            f"{gpu['gpu']}: steps of {gpu['tuples']} tuples of 7 at "
            f"{size_text(gpu['image_size'])}. TFLOP/s are 3 x "
            f"{gpu['forward_gflop_per_image']:.1f} GFLOP per image; the share is that of the "
            f"measured bf16 product of matrices, {gpu['matmul_tflops']:.0f} TFLOP/s.",
            GPU.text(gpu["variants"]),
        ]
    if "scaling" in figures:
        scaling = figures["scaling"]
        parts += [
            "## Two workers",
            f"At {size_text(scaling['image_size'])}, one CPU thread per process, gloo.",
            SCALING.text(scaling["steps"]),
            "Bytes of a step of two processes with the same batch; the all-reduced ones are "
            f"{scaling['all_reduced_mb_per_second']:.1f} MB per second of a process's own "
            "arithmetic.",
            BYTES.text([scaling["bytes"]]),
        ]
    return parts


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
