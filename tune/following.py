"""What a search says while it runs: trials that end, and what others wait for."""

from __future__ import annotations

import time
from typing import Any

import ray
import ray.tune

from bridge.common import storage
from bridge.training.run_log import METRICS_FILE
from tune.options import SearchConfig
from tune.records import read_trial, trial_folder
from tune.results import as_options, measured_trials, table

SECONDS_BETWEEN_LINES = 60.0


class Follower(ray.tune.Callback):
    """Prints a line for each trial that begins or ends, and for those that wait."""

    def __init__(self, config: SearchConfig, out: str, before: int, missing: int) -> None:
        self._config, self._out, self._missing = config, out, missing
        self._done = 0
        self._told = time.monotonic()
        if before:
            print(f"{before} trials are known; {missing} are missing", flush=True)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        number = read_trial(self._out, trial.config).number
        print(f"trial {number} begins: {as_options(trial.config)}", flush=True)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._tell_end(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._tell_end(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        if time.monotonic() - self._told < SECONDS_BETWEEN_LINES:
            return
        self._told = time.monotonic()
        waiting = [t for t in trials if t.status in ("PENDING", "RUNNING") and not self._trains(t)]
        running = sum(trial.status == "RUNNING" for trial in trials) - len(waiting)
        line = f"{self._done} of {self._missing} trials have ended, {running} are training"
        if waiting:
            free = ray.available_resources()
            line += (
                f", {len(waiting)} wait for {self._config.workers_per_trial} process(es) to start "
                f"(free: {free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs)"
            )
        print(line, flush=True)

    def _trains(self, trial: Any) -> bool:
        return storage.exists(storage.join(trial_folder(self._out, trial.config), METRICS_FILE))

    def _tell_end(self, trial: Any) -> None:
        self._done += 1
        self._told = time.monotonic()
        known = read_trial(self._out, trial.config)
        score = "no score" if known.score is None else f"validation mAP {known.score:.4f}"
        print(
            f"trial {known.number} {known.outcome} after {known.images:,} images: {score} "
            f"({self._done} of {self._missing})",
            flush=True,
        )
        if self._config.live:
            print("\n".join(table(measured_trials(self._out))), flush=True)
