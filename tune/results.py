"""What a search leaves: the table, best.json, trials.parquet, Optuna's journal and the report."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from bridge.common import storage
from bridge.common.errors import Failed
from bridge.common.progress import duration
from pipelines.stages.train_overrides import option_value
from tune.measured import Measured, measure, pareto, write_table
from tune.options import SearchConfig
from tune.proposals import study_of
from tune.records import Trial, read_trials
from tune.report import SearchData, write_report
from tune.space import Dimensions, Value, base_training, fixed

BEST_FILE = "best.json"
JOURNAL_FILE = "optuna.log"


def table(measured: Sequence[Measured]) -> list[str]:
    """Every trial with its outcome, the best first."""
    lines = [f"{'mAP':>8} {'error':>6} {'images':>9} {'time':>7} {'outcome':>8}  configuration"]
    for one in sorted(measured, key=lambda one: -(one.trial.score or 0)):
        score = "-" if one.trial.score is None else f"{one.trial.score:.4f}"
        error = "-" if one.standard_error is None else f"{one.standard_error:.4f}"
        time = duration(one.seconds)
        numbers = f"{score:>8} {error:>6} {one.images:>9,} {time:>7} {one.trial.outcome:>8}"
        lines.append(f"{numbers}  {as_options(one.trial.config)}")
    return lines


def pareto_table(config: SearchConfig, front: Sequence[Measured]) -> list[str]:
    """The trials of which none is better in both objectives."""
    names = config.objectives
    lines = [" ".join(f"{name:>17}" for name in names) + "  configuration"]
    for one in front:
        values = " ".join(f"{one.value(name) or 0:>17.4f}" for name in names)
        lines.append(f"{values}  {as_options(one.trial.config)}")
    return lines


def as_options(sampled: Mapping[str, Value]) -> str:
    """A configuration as options of train.py."""
    return " ".join(
        f"--{name.replace('_', '-')} {_short(v)}" for name, v in sorted(sampled.items())
    )


def measured_trials(out: str, known: Sequence[Trial] | None = None) -> list[Measured]:
    """All trials of a folder, or those given, with their numbers."""
    return [measure(out, trial) for trial in (read_trials(out) if known is None else known)]


def conclude(config: SearchConfig, space: Dimensions, out: str) -> dict[str, Any]:
    """Print the trials, write everything, and give the best configuration.

    Raises:
        Failed: no trial came to anything.
    """
    measured = measured_trials(out)
    print("\n".join(table(measured)))
    draw(config, space, out, measured)
    scored = [one for one in measured if one.trial.outcome != "failed" and one.trial.score]
    if not scored:
        raise Failed("No trial finished: see the errors above.")
    front = pareto(measured, config.objectives) if config.second_objective else []
    if front:
        print("\nNo trial is better in both than one of these:")
        print("\n".join(pareto_table(config, front)))
    best = _best(config, out, max(scored, key=lambda one: one.trial.score or 0), front)
    storage.write_json(storage.join(out, BEST_FILE), best)
    print(
        f"best: {best['validation_map']:.4f}, written to {storage.join(out, BEST_FILE)}; the "
        f"report is {storage.join(out, 'report.html')}; train with\n  {best['command']}"
    )
    return best


def draw(config: SearchConfig, space: Dimensions, out: str, measured: Sequence[Measured]) -> None:
    """Write trials.parquet, Optuna's journal and the report of what there is."""
    write_table(out, measured)
    _write_journal(config, space, out, measured)
    base = base_training(config, out)
    used = {name: option_value(base, name) for name in ("contrastive_range", "seed")}
    write_report(out, SearchData(config, space, measured, used))


def _best(
    config: SearchConfig, out: str, best: Measured, front: Sequence[Measured]
) -> dict[str, Any]:
    path = storage.join(out, BEST_FILE)
    command = shlex.join(
        ["python", "pipelines/train.py", "--config", path, "--data", config.data]
        + ["--weights", config.weights, "--out", storage.join(out, "best")]
    )
    written: dict[str, Any] = {
        "validation_map": best.trial.score,
        "standard_error": best.standard_error,
        "method": "bridge",
        "preset": config.varied,
        "config": _settings(config, best),
        "command": command,
    }
    if front:
        written["pareto"] = [
            {name: one.value(name) for name in config.objectives}
            | {"config": _settings(config, one)}
            for one in front
        ]
    return written


def _settings(config: SearchConfig, one: Measured) -> dict[str, Any]:
    """Sampled and fixed values. The seed is no finding."""
    values = fixed(config) | dict(one.trial.config)
    return {name: value for name, value in values.items() if name != "seed"}


def _write_journal(
    config: SearchConfig, space: Dimensions, out: str, measured: Sequence[Measured]
) -> None:
    """Write what optuna-dashboard opens; it is never read here."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / JOURNAL_FILE
        study_of(config, space, measured, storage=JournalStorage(JournalFileBackend(str(path))))
        storage.write_bytes(storage.join(out, JOURNAL_FILE), path.read_bytes())


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value).strip('"')
