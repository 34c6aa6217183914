"""What a synthetic DATASET will cost, measured on a few of its trajectories."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge.common.errors import InputError
from bridge.common.picture_options import ImageFormat
from bridge.dataset.schema import to_table
from bridge.dataset.shards import encode_parquet
from bridge.simulator import Backgrounds, Mesh, MeshError, ObjectEntry, SimulatorConfig, simulate
from bridge.synthesis.plan import spread
from bridge.synthesis.shard import make_rows, renderer_for

LEAST_MEASURED = 16
MOST_MEASURED = 256
LEAST_SECONDS = 10.0
MOST_SECONDS = 30.0


@dataclass(frozen=True)
class Cost:
    """Means over the measured trajectories.

    Attributes:
        measured: how many there were.
        kept: how many of them passed the filter.
        open_seconds: to open an object.
        seconds: to simulate and encode a trajectory on one core, lost ones included.
        deviation: standard deviation of that between trajectories; 0 where there is but one.
        bytes: of a trajectory in a shard, lost ones included.
    """

    measured: int
    kept: int
    open_seconds: float
    seconds: float
    deviation: float
    bytes: float

    @property
    def error(self) -> float:
        """Standard error of the mean of `seconds`."""
        return self.deviation / math.sqrt(self.measured)


def is_enough(measured: int, seconds: float) -> bool:
    """Whether so many trajectories, which took so long, are enough for an estimate."""
    at_least = measured >= LEAST_MEASURED and seconds >= LEAST_SECONDS
    return at_least or measured >= MOST_MEASURED or seconds >= MOST_SECONDS


def measure(
    entries: Sequence[ObjectEntry],
    simulator: SimulatorConfig,
    image_format: ImageFormat,
    backgrounds: Backgrounds,
) -> Cost:
    """Simulate a trajectory of several objects in this process until that `is_enough`.

    Objects that do not open are passed over.

    Raises:
        InputError: not one object can be opened.
    """
    opened: list[float] = []
    simulated: list[float] = []
    kept: list[list[dict[str, Any]]] = []
    began = time.perf_counter()

    def make(entry: ObjectEntry, mesh: Mesh) -> list[dict[str, Any]]:
        renderer = renderer_for(simulator)
        samples = simulate(mesh, entry.object_id, 0, simulator, renderer, backgrounds)
        return make_rows(entry, 0, samples, image_format)

    for entry in spread(entries, simulator.seed):
        started = time.perf_counter()
        try:
            mesh = entry.load()
        except MeshError:
            continue
        opened.append(time.perf_counter() - started)
        if not simulated:
            # What is compiled or uploaded only once must not count.
            make(entry, mesh)
            began = time.perf_counter()
        started = time.perf_counter()
        rows = make(entry, mesh)
        simulated.append(time.perf_counter() - started)
        kept += [rows] if rows else []
        if is_enough(len(simulated), time.perf_counter() - began):
            break
    if not simulated:
        raise InputError(f"Not one of the {len(entries)} objects can be opened.")
    count = len(simulated)
    return Cost(
        measured=count,
        kept=len(kept),
        open_seconds=statistics.mean(opened),
        seconds=statistics.mean(simulated),
        deviation=statistics.stdev(simulated) if count > 1 else 0.0,
        bytes=len(encode_parquet(to_table([row for rows in kept for row in rows]))) / count,
    )
