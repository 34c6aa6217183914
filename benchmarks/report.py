"""What the benchmarks share: declared tables, the report of a run, one core to time on.

A benchmark collects its figures as records and declares a table as two lines, its titles and a
format string; the same figures go into the JSON file beside the report:

    RATES = Table("network | images/s", "{preset} | {rates[batched]:.1f}")
    RATES.text([{"preset": "quick", "rates": {"batched": 162.03}}])
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, TypeVar

import numpy as np

from bridge.common.record import check

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every benchmark can be told, checked by the types of its options."""

    seed: int = 0
    """Of everything random."""
    out: Path | None = None
    """Markdown file for the report; the figures go beside it as JSON."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Table:
    """Titles, and what of a record (a mapping) stands below them, both divided by "|"."""

    titles: str
    row: str

    def text(self, records: Iterable[Mapping[str, Any]]) -> str:
        """In Markdown, aligned for reading as plain text too."""
        rows = [fill(self.row, record) for record in records]
        lines = [[cell.strip() for cell in line.split("|")] for line in (self.titles, *rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, ["-" * width for width in widths])
        padded = [
            [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def fill(text: str, record: Mapping[str, Any]) -> str:
    """`text.format(**record)`, but what a record lacks stays empty, and sizes read 240x320."""
    return _Filler().vformat(text, (), record)


class _Filler(Formatter):
    def get_field(
        self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, Any]:
        try:
            return super().get_field(field_name, args, kwargs)
        except (KeyError, TypeError):
            return None, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return ""
        if isinstance(value, (tuple, list)):
            return "x".join(map(str, value))
        return super().format_field(value, format_spec)


def save(out: Path | None, parts: Sequence[str], figures: Mapping[str, Any]) -> None:
    """Print paragraphs and tables, and write them to a file with the figures beside it as JSON."""
    text = "\n\n".join(parts)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
        beside = out.with_suffix(".json")
        content = {"machine": machine(), **figures}
        beside.write_text(json.dumps(content, indent=1, default=plain) + "\n")
        print(f"\nwritten: {out}, {beside}")


def plain(value: Any) -> Any:
    """What JSON has no word for."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def machine() -> str:
    """The processor that was measured on."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def in_processes(number: int, work: Callable[..., Result], *arguments: Any) -> list[Result]:
    """What fresh processes return that call `work(rank, start, *arguments)` at the same time.

    `start` is a barrier: all wait at it (`start.wait()`) until the last has warmed up.
    """
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(number, mp_context=context) as pool:
        start = manager.Barrier(number)
        calls = [pool.submit(work, rank, start, *arguments) for rank in range(number)]
        return [call.result() for call in calls]


def peak_gb() -> float | None:
    """Most memory that this process had, where the system tells.

    Not from getrusage, whose peak includes that of the process which started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e9


@contextmanager
def one_core(number: int = 0) -> Iterator[None]:
    """Keep this thread, and the processes that it starts, on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
