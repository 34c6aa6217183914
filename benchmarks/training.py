"""Speed of training: the step, the data, the share of a GPU, and what a second worker adds.

    python benchmarks/training.py                        random pictures, some minutes
    python benchmarks/training.py --data DATASET --seconds 300 --out runs/training.md
    python benchmarks/training.py --parts gpu            on a machine with a GPU

Nothing here needs Ray: a machine with this repository (PYTHONPATH=.), torch, torchvision, timm,
numpy, scipy, numba, pyarrow, pillow, simplejpeg, safetensors, pyyaml, tqdm and tyro is enough.
Networks start from random weights, which are as fast as others; nothing is downloaded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks import training_loader
from benchmarks.tables import save
from benchmarks.training_bytes import on_paper
from benchmarks.training_gpu import measure_gpu
from benchmarks.training_pictures import load, write_pictures
from benchmarks.training_report import markdown
from benchmarks.training_scaling import measure_scaling
from benchmarks.training_step import measure_step, new_model
from benchmarks.training_wait import LINE, measure_wait
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.training.data import TrainingData
from bridge.training.presets import PRESETS
from bridge.training.recipe import Compute

Part = Literal["step", "data", "gpu", "scaling"]


@dataclass(frozen=True)
class Config:
    """What to measure."""

    data: str = ""
    """A dataset of JPEG images; random pictures are made without it."""
    preset: Literal["paper", "strong", "quick"] | None = None
    """Network and recipe; default: those of paper and quick."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: on a GPU where there is one."""
    parts: tuple[Part, ...] = ("step", "data", "gpu", "scaling")
    """What to report; gpu is left out where there is none."""
    seconds: float = 40.0
    """For each measured figure, roughly; a step of the paper's network on a CPU takes longer."""
    tuples: int = 0
    """Of a step of the parts step and scaling; 0: the preset's, or fewer where time is short."""
    threads: int = 2
    """That decode."""
    pictures: int = 300
    """To make, at 240x320."""
    loader_images: int = 2_000
    """To load for each figure of the loader."""
    bandwidth_gb: float = 50.0
    """Of each GPU, GB/s, for the efficiency on paper: 50 is 400 Gb/s."""
    gpu_images_per_second: float = 412.0
    """Of each GPU, for the same: inferred for an A100 with mixed precision, not measured."""
    out: Path | None = None
    """Markdown file for the report; the figures go beside it as JSON."""

    @property
    def presets(self) -> tuple[str, ...]:
        """Names of the presets that are measured."""
        return (self.preset,) if self.preset else ("paper", "quick")


def run(config: Config) -> dict[str, Any]:
    """Measure, print, and write what the options ask for."""
    device = _device(config.device)
    with _dataset(config) as dataset:
        data = load(dataset)
        figures: dict[str, Any] = {
            "device": device,
            "cores": torch.get_num_threads(),
            "data": config.data or "random pictures",
        }
        if "step" in config.parts:
            figures["step"] = _steps(config, data, device)
        if "data" in config.parts:
            figures["wait"] = _waits(config, data, device, figures.get("step", {}))
            figures["loader"] = training_loader.measure(
                training_loader.Config(data=dataset, images=config.loader_images)
            )
        if "gpu" in config.parts:
            name = config.preset or "paper"
            figures["gpu"] = (
                None if device == "cpu" else measure_gpu(PRESETS["bridge"][name].model, data)
            )
        if "scaling" in config.parts:
            figures["scaling"] = _scaling(config, dataset, len(data.labels))
            figures["on_paper"] = _on_paper(config)
    save(config.out, markdown(figures), figures)
    return figures


def _device(wanted: str) -> str:
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise InputError("There is no GPU here that torch can use: leave out --device cuda.")
    return "cuda" if there and wanted != "cpu" else "cpu"


def _compute(device: str) -> Compute:
    return Compute(compile=device != "cpu")


@contextmanager
def _dataset(config: Config) -> Iterator[str]:
    """The dataset of the options, or a temporary one."""
    if config.data:
        yield config.data
        return
    with tempfile.TemporaryDirectory() as folder:
        kept = os.environ.get("BRIDGE_CACHE")
        os.environ["BRIDGE_CACHE"] = str(Path(folder) / "cache")
        try:
            write_pictures(Path(folder) / "data", config.pictures)
            yield str(Path(folder) / "data")
        finally:
            os.environ.pop("BRIDGE_CACHE")
            if kept is not None:
                os.environ["BRIDGE_CACHE"] = kept


def _steps(config: Config, data: TrainingData, device: str) -> dict[str, Any]:
    found = {}
    for name in config.presets:
        print(f"step: {name}", flush=True)
        found[name] = measure_step(
            PRESETS["bridge"][name].model,
            data,
            device=device,
            compute=_compute(device),
            tuples=config.tuples,
            seconds=config.seconds,
        )
    return found


def _waits(
    config: Config, data: TrainingData, device: str, steps: dict[str, Any]
) -> dict[str, Any]:
    """Of each preset whose full steps fit into the time; the seconds of a step of the others."""
    found: dict[str, Any] = {}
    for name in config.presets:
        recipe = PRESETS["bridge"][name].recipe
        images = recipe.tuples_per_step(len(data.labels)) * recipe.tuple_size
        rate = steps[name]["images_per_second"]["batched"] if name in steps else None
        if rate and 2 * LINE * images / rate > 2 * config.seconds:
            found[name] = {"images_per_step": images, "too_long": images / rate}
            continue
        print(f"data: {name}", flush=True)
        found[name] = measure_wait(
            PRESETS["bridge"][name],
            data,
            device=device,
            compute=_compute(device),
            threads=config.threads,
            seconds=config.seconds,
        )
    return found


def _scaling(config: Config, dataset: str, images: int) -> dict[str, Any]:
    """Of the preset that was asked for, else of quick: one CPU thread takes long for others."""
    name = config.preset or "quick"
    print(f"scaling: {name}", flush=True)
    tuples = config.tuples or min(PRESETS["bridge"][name].recipe.batch_size, images // 2)
    return {"preset": name} | measure_scaling(
        PRESETS["bridge"][name], dataset, tuples, seconds=config.seconds
    )


def _on_paper(config: Config) -> dict[str, Any]:
    """8 and 64 GPUs with the paper's batch each, and 8 that share one."""
    preset = PRESETS["bridge"][config.preset if config.preset in ("paper", "strong") else "paper"]
    model = new_model(preset.model)
    batch = preset.recipe.batch_size * preset.recipe.tuple_size
    return {
        "bandwidth_gb": config.bandwidth_gb,
        "gpu_images_per_second": config.gpu_images_per_second,
        "rows": [
            on_paper(
                model, images, workers, config.bandwidth_gb * 1e9, config.gpu_images_per_second
            )
            for workers, images in ((8, batch), (8, 8 * batch), (64, 64 * batch))
        ],
    }


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
