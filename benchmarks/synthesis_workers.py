"""Workers of a synthesis run: their memory, and what a second one is worth."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bridge.simulator import Backgrounds, SimulatorConfig
from bridge.synthesis.plan import ShardTask
from bridge.synthesis.shard import make_shard

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Workers:
    """What so many processes did.

    Attributes:
        processes: how many.
        trajectories: in the largest of the shards that they made.
        seconds: wall-clock, for the same shards.
        images: in these shards.
        peak_bytes: most memory that any process had; None where the system does not tell.
    """

    processes: int
    trajectories: int
    seconds: float
    images: int
    peak_bytes: int | None


def measure_workers(
    processes: int,
    tasks: Sequence[ShardTask],
    warm_up: ShardTask,
    config: SimulatorConfig,
    backgrounds: Backgrounds,
) -> Workers:
    """Make shards in fresh processes, which have made `warm_up` before the clock starts.

    The shards are handed out one by one, so that all processes end at about the same time.
    """
    shards = iter(tasks)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        make = partial(_make, config=config, backgrounds=backgrounds, folder=folder)
        executors = [
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
            for _ in range(processes)
        ]
        # As Ray sets it for its workers.
        with _environment("OMP_NUM_THREADS", "1"):
            warm = [executor.submit(_warm_up, make, warm_up) for executor in executors]
        for each in warm:
            each.result()

        def serve(executor: ProcessPoolExecutor) -> list[tuple[int, int | None]]:
            return [executor.submit(make, task).result() for task in shards]

        threads = stack.enter_context(ThreadPoolExecutor(processes))
        started = time.perf_counter()
        done = [answer for answers in threads.map(serve, executors) for answer in answers]
        seconds = time.perf_counter() - started
    images, peaks = zip(*done, strict=True)
    known = [peak for peak in peaks if peak is not None]
    largest = max(sum(len(numbers) for _, numbers in task.trajectories) for task in tasks)
    return Workers(processes, largest, seconds, sum(images), max(known, default=None))


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable for the processes that are started meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _warm_up(make: partial[tuple[int, int | None]], task: ShardTask) -> None:
    # A worker's memory includes what Ray and the driver's modules take.
    importlib.import_module("pipelines.synthesize")
    make(task)


def _make(
    task: ShardTask, config: SimulatorConfig, backgrounds: Backgrounds, folder: str
) -> tuple[int, int | None]:
    """Images in a shard, and this process's peak memory in bytes."""
    result = make_shard(task, config, "jpeg", backgrounds, folder)
    return result.record.rows, _peak_bytes()


def _peak_bytes() -> int | None:
    """Not from getrusage, whose peak includes that of the process which started this one."""
    if not _STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return 1024 * int(lines["VmHWM"].split()[0])
