"""Options of every stage: how it logs, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.common.record import Positive, check


@dataclass(frozen=True)
class LogOptions:
    """How a stage logs."""

    log_json: bool = False
    """Print a JSON object a line, with time, run, stage, event and numbers, on the standard output
    in place of progress; errors are objects too, on the standard error."""


@dataclass(frozen=True)
class WatchOptions(LogOptions):
    """How a stage logs, and what it may cost.

    Raises:
        InputError: an option out of its range.
    """

    max_cost_hours: Positive | None = None
    """Stop when so many core-hours were spent on --out, or GPU-hours where the cluster has GPUs:
    all of its cores or GPUs for as long as commands work there. The same command with more goes
    on."""

    def __post_init__(self) -> None:
        check(self)
