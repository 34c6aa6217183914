"""What trials came to, from the logs of their trainings: one row for each, also as Parquet."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bridge.common import storage
from bridge.training.run_log import METRICS_FILE, read_metrics
from bridge.training.validation import BY_LEVEL, CHOICE, STANDARD_ERROR
from tune.options import Objective
from tune.records import Trial, trial_folder

TABLE_FILE = "trials.parquet"
BLURRED_LEVELS = (5, 6)
"""The paper's heaviest blur."""


@dataclass(frozen=True)
class Measured:
    """A trial and the numbers of its best validation; mAPs are fractions.

    Attributes:
        trial: its record.
        standard_error: of the score, by the bootstrap over validation objects.
        by_level: mAP by query blur level.
        curve: images seen and score, by validation.
        seconds: of training, validation and what lies between them, in all attempts that count.
        images_per_second: of training.
        images: seen in all.
    """

    trial: Trial
    standard_error: float | None
    by_level: Mapping[int, float]
    curve: Sequence[tuple[int, float]]
    seconds: float
    images_per_second: float | None
    images: int

    def value(self, objective: Objective) -> float | None:
        """How good it is by an objective, more being better; None where that is not known.

        What diverged is worth nothing by any of them.
        """
        if self.trial.outcome == "diverged":
            return 0.0
        if objective == "map":
            return self.trial.score
        if objective == "images_per_second":
            return self.images_per_second
        levels = [self.by_level[level] for level in BLURRED_LEVELS if level in self.by_level]
        return sum(levels) / len(levels) if levels else None


def measure(out: str, trial: Trial) -> Measured:
    """The numbers of a trial, as far as it came."""
    folder = trial_folder(out, trial.config)
    has_log = storage.exists(storage.join(folder, METRICS_FILE))
    lines = read_metrics(folder) if has_log else []
    validated = [line for line in lines if CHOICE in line]
    best: dict[str, Any] = max(validated, key=lambda line: line[CHOICE], default={})
    speeds = sorted(line["images_per_second"] for line in lines)
    return Measured(
        trial,
        best.get(STANDARD_ERROR),
        {int(k.removeprefix(BY_LEVEL)): v for k, v in best.items() if k.startswith(BY_LEVEL)},
        [(_images(line), line[CHOICE]) for line in validated],
        sum(line["seconds"] for line in lines),
        speeds[len(speeds) // 2] if speeds else None,
        _images(lines[-1]) if lines else 0,
    )


def _images(line: Mapping[str, Any]) -> int:
    return int(line["step"] * line["images_per_step"])


def write_table(out: str, measured: Sequence[Measured]) -> None:
    """Write `trials.parquet`: a row for each trial, a column for each sampled value and number."""
    names = sorted({name for one in measured for name in one.trial.config})
    levels = sorted({level for one in measured for level in one.by_level})
    rows = [
        {
            "number": one.trial.number,
            "folder": trial_folder(".", one.trial.config),
            "outcome": one.trial.outcome,
            **{f"config.{name}": one.trial.config.get(name) for name in names},
            "map": one.trial.score,
            "standard_error": one.standard_error,
            "map_blurred": one.value("map_blurred"),
            **{f"map_blur_level_{level}": one.by_level.get(level) for level in levels},
            "images": one.images,
            "seconds": one.seconds,
            "images_per_second": one.images_per_second,
            "curve": [{"images": images, "map": score} for images, score in one.curve],
        }
        for one in measured
    ]
    if rows:
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        storage.write_bytes(storage.join(out, TABLE_FILE), buffer.getvalue())


def pareto(measured: Sequence[Measured], objectives: Sequence[Objective]) -> list[Measured]:
    """The trials that no other one is at least as good as in everything and better in something."""
    known = [
        (one, [one.value(objective) for objective in objectives])
        for one in measured
        if one.trial.outcome != "diverged"
    ]
    points = [(one, values) for one, values in known if None not in values]

    def beats(a: Sequence[Any], b: Sequence[Any]) -> bool:
        return all(x >= y for x, y in zip(a, b, strict=True)) and list(a) != list(b)

    front = [one for one, values in points if not any(beats(other, values) for _, other in points)]
    return sorted(front, key=lambda one: -(one.value(objectives[0]) or 0))
