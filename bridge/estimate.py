"""What a synthetic DATASET will cost, measured on a few of its trajectories."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge.dataset.schema import to_table
from bridge.dataset.shards import encode_parquet
from bridge.errors import InputError
from bridge.images import ImageFormat
from bridge.shard_plan import spread
from bridge.simulator import Backgrounds, Mesh, MeshError, ObjectEntry, SimulatorConfig, simulate
from bridge.synthesis import make_rows, renderer_for

MEASURED_TRAJECTORIES = 4


@dataclass(frozen=True)
class Cost:
    """Means over the measured trajectories.

    Attributes:
        measured: how many there were.
        kept: how many of them passed the filter.
        open_seconds: to open an object.
        seconds: to simulate and encode a trajectory on one core, lost ones included.
        bytes: of a trajectory in a shard, lost ones included.
    """

    measured: int
    kept: int
    open_seconds: float
    seconds: float
    bytes: float


def measure(
    entries: Sequence[ObjectEntry],
    simulator: SimulatorConfig,
    image_format: ImageFormat,
    backgrounds: Backgrounds,
) -> Cost:
    """Simulate a trajectory of a few objects in this process; objects that do not open are passed.

    Raises:
        InputError: not one object can be opened.
    """
    opened: list[float] = []
    simulated: list[float] = []
    kept: list[list[dict[str, Any]]] = []

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
        started = time.perf_counter()
        rows = make(entry, mesh)
        simulated.append(time.perf_counter() - started)
        kept += [rows] if rows else []
        if len(simulated) == MEASURED_TRAJECTORIES:
            break
    if not simulated:
        raise InputError(f"Not one of the {len(entries)} objects can be opened.")
    count = len(simulated)
    return Cost(
        measured=count,
        kept=len(kept),
        open_seconds=sum(opened) / count,
        seconds=sum(simulated) / count,
        bytes=len(encode_parquet(to_table([row for rows in kept for row in rows]))) / count,
    )
