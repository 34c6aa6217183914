"""A stage that runs: it has its folder to itself, and says how far it is.

In `status.json`, and as gauges of Ray's while there is a cluster: `ray_bridge_units_done` and so on
at the metrics port of the driver's node, with the tags `stage` and `run`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bridge.common.status import ENDED, Status
from bridge.common.watch import this_machine, watched
from bridge.common.watch_options import LogOptions, WatchOptions
from pipelines.stages.claim import claimed

GAUGES = {
    "bridge_units_done": ("done", "Units of the part that are done, by earlier commands too."),
    "bridge_units_total": ("total", "Units that the part has."),
    "bridge_units_per_second": ("rate", "Units that this command does in a second."),
    "bridge_failures": ("failures", "Inputs or runs that came to nothing."),
    "bridge_seconds_left": ("seconds_left", "Seconds until the part is done."),
    "bridge_core_hours": ("core_hours", "Core-hours that were spent on the folder."),
    "bridge_gpu_hours": ("gpu_hours", "GPU-hours that were spent on the folder."),
    "bridge_is_running": ("", "1 while the command works, 0 once it has ended."),
}
"""What is exported, by name: the field of a status that it is, and what it means."""
_gauges: dict[str, Any] = {}
_making = threading.Lock()


@contextmanager
def running(stage: str, folder: str | Path, options: LogOptions) -> Iterator[str]:
    """Nobody else works in the folder in the block, and `status.json` in it says how far it is.

    Gives its absolute path. Raises as `claimed` and `watched`.
    """
    limit = options.max_cost_hours if isinstance(options, WatchOptions) else None
    with claimed(folder) as out, watched(stage, out, limit, size_of_cluster, publish):
        yield out


def size_of_cluster() -> tuple[float, float]:
    """Cores and GPUs of the cluster, or of this machine as long as there is none."""
    if (ray := sys.modules.get("ray")) is None or not ray.is_initialized():
        return this_machine()
    resources = ray.cluster_resources()
    return float(resources.get("CPU", 0.0)), float(resources.get("GPU", 0.0))


def publish(status: Status) -> None:
    """Set Ray's gauges, where there is a cluster."""
    if (ray := sys.modules.get("ray")) is None or not ray.is_initialized():
        return
    from ray.util.metrics import Gauge

    with _making:
        for name, (_, meaning) in GAUGES.items():
            if name not in _gauges:
                _gauges[name] = Gauge(name, meaning, ("stage", "run"))
    tags = {"stage": status.stage, "run": status.run_id}
    for name, (field, _) in GAUGES.items():
        value = getattr(status, field) if field else status.state not in ENDED
        if value is not None:
            _gauges[name].set(float(value), tags)
