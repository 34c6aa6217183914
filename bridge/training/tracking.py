"""Metrics of a run in MLflow or Weights & Biases, for those who have them installed."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol
from uuid import uuid4

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import read_record

TRACKING_FILE = "tracking.json"
"""In the run's folder: what the services call this run, so that a restart continues it there."""
PROJECT = "bridge"
"""Name of the experiment (MLflow) or project (Weights & Biases), unless the environment has one."""
STEP_TAG = "bridge.step"
PARAMS_PER_CALL = 100

TrackerName = Literal["none", "mlflow", "wandb"]


class Tracker(Protocol):
    """Where metrics go besides the run's folder."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Send the numbers among the values of a step; steps that are there already are skipped."""

    def close(self, finished: bool = True) -> None:
        """Send what waits and say how the run ended."""


def open_tracker(kind: TrackerName, run: str, config: Mapping[str, Any]) -> Tracker:
    """Start a tracked run, or continue that of the folder `run`.

    Server and credentials are those of the environment (`MLFLOW_TRACKING_URI`, `WANDB_API_KEY`,
    `WANDB_MODE`, ...). Without a server, MLflow writes into the working directory.

    Args:
        kind: the service; "none" gives a tracker that does nothing.
        run: the run's folder. Its file `tracking.json` holds the name of the tracked run.
        config: recorded with a new run; may be nested.

    Raises:
        InputError: the service's package is not installed, or the service refuses the run.
    """
    if kind == "none":
        return _Nothing()
    return _Mlflow(run, config) if kind == "mlflow" else _Wandb(run, config)


class _Nothing:
    def log(self, step: int, values: Mapping[str, Any]) -> None:
        pass

    def close(self, finished: bool = True) -> None:
        pass


class _Mlflow:
    def __init__(self, run: str, config: Mapping[str, Any]) -> None:
        try:
            from mlflow import entities
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise _absent("mlflow") from error
        self._entities, self._error = entities, MlflowException
        try:
            self._client = MlflowClient()
            self._id = self._known_run(run) or self._new_run(run, config)
            self._client.update_run(self._id, status="RUNNING")
            tags = self._client.get_run(self._id).data.tags
        except MlflowException as error:
            raise InputError(f"MLflow cannot track this run: {error}") from error
        self._last = int(tags.get(STEP_TAG, -1))

    def _known_run(self, run: str) -> str | None:
        name = _names(run).get("mlflow")
        try:
            return name and self._client.get_run(name).info.run_id
        except self._error:
            # Another server than last time.
            return None

    def _new_run(self, run: str, config: Mapping[str, Any]) -> str:
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(project)
        number = experiment.experiment_id if experiment else self._client.create_experiment(project)
        name = self._client.create_run(number, run_name=_title(run)).info.run_id
        params = [self._entities.Param(key, str(value)) for key, value in _flat(config)]
        for start in range(0, len(params), PARAMS_PER_CALL):
            self._client.log_batch(name, params=params[start : start + PARAMS_PER_CALL])
        _remember(run, "mlflow", name)
        return name

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        if step <= self._last:
            return
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(k, v, now, step) for k, v in _numbers(values).items()]
        tags = [self._entities.RunTag(STEP_TAG, str(step))]
        try:
            self._client.log_batch(self._id, metrics=metrics, tags=tags)
        except self._error as error:
            # A server that is away for a while is no reason to stop training.
            warnings.warn(f"MLflow did not take step {step}: {error}", stacklevel=2)
            return
        self._last = step

    def close(self, finished: bool = True) -> None:
        try:
            self._client.set_terminated(self._id, "FINISHED" if finished else "FAILED")
        except self._error as error:
            warnings.warn(f"MLflow does not know that the run has ended: {error}", stacklevel=2)


class _Wandb:
    def __init__(self, run: str, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _absent("wandb") from error
        name = _names(run).get("wandb") or uuid4().hex[:12]
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=name,
                name=_title(run),
                dir=None if storage.is_uri(run) else run,
                resume="allow",
            )
        except wandb.Error as error:
            raise InputError(f"Weights & Biases cannot track this run: {error}") from error
        # Options that may change between attempts, such as the number of workers.
        self._run.config.update(dict(config), allow_val_change=True)
        _remember(run, "wandb", name)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        if step >= self._run.step:
            self._run.log(_numbers(values), step=step, commit=True)

    def close(self, finished: bool = True) -> None:
        self._run.finish(exit_code=0 if finished else 1)


def _absent(package: str) -> InputError:
    return InputError(f"`track` {package} needs a package that is absent: pip install {package}")


def _names(run: str) -> dict[str, str]:
    path = storage.join(run, TRACKING_FILE)
    return read_record(dict[str, str], path) if storage.exists(path) else {}


def _remember(run: str, kind: str, name: str) -> None:
    storage.write_json(storage.join(run, TRACKING_FILE), _names(run) | {kind: name})


def _title(run: str) -> str:
    return run.rstrip("/").rsplit("/", 1)[-1]


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings under dotted names."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
