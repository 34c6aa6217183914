"""What a stage says of itself in `<out>/status.json`, for whoever watches it from elsewhere."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from bridge.common import storage
from bridge.common.record import NonNegative, WholeNumber, read_record, to_json

FILE = "status.json"
State = Literal["waiting", "running", "stopping", "done", "stopped", "failed", "interrupted"]
"""waiting: nothing is counted yet. stopping: a limit is reached. stopped: it was."""
ENDED: tuple[State, ...] = ("done", "stopped", "failed", "interrupted")
GATHERING = ("study", "tune", "demo")
"""Stages of stages, which have their own folders below that of the whole."""
SILENCE = 60.0
"""Seconds without a word after which a command is not taken to live any more."""


@dataclass(frozen=True)
class Status:
    """A stage and how far it is.

    Attributes:
        stage: the command.
        state: what it does, or how it ended.
        run_id: of what is made in the folder; commands that continue it keep it.
        command: as it was typed.
        host, pid: where it runs.
        started: when this command began.
        updated: when it last gave a sign of life.
        part: of the stage that is being counted.
        unit: what is counted.
        done, total: of the part; what earlier commands did is included.
        rate: units per second of this command.
        failures: inputs, or runs, that came to nothing.
        seconds_left: of the part; None where that cannot be told.
        note: on the part.
        message: why the stage ended, where it is not done.
        core_hours, gpu_hours: the cores and GPUs of the whole cluster (of this machine where there
            is no cluster) for as long as commands have worked in the folder.
    """

    stage: str
    state: State
    run_id: str
    command: str
    host: str
    pid: WholeNumber
    started: datetime
    updated: datetime
    part: str = ""
    unit: str = ""
    done: WholeNumber = 0
    total: WholeNumber = 0
    rate: NonNegative = 0.0
    failures: WholeNumber = 0
    seconds_left: NonNegative | None = None
    note: str = ""
    message: str = ""
    core_hours: NonNegative = 0.0
    gpu_hours: NonNegative = 0.0

    @property
    def spent(self) -> float:
        """What `max_cost_hours` is compared with."""
        return self.gpu_hours or self.core_hours

    def silent(self, now: datetime | None = None) -> float:
        """Seconds without a sign of life, where there should be one; else 0."""
        if self.state in ENDED:
            return 0.0
        seconds = ((now or datetime.now(UTC)) - self.updated).total_seconds()
        return seconds if seconds >= SILENCE else 0.0


def read_status(folder: str | Path) -> Status:
    """The status of a stage's folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return read_record(Status, storage.join(folder, FILE))


def write_status(folder: str | Path, status: Status) -> None:
    """Write it, so that a reader sees the old one or the new."""
    storage.write_json(storage.join(folder, FILE), to_json(status))


def end_status(folder: str | Path, state: State) -> None:
    """Say how a stage ended whose process could not, as it was ended from outside."""
    with suppress(Exception):
        status = read_status(folder)
        if status.state not in ENDED:
            write_status(folder, replace(status, state=state))
