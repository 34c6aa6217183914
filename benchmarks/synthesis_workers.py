"""Workers of a synthesis run: their memory, and what a second one is worth."""

from __future__ import annotations

import importlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier
from typing import Any

from benchmarks.report import environment, in_processes
from bridge.simulator import Backgrounds, SimulatorConfig
from bridge.synthesis.plan import ShardTask
from bridge.synthesis.shard import make_shard

_STATUS = Path("/proc/self/status")


def measure_workers(
    processes: int, tasks: Sequence[ShardTask], config: SimulatorConfig, backgrounds: Backgrounds
) -> dict[str, Any]:
    """Make shards in fresh processes, which have made the first one before the clock starts.

    Returns:
        The number of processes and of trajectories in the largest shard, wall-clock seconds,
        images and images per second, and the most memory that a process had, in megabytes; None
        where the system does not tell.
    """
    # As Ray sets it for its workers.
    with tempfile.TemporaryDirectory() as folder, environment("OMP_NUM_THREADS", "1"):
        shares = [tasks[rank::processes] for rank in range(processes)]
        done = in_processes(processes, _work, shares, config, backgrounds, folder)
    seconds = max(each["seconds"] for each in done)
    images = sum(each["images"] for each in done)
    return {
        "processes": processes,
        "trajectories": max(sum(len(n) for _, n in task.trajectories) for task in tasks),
        "seconds": seconds,
        "images": images,
        "rate": images / seconds,
        "peak_mb": max((each["peak_mb"] for each in done if each["peak_mb"]), default=None),
    }


def _work(
    rank: int,
    start: Barrier,
    shares: Sequence[Sequence[ShardTask]],
    config: SimulatorConfig,
    backgrounds: Backgrounds,
    folder: str,
) -> dict[str, Any]:
    # A worker's memory includes what Ray and the driver's modules take.
    importlib.import_module("pipelines.synthesize")

    def make(task: ShardTask) -> int:
        return make_shard(task, config, "jpeg", backgrounds, folder).record.rows

    make(shares[rank][0])
    start.wait()
    began = time.perf_counter()
    images = sum(map(make, shares[rank]))
    return {"images": images, "seconds": time.perf_counter() - began, "peak_mb": _peak_mb()}


def _peak_mb() -> float | None:
    """Not from getrusage, whose peak includes that of the process which started this one."""
    if not _STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
