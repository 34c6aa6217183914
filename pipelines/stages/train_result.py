"""What a finished run was, and where it says so."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.identity import refuse_difference
from bridge.common.record import WholeNumber, read_record

RUN_FILE = "run.json"


@dataclass(frozen=True)
class TrainResult:
    """What a finished run was."""

    model: str
    steps: WholeNumber
    seconds: float
    best: float | None
    """Validation mAP@500 of the model; None without validation objects."""
    unreadable: WholeNumber = 0
    """Training images that could not be decoded and were left out."""


@dataclass(frozen=True)
class RunRecord:
    """`run.json`: the options that decide the weights, and what came of them."""

    config: dict[str, Any]
    complete: bool
    result: TrainResult | None = None

    def save(self, out: str) -> None:
        """Write it into the run's folder."""
        storage.write_json(storage.join(out, RUN_FILE), asdict(self))


def finished_run(out: str, identity: dict[str, Any]) -> TrainResult | None:
    """The result of a complete run in `out`; InputError where another run is there."""
    path = storage.join(out, RUN_FILE)
    if not storage.exists(path):
        return None
    recorded = read_record(RunRecord, path)
    refuse_difference(out, "a run with another configuration", recorded.config, identity)
    if recorded.complete and recorded.result is None:
        raise InputError(f"{path}: result: is missing, although the run is complete.")
    return recorded.result if recorded.complete else None
