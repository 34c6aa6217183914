"""What a finished run was, and where it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.common import storage
from bridge.common.identity import refuse_difference

RUN_FILE = "run.json"


@dataclass(frozen=True)
class TrainResult:
    """What a finished run was."""

    model: str
    steps: int
    seconds: float
    best: float | None
    """Validation mAP@500 of the model; None without validation objects."""
    unreadable: int = 0
    """Training images that could not be decoded and were left out."""


def finished_run(out: str, identity: dict[str, Any]) -> TrainResult | None:
    """The result of a complete run in `out`; InputError where another run is there."""
    path = storage.join(out, RUN_FILE)
    if not storage.exists(path):
        return None
    recorded = storage.read_json(path)
    refuse_difference(out, "a run with another configuration", recorded["config"], identity)
    return TrainResult(**recorded["result"]) if recorded["complete"] else None
