"""What a search says while it runs: trials that end, and what others wait for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray
import ray.tune

from bridge.common import storage
from bridge.common.status import State, end_status
from bridge.common.watch import anyones
from bridge.training.run_log import METRICS_FILE
from tune.options import SearchConfig
from tune.records import Trial, read_trial, trial_folder
from tune.results import as_options, measured_trials, table

SECONDS_BETWEEN_LINES = 60.0
_STATES: dict[str, State] = {"finished": "done", "stopped": "stopped"}
"""Of a trial's process, by its outcome; any other has failed."""


class Follower(ray.tune.Callback):
    """Prints a line for each trial that begins or ends, and for those that wait."""

    def __init__(
        self, config: SearchConfig, out: str, known: Sequence[Trial], missing: int
    ) -> None:
        self._config, self._out, self._missing = config, out, missing
        self._before = sum(trial.is_done for trial in known)
        self._done = self._failed = 0
        self._ended: dict[str, State] = {}
        self._started = time.monotonic()
        self._told = self._started
        self._count()
        if known:
            print(f"{len(known)} trials are known; {missing} are missing", flush=True)

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
        self._end_statuses()
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

    def on_experiment_end(self, trials: list[Any], **_: Any) -> None:
        self._end_statuses()

    def _trains(self, trial: Any) -> bool:
        return storage.exists(storage.join(trial_folder(self._out, trial.config), METRICS_FILE))

    def _tell_end(self, trial: Any) -> None:
        self._done += 1
        self._told = time.monotonic()
        known = read_trial(self._out, trial.config)
        self._failed += known.outcome == "failed"
        self._count()
        self._ended[trial_folder(self._out, trial.config)] = _STATES.get(known.outcome, "failed")
        score = "no score" if known.score is None else f"validation mAP {known.score:.4f}"
        print(
            f"trial {known.number} {known.outcome} after {known.images:,} images: {score} "
            f"({self._done} of {self._missing})",
            flush=True,
        )
        if self._config.live:
            print("\n".join(table(measured_trials(self._out))), flush=True)

    def _end_statuses(self) -> None:
        """Processes that were ended from outside could not say so, but may say that they run until
        they are gone."""
        while self._ended:
            end_status(*self._ended.popitem())

    def _count(self) -> None:
        if (watch := anyones()) is not None:
            done, total = self._before + self._done, self._before + self._missing
            rate = self._done / max(time.monotonic() - self._started, 1e-9)
            watch.count("tune", done, total, "trials", rate=rate, failures=self._failed)
