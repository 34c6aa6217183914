"""CPU seconds of `--help` of every command, against importing torch and the bare interpreter.

    python benchmarks/imports.py                  all commands
    python benchmarks/imports.py --commands train search --rounds 20

Each round starts every program once, one after the other, so that what else the machine does falls
on all of them; medians are told. The ratio is (CPU of `--help` - CPU of the bare interpreter) / CPU
of `python -c "import torch"`; at most 0.15 is wanted. Compiled files lie in a folder of this run;
a first round, which does not count, makes them.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Options, Table, machine, save
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.record import Count
from pipelines.__main__ import commands

ROOT = Path(__file__).parents[1]
BARE, TORCH, MAP = "the bare interpreter", "import torch", "bridge-retrieval"
WANTED = 0.15

TABLE = Table("program | CPU s | ratio", "{program} | {cpu:.3f} | {ratio:.3f}")


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What is started, and how often."""

    commands: tuple[str, ...] = tuple(commands())
    """Names as in `bridge-retrieval NAME`."""
    rounds: Count = 10
    """Starts of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted({*self.commands} - commands().keys()):
            raise InputError(f"`commands` has no {', '.join(unknown)}.")


def run(config: Config) -> dict[str, float]:
    """Measure and print; returns the ratios by command."""
    programs = {BARE: ("-c", "pass"), TORCH: ("-c", "import torch"), MAP: ("-m", "pipelines")}
    for name in config.commands:
        file = f"{commands()[name].replace('.', '/')}.py"
        programs[f"{name} --help"] = (str(ROOT / file), "--help")
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": folder}
        taken: dict[str, list[float]] = {name: [] for name in programs}
        for number in range(config.rounds + 1):
            for name, arguments in programs.items():
                seconds = cpu_seconds(arguments, environment)
                if number:
                    taken[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    ratios = {
        name: (seconds - medians[BARE]) / medians[TORCH]
        for name, seconds in medians.items()
        if name not in (BARE, TORCH)
    }
    records: list[dict[str, Any]] = [
        {"program": name, "cpu": cpu, "ratio": ratios.get(name)} for name, cpu in medians.items()
    ]
    largest = max(ratios.values())
    verdict = f"The largest ratio is {largest:.3f}, {WANTED} are wanted at most."
    figures = {"machine": machine(), "rounds": config.rounds, "programs": records, "all": taken}
    save(config.out, [TABLE.text(records), verdict], figures)
    return ratios


def cpu_seconds(arguments: tuple[str, ...], environment: Mapping[str, str]) -> float:
    """What Python with these arguments takes of all cores, user and system together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        (sys.executable, *arguments), env=environment, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
