"""Progress: a bar on a terminal, a line every few seconds elsewhere, and the status of a stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bridge.common import log, watch
from bridge.common.status import GATHERING

# Only a terminal has bars, which take as long to import as options take to be read.
if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 10.0
_LONGEST = 1e13
"""Seconds that a time span may have to be written; nobody waits for so many."""


@dataclass
class Counter:
    """Counts units of work; `note` is shown behind the count.

    `before` of the units were done by an earlier run: they count, but not for the rate. Of
    `failures` only the status tells.
    """

    name: str
    total: int
    unit: str
    before: int = 0
    done: int = 0
    note: str = ""
    failures: int = 0
    bar: Progress | None = None
    _started: float = field(default_factory=time.monotonic)
    _last_line: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.done = max(self.done, self.before)
        stage = watch.current()
        # Stages of stages count those instead.
        if stage is not None and stage.status.stage not in GATHERING:
            stage.follow(self._values)

    @property
    def rate(self) -> float:
        """Units per second of this run."""
        return (self.done - self.before) / max(time.monotonic() - self._started, 1e-9)

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count some more units, all of whose results are kept.

        Raises:
            Stopped: the stage has cost as much as it may.
        """
        self.done += amount
        self.note = self.note if note is None else note
        if self.bar is not None:
            note = f"{self.rate:,.1f}/s  {self.note}"
            self.bar.update(self.bar.task_ids[0], completed=self.done, note=note)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            log.say(self.line(), "progress", **self._values())
        watch.check()

    def _values(self) -> dict[str, Any]:
        names = ("done", "total", "unit", "rate", "failures", "note")
        return {"part": self.name} | {name: getattr(self, name) for name in names}

    def line(self) -> str:
        """The state in one line: done, share, rate and time left."""
        rate = self.rate
        share = self.done / self.total if self.total else 1.0
        left = f", {duration((self.total - self.done) / rate)} left" if rate > 0 else ""
        note = f", {self.note}" if self.note else ""
        return (
            f"{self.name}: {self.done:,} of {self.total:,} {self.unit} "
            f"({share:.0%}), {rate:,.1f}/s{left}{note}"
        )


def duration(seconds: float) -> str:
    """A time span to read, e.g. "0:00:05" or "2 days, 3:04:05"."""
    return str(timedelta(seconds=round(min(max(seconds, -_LONGEST), _LONGEST))))


@contextmanager
def progress(name: str, total: int, unit: str, before: int = 0) -> Iterator[Counter]:
    """A counter of `total` units, `before` of them done already, that shows itself in the block."""
    if not sys.stdout.isatty():
        yield Counter(name, total, unit, before)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console()) as bar:
        bar.add_task(name, total=total, completed=before, note="")
        yield Counter(name, total, unit, before, bar=bar)
