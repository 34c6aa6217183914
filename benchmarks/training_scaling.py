"""Two processes of one CPU thread each that train together, against one of them alone."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from benchmarks.report import in_processes, one_core
from benchmarks.steps import new_model
from benchmarks.training_measures import load
from bridge.training.data import TrainingData
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
    """Train with one process, with two and the same batch, and with two and a batch each.

    `steps` are timed in each of the `ROUNDS`, of a dataset of at least twice `tuples` images.

    Returns:
        Median seconds of a step of each way, with efficiencies, 1 being perfect; the bytes of each
        kind that a step of two processes with the same batch hands to torch.distributed.
    """
    with tempfile.TemporaryDirectory() as folder:
        found, _ = in_processes(WORKERS, _work, preset, dataset, tuples, steps, folder)
    single, strong, weak = (statistics.median(found[part]) for part in ("single", "strong", "weak"))
    images = tuples * preset.recipe.tuple_size
    rows = {
        "1 process": (images, single, None),
        "2 processes, same batch": (images, strong, single / strong / WORKERS),
        "2 processes, a batch each": (WORKERS * images, weak, single / weak),
    }
    return {
        "image_size": preset.model.image_size,
        "steps": [
            {"way": way, "images": number, "seconds": seconds, "efficiency": efficiency}
            for way, (number, seconds, efficiency) in rows.items()
        ],
        "bytes": found["bytes"],
    }


def _work(
    rank: int, start: Barrier, preset: Preset, dataset: str, tuples: int, steps: int, folder: str
) -> dict[str, Any]:
    torch.set_num_threads(1)
    data = load(dataset)
    found: dict[str, Any] = {"single": [], "strong": [], "weak": []}
    with one_core(rank):
        for number in range(ROUNDS):
            if rank == 0:
                found["single"].append(_Step(preset, data, tuples).seconds(steps))
            with _together(rank, f"{folder}/group-{number}"):
                strong = _Step(preset, data, tuples)
                found["strong"].append(strong.seconds(steps))
                found["bytes"] = strong.bytes()
                found["weak"].append(_Step(preset, data, tuples * WORKERS).seconds(steps))
    return found


class _Step:
    """A trainer of the current world, warmed up, with this rank's part of a batch."""

    def __init__(self, preset: Preset, data: TrainingData, tuples: int) -> None:
        model, world = new_model(preset.model, len(data.labels.objects)), World.current()
        trainer = Trainer(model, replace(preset.recipe, batch_size=tuples), data, None)
        rows = share_of(trainer.sampler.plan(0)[:tuples], world.rank, world.size)
        self._step = partial(trainer.train_step, data.batch(rows, model.config.image_size))
        self.seconds(WARM_UPS)

    def seconds(self, steps: int) -> float:
        """Of a step, the mean of some, all ranks starting together."""
        if dist.is_initialized():
            dist.barrier()
        start = time.perf_counter()
        for _ in range(steps):
            self._step()
        return (time.perf_counter() - start) / steps

    def bytes(self) -> dict[str, int]:
        """Handed to torch.distributed in one step."""
        with FlopCounterMode(display=False) as counter:
            self._step()
        counted = counter.get_flop_counts()["Global"]
        return {name: counted.get(call, 0) for name, call in COLLECTIVES.items()}


@contextmanager
def _together(rank: int, file: str) -> Iterator[None]:
    """A process group, which the processes wait for."""
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=WORKERS)
    try:
        yield
    finally:
        dist.destroy_process_group()
