"""Progress: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Counter:
    """Counts units of work; `note` is shown behind the count."""

    name: str
    total: int
    unit: str
    done: int = 0
    note: str = ""
    bar: Progress | None = None
    _started: float = field(default_factory=time.monotonic)
    _last_line: float = field(default_factory=time.monotonic)

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count some more units."""
        self.done += amount
        self.note = self.note if note is None else note
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done, note=self.note)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(self.line(), flush=True)

    def line(self) -> str:
        """The state in one line: done, share, rate and time left."""
        rate = self.done / max(time.monotonic() - self._started, 1e-9)
        share = self.done / self.total if self.total else 1.0
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate > 0 else ""
        note = f", {self.note}" if self.note else ""
        return (
            f"{self.name}: {self.done:,} of {self.total:,} {self.unit} "
            f"({share:.0%}), {rate:,.1f}/s{left}{note}"
        )


@contextmanager
def progress(name: str, total: int, unit: str) -> Iterator[Counter]:
    """A counter of `total` units that shows itself while the block runs."""
    if not sys.stdout.isatty():
        yield Counter(name, total, unit)
        return
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
        bar.add_task(name, total=total, note="")
        yield Counter(name, total, unit, bar=bar)
