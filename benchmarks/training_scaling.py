"""Two processes of one CPU thread each that train together, against one of them alone."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from benchmarks.pictures import load
from benchmarks.report import one_core
from benchmarks.training_step import new_model
from bridge.training.data import Batch, TrainingData
from bridge.training.distributed import World
from bridge.training.presets import Preset
from bridge.training.trainer import Trainer, share_of

WORKERS = 2
ROUNDS = 3
"""Of one process, two with its batch, and two with a batch each, in turn."""
WARM_UPS = 2

COLLECTIVES = {
    "allreduce": torch.ops.c10d.allreduce_,
    "allgather": torch.ops.c10d.allgather_,
    "broadcast": torch.ops.c10d.broadcast_,
}
"""What the workers call to send each other tensors."""


@register_flop_formula(list(COLLECTIVES.values()), get_raw=True)
def _bytes_of(tensors: torch.Tensor | Sequence[Any], *_: Any, **__: Any) -> int:
    """What torch's counter of arithmetic adds up for a collective: the bytes it is handed, which
    for a gathering are those of all workers' tensors together."""
    return tensors.nbytes if isinstance(tensors, torch.Tensor) else sum(map(_bytes_of, tensors))


def measure_scaling(preset: Preset, dataset: str, tuples: int, steps: int) -> dict[str, Any]:
    """Seconds of a step, and the bytes of a step of two processes.

    Args:
        preset: network, from random weights, and recipe.
        dataset: its folder, with at least twice `tuples` images.
        tuples: of a step.
        steps: that are timed in each of the `ROUNDS`.

    Returns:
        Median seconds of a step of one process, of two with the same batch (strong scaling) and
        with twice the batch (weak), with efficiencies, 1 being perfect; the bytes of each kind
        that a step of two processes with the same batch hands to torch.distributed.
    """
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_work, (preset, dataset, tuples, steps, Path(folder)), nprocs=WORKERS)
        found = torch.load(Path(folder) / "figures.pt", weights_only=True)
    single, strong, weak = (statistics.median(found[part]) for part in ("single", "strong", "weak"))
    images = tuples * preset.recipe.tuple_size

    def row(way: str, number: int, seconds: float, efficiency: float | None) -> dict[str, Any]:
        return {"way": way, "images": number, "seconds": seconds, "efficiency": efficiency}

    return {
        "image_size": preset.model.image_size,
        "steps": [
            row("1 process", images, single, None),
            row("2 processes, same batch", images, strong, single / strong / WORKERS),
            row("2 processes, a batch each", WORKERS * images, weak, single / weak),
        ],
        "bytes": found["bytes"],
        "all_reduced_mb_per_second": found["bytes"]["allreduce"] / single * WORKERS / 1e6,
    }


def _work(rank: int, preset: Preset, dataset: str, tuples: int, steps: int, folder: Path) -> None:
    torch.set_num_threads(1)
    data = load(dataset)
    figures: dict[str, Any] = {"single": [], "strong": [], "weak": []}
    with one_core(rank):
        for number in range(ROUNDS):
            if rank == 0:
                figures["single"].append(_Step(preset, data, tuples).timed(steps))
            with _together(rank, folder / f"group-{number}"):
                strong = _Step(preset, data, tuples)
                figures["strong"].append(strong.timed(steps))
                figures["bytes"] = strong.bytes()
                figures["weak"].append(_Step(preset, data, tuples * WORKERS).timed(steps))
    if rank == 0:
        torch.save(figures, folder / "figures.pt")


class _Step:
    """A trainer of the current world, warmed up, with this rank's part of a batch."""

    def __init__(self, preset: Preset, data: TrainingData, tuples: int) -> None:
        recipe = replace(preset.recipe, batch_size=tuples)
        model = new_model(preset.model, len(data.labels.objects))
        world = World.current()
        self._trainer = Trainer(model, recipe, data, None)
        rows = share_of(self._trainer.sampler.plan(0)[:tuples], world.rank, world.size)
        self._batch: Batch = data.batch(rows, model.config.image_size)
        self.timed(WARM_UPS)

    def timed(self, steps: int) -> float:
        """Seconds of a step, the mean of some, all ranks starting together."""
        if dist.is_initialized():
            dist.barrier()
        start = time.perf_counter()
        for _ in range(steps):
            self._trainer.train_step(self._batch)
        return (time.perf_counter() - start) / steps

    def bytes(self) -> dict[str, int]:
        """Handed to torch.distributed in one step."""
        with FlopCounterMode(display=False) as counter:
            self._trainer.train_step(self._batch)
        counted = counter.get_flop_counts()["Global"]
        return {name: counted.get(call, 0) for name, call in COLLECTIVES.items()}


@contextmanager
def _together(rank: int, file: Path) -> Iterator[None]:
    """A process group, which the processes wait for."""
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=WORKERS)
    try:
        yield
    finally:
        dist.destroy_process_group()
