"""Units of work through the engine: the driver's memory and what a unit costs, however many.

    python benchmarks/engine.py --units 1000 10000 100000
    python benchmarks/engine.py --units 20 80 --work-seconds 0.5

The work is none, or so many seconds of a core, so what is measured is what it takes to hand out
numbers and to hand back results. Each number of units has a process and a cluster of its own.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.report import Options, Table, machine, save
from bridge.common import cli
from bridge.common.record import Count, NonNegative

TABLE = Table(
    "units | plan, bytes | driver at first, MB | at last, MB | bytes a unit | units/s "
    "| idle after a unit, ms",
    "{units:,} | {plan_bytes:,} | {first_mb:,.0f} | {last_mb:,.0f} | {bytes_each:,.0f} "
    "| {rate:,.1f} | {idle_ms:.0f}",
)

MOST_SPELLS = 1000


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """How many."""

    units: tuple[Count, ...] = (1000, 10_000, 100_000)
    """Units of work, of each row of the table."""
    work_seconds: NonNegative = 0.0
    """Seconds of a core that each unit takes."""
    cpus: Count = 2
    """Of the cluster."""


@dataclass(frozen=True)
class Spell:
    """When a unit was worked at, in seconds since 1970, and by which process."""

    process: int
    begun: float
    ended: float


def work(_: int, seconds: float) -> Spell:
    """Keep a core busy for so long."""
    begun, busy = time.time(), time.process_time()
    while time.process_time() - busy < seconds:
        pass
    return Spell(os.getpid(), begun, time.time())


def idle(spells: Sequence[Spell]) -> float:
    """Mean seconds from the end of a unit to the beginning of the next one of its process."""
    by_process = defaultdict(list)
    for spell in sorted(spells, key=lambda s: s.begun):
        by_process[spell.process].append(spell)
    gaps = [b.begun - a.ended for s in by_process.values() for a, b in itertools.pairwise(s)]
    return sum(gaps) / len(gaps)


def measure(units: int, cpus: int, seconds: float) -> dict[str, Any]:
    """Run so many units in this process; a row of the table."""
    from pipelines.stages import cluster, engine

    cluster.connect(cpus)
    process = psutil.Process()
    plan = range(units)
    results = engine.run(work, plan, seconds, actors=engine.Actors())
    spells = [next(results)]
    started, first, last = time.monotonic(), process.memory_info().rss, 0
    for done, spell in enumerate(results, start=2):
        if done % 100 == 0:
            last = max(last, process.memory_info().rss)
        # More of them would be counted as the engine's memory.
        if done <= MOST_SPELLS:
            spells.append(spell)
    last = max(last, process.memory_info().rss)
    return {
        "units": units,
        "plan_bytes": len(pickle.dumps(plan)),
        "first_mb": first / 1e6,
        "last_mb": last / 1e6,
        "bytes_each": (last - first) / units,
        "idle_ms": 1000 * idle(spells),
        "rate": (units - 1) / (time.monotonic() - started),
    }


def run(config: Config) -> None:
    """Measure and report."""
    rows = []
    for units in config.units:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            rows.append(pool.submit(measure, units, config.cpus, config.work_seconds).result())
        print(f"{units:,} units: {rows[-1]['rate']:,.0f} a second", flush=True)
    parts = ["# Units of work through the engine", machine(), TABLE.text(rows)]
    save(config.out, parts, {"rows": rows})


def main() -> None:
    """The command."""
    cli.main(run, Config, description=__doc__)


if __name__ == "__main__":
    main()
