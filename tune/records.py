"""What a search knows of its trials: one JSON file for each, all that a continued search reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bridge.common import storage
from bridge.common.record import Count, WholeNumber, read_record, to_json

FOLDER = "trials"
TRIAL_FILE = "trial.json"
IMAGES = "images"
"""Images that a trial has seen, with repetition, in what it reports."""
DIVERGED = "diverged"
"""Whether a loss of a trial was not finite, in what it reports."""


@dataclass(frozen=True)
class Trial:
    """A trial: the sampled values, and its best validation mAP so far after each validation."""

    config: Mapping[str, int | float | bool | str]
    number: WholeNumber = 0
    """Place in the order of proposals."""
    outcome: Literal["running", "finished", "stopped", "diverged", "failed"] = "running"
    """`running` and `failed` trials are continued by the next search in the folder."""
    scores: Sequence[tuple[Count, float]] = ()
    """Images seen, and the score of a validation then."""

    @property
    def is_done(self) -> bool:
        """Whether it has an outcome that another attempt would not change."""
        return self.outcome not in ("running", "failed")

    @property
    def score(self) -> float | None:
        """The best one; None where there is none yet."""
        return max((score for _, score in self.scores), default=None)

    @property
    def images(self) -> int:
        """How far it came."""
        return max((images for images, _ in self.scores), default=0)

    def with_score(self, images: int, score: float, *, diverged: bool) -> Trial:
        """This trial and a report of it."""
        outcome: Any = DIVERGED if diverged else self.outcome
        return replace(self, outcome=outcome, scores=[*self.scores, (images, score)])


def trial_folder(out: str, config: Mapping[str, Any]) -> str:
    """Where the trial of a configuration is: the same one whenever it is tried."""
    return storage.join(out, FOLDER, storage.sha256_json(dict(config))[:12])


def write_trial(out: str, trial: Trial) -> None:
    """Record a trial."""
    path = storage.join(trial_folder(out, trial.config), TRIAL_FILE)
    storage.write_json(path, to_json(trial))


def read_trial(out: str, config: Mapping[str, Any]) -> Trial:
    """The trial of a configuration; InputError where it was not recorded, or is damaged."""
    return read_record(Trial, storage.join(trial_folder(out, config), TRIAL_FILE))


def read_trials(out: str) -> list[Trial]:
    """All trials that were recorded, in the order of their proposals.

    Raises:
        InputError: a record is damaged.
    """
    paths = [storage.join(f, TRIAL_FILE) for f in storage.list_folders(storage.join(out, FOLDER))]
    found = [read_record(Trial, path) for path in paths if storage.exists(path)]
    return sorted(found, key=lambda trial: trial.number)
