"""Two processes of one CPU thread each that train together, against one of them alone."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.tables import one_core
from benchmarks.training_bytes import CountBytes, traffic
from benchmarks.training_pictures import load
from benchmarks.training_step import new_model
from bridge.training.data import Batch, TrainingData
from bridge.training.presets import Preset
from bridge.training.trainer import Trainer, share_of

WORKERS = 2
ROUNDS = 3
"""Of one process, two with its batch, and two with a batch each, in turn."""
WARM_UPS = 2


@dataclass(frozen=True)
class Job:
    """What the processes measure.

    Attributes:
        preset: network, from random weights, and recipe.
        dataset: its folder.
        tuples: of a step of one process.
        seconds: for all rounds.
        folder: where the first process leaves its figures.
    """

    preset: Preset
    dataset: str
    tuples: int
    seconds: float
    folder: Path


def measure_scaling(preset: Preset, dataset: str, tuples: int, seconds: float) -> dict[str, Any]:
    """Seconds of a step, and the bytes of a step of two processes.

    Args:
        preset: network, from random weights, and recipe.
        dataset: its folder, with at least twice `tuples` images.
        tuples: of a step.
        seconds: to spend, roughly.

    Returns:
        Median seconds of a step of one process, of two with the same batch (strong scaling) and
        with twice the batch (weak); efficiencies, 1 being perfect; bytes counted and computed.
    """
    with tempfile.TemporaryDirectory() as name:
        job = Job(preset, dataset, tuples, seconds, Path(name))
        mp.spawn(_work, (job,), nprocs=WORKERS)
        found = torch.load(job.folder / "figures.pt", weights_only=True)
    single, strong, weak = (statistics.median(found[part]) for part in ("single", "strong", "weak"))
    model = new_model(preset.model, len(load(dataset).labels.objects))
    images = tuples * preset.recipe.tuple_size
    # Where the tuples do not divide, the last process fills up its part.
    padded = -(-tuples // WORKERS) * WORKERS * preset.recipe.tuple_size
    return {
        "tuples": tuples,
        "images": images,
        "image_size": preset.model.image_size,
        "seconds": {"single": single, "strong": strong, "weak": weak},
        "strong_speedup": single / strong,
        "strong_efficiency": single / strong / WORKERS,
        "weak_efficiency": single / weak,
        "counted_bytes": found["bytes"],
        "counted_calls": found["calls"],
        "computed_bytes": asdict(traffic(model, padded)),
        "bytes_all_reduced_per_compute_second": found["bytes"]["allreduce"] / single * WORKERS,
    }


def _work(rank: int, job: Job) -> None:
    torch.set_num_threads(1)
    data = load(job.dataset)
    figures: dict[str, Any] = {"single": [], "strong": [], "weak": []}
    with one_core(rank):
        for number in range(ROUNDS):
            steps = 0
            if rank == 0:
                step = _Step(job, data, job.tuples)
                steps = _steps(step.timed(1), job.seconds / ROUNDS)
                figures["single"].append(step.timed(steps))
            with _together(rank, job.folder / f"group-{number}"):
                agreed = torch.tensor([steps])
                dist.broadcast(agreed, 0)
                for name, tuples in (("strong", job.tuples), ("weak", job.tuples * WORKERS)):
                    step = _Step(job, data, tuples)
                    figures[name].append(step.timed(int(agreed)))
                    if name == "strong":
                        figures |= step.counted()
    if rank == 0:
        torch.save(figures, job.folder / "figures.pt")


def _steps(step: float, seconds: float) -> int:
    """Timed steps of each of the three parts of a round; the parts together are 3 steps long."""
    parts = 3
    return max(1, round(seconds / (parts * step)) - WARM_UPS)


class _Step:
    """A trainer of the current world, warmed up, with this rank's part of a batch."""

    def __init__(self, job: Job, data: TrainingData, tuples: int) -> None:
        recipe = replace(job.preset.recipe, batch_size=tuples)
        model = new_model(job.preset.model, len(data.labels.objects))
        self._trainer = Trainer(model, recipe, data, None)
        self._batch = self._part(data, tuples)
        self.timed(WARM_UPS)

    def _part(self, data: TrainingData, tuples: int) -> Batch:
        size = dist.get_world_size() if dist.is_initialized() else 1
        rank = dist.get_rank() if dist.is_initialized() else 0
        rows = share_of(self._trainer.sampler.plan(0)[:tuples], rank, size)
        return data.batch(rows, self._trainer.model.config.image_size)

    def timed(self, steps: int) -> float:
        """Seconds of a step, the mean of some, all ranks starting together."""
        if dist.is_initialized():
            dist.barrier()
        start = time.perf_counter()
        for _ in range(steps):
            self._trainer.train_step(self._batch)
        return (time.perf_counter() - start) / steps

    def counted(self) -> dict[str, dict[str, int]]:
        """Bytes and calls of one step."""
        with CountBytes() as count:
            self._trainer.train_step(self._batch)
        return {"bytes": dict(count.bytes), "calls": dict(count.calls)}


@contextmanager
def _together(rank: int, file: Path) -> Iterator[None]:
    """A process group, which the processes wait for."""
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=WORKERS)
    try:
        yield
    finally:
        dist.destroy_process_group()
