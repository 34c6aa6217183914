"""Units of work through the engine: the driver's memory and what a unit costs, however many.

    python benchmarks/engine.py --units 1000 10000 100000

The work is none, so what is measured is what it takes to hand out numbers and to hand back results.
Each number of units has a process and a cluster of its own.
"""

from __future__ import annotations

import multiprocessing
import operator
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.report import Options, Table, machine, save
from bridge.common import cli
from bridge.common.record import Count

TABLE = Table(
    "units | plan, bytes | driver at first, MB | at last, MB | bytes a unit | units/s",
    "{units:,} | {plan_bytes:,} | {first_mb:,.0f} | {last_mb:,.0f} | {bytes_each:,.0f} "
    "| {rate:,.0f}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """How many."""

    units: tuple[Count, ...] = (1000, 10_000, 100_000)
    """Units of work, of each row of the table."""
    cpus: Count = 2
    """Of the cluster."""


def measure(units: int, cpus: int) -> dict[str, Any]:
    """Run so many units in this process; a row of the table."""
    from pipelines.stages import cluster, engine

    cluster.connect(cpus)
    process = psutil.Process()
    plan = range(units)
    results = engine.run(operator.index, plan, actors=engine.Actors())
    next(results)
    started, first, last = time.monotonic(), process.memory_info().rss, 0
    for done, _ in enumerate(results, start=2):
        if done % 100 == 0:
            last = max(last, process.memory_info().rss)
    last = max(last, process.memory_info().rss)
    return {
        "units": units,
        "plan_bytes": len(pickle.dumps(plan)),
        "first_mb": first / 1e6,
        "last_mb": last / 1e6,
        "bytes_each": (last - first) / units,
        "rate": (units - 1) / (time.monotonic() - started),
    }


def run(config: Config) -> None:
    """Measure and report."""
    rows = []
    for units in config.units:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            rows.append(pool.submit(measure, units, config.cpus).result())
        print(f"{units:,} units: {rows[-1]['rate']:,.0f} a second", flush=True)
    parts = ["# Units of work through the engine", machine(), TABLE.text(rows)]
    save(config.out, parts, {"rows": rows})


def main() -> None:
    """The command."""
    cli.main(run, Config, description=__doc__)


if __name__ == "__main__":
    main()
