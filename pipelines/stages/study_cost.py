"""What a study would cost, from a few random images through each of its networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bridge.common.progress import duration
from bridge.model.config import ModelConfig
from bridge.model.registry import build_model
from bridge.training.cost import TrainingEstimate, estimate
from pipelines.stages.study_plan import Run
from pipelines.stages.study_runs import Room, scores_of

SECONDS_PER_NETWORK = 2.0


def print_cost(runs: Sequence[Run], room: Room) -> None:
    """Print the runs, and the time and the core- or GPU-hours of those that are left."""
    device = "cuda" if room.gpus and torch.cuda.is_available() else "cpu"
    known: dict[ModelConfig, TrainingEstimate] = {}
    total = 0.0
    print(f"{'run':<48} {'steps':>9} {'image passes':>13} {'parameters':>12} {'hours':>8}")
    for run in runs:
        seconds, parameters = _seconds(run, known, device)
        is_done = scores_of(run) is not None
        total += 0.0 if is_done else seconds
        state = "done" if is_done else f"{seconds / 3600:.2f}"
        print(
            f"{run.name:<48} {run.steps:>9,} {run.passes:>13,} {parameters:>12,} {state:>8}",
            flush=True,
        )
    at_once = min(room.runs, max(1, len(runs)))
    share = "a GPU" if room.gpus else f"{room.cores:g} cores"
    kind = "GPU-hours" if room.gpus else "core-hours"
    hours = total / 3600 * (1 if room.gpus else room.cores)
    print(
        f"{len(runs)} runs, {at_once} at a time with {share} each: about "
        f"{duration(total / at_once)}, {hours:.1f} {kind}; from random images on {device}, "
        "training alone, without reading data, validation, indexing and evaluation"
    )


def _seconds(
    run: Run, known: dict[ModelConfig, TrainingEstimate], device: str
) -> tuple[float, int]:
    """Of a run's training, and the parameters of its network without the classifier."""
    if run.training is None:
        model = build_model(run.network)
        return 0.0, sum(parameter.numel() for parameter in model.parameters())
    if run.network not in known:
        known[run.network] = estimate(
            build_model(run.network),
            run.training.recipe,
            images_per_step=run.images_per_step,
            total_steps=1,
            device=device,
            compute=run.training.compute,
            measure_seconds=SECONDS_PER_NETWORK,
        )
    found = known[run.network]
    seconds_per_image = found.seconds_per_step / found.images_per_worker
    return run.passes * seconds_per_image, found.parameters
