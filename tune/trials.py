"""The search laid over Ray Tune: trials, what proposes and stops them, and their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import optuna
import ray
import ray.tune
from ray.tune.execution import class_cache
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from bridge.common import storage
from bridge.common.errors import Stopped
from bridge.common.watch import check
from bridge.training.errors import NonFiniteLoss
from bridge.training.validation import CHOICE
from pipelines import train
from pipelines.stages import cluster, train_plan
from pipelines.stages.run_storage import ray_storage
from pipelines.stages.train_options import TrainConfig
from pipelines.stages.train_scaling import MAX_CPUS_PER_WORKER
from pipelines.stages.waiting import interruptible
from tune.following import Follower
from tune.measured import measure
from tune.options import SearchConfig
from tune.proposals import Order
from tune.records import (
    DIVERGED,
    IMAGES,
    Trial,
    read_trial,
    read_trials,
    trial_folder,
    write_trial,
)
from tune.results import measured_trials, table
from tune.space import Dimensions, trial_config

_SCRATCH = "tune"
"""Folder of what Tune keeps for itself while it runs."""


def search(config: SearchConfig, space: Dimensions, base: TrainConfig, wanted: int) -> None:
    """Run what is missing of so many trials, in the folder of `base`.

    A KeyboardInterrupt goes on once the table of what there is has been printed, and so does the
    end of what may be spent (`Stopped`).
    """
    out = base.out
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = read_trials(out)
    missing = wanted - sum(trial.is_done for trial in known)
    if missing <= 0:
        return
    # What frees the workers of a trial that was stopped or killed looks for the cluster by itself,
    # and would not know which one where several run on this machine. There is no public way in.
    class_cache.DEFAULT_ENV_VARS["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    try:
        interruptible(_tuner(config, space, base, known, missing).fit, check)
    except (KeyboardInterrupt, Stopped):
        print("\n".join(table(measured_trials(out))))
        raise
    finally:
        _remove_scratch(out)


def concurrency(config: SearchConfig) -> int:
    """Trials that the cluster has room for now, at least one."""
    gpus, workers = int(cluster.num_gpus()), config.workers_per_trial
    if gpus:
        room = max(1, gpus // workers)
        # What is asked of a cluster that grows is what makes it grow.
        if config.concurrent_trials and cluster.may_grow():
            return config.concurrent_trials
        return min(room, config.concurrent_trials or room)
    # Trials that share CPUs are slower, but none waits for another.
    return config.concurrent_trials or max(
        1, int(cluster.num_cpus()) // MAX_CPUS_PER_WORKER // workers
    )


def cpus_each(config: SearchConfig) -> float:
    """CPUs of each process of a trial, such that all trials of a time have room."""
    processes, gpus = concurrency(config) * config.workers_per_trial, int(cluster.num_gpus())
    # Trials beyond the GPUs wait for nodes that bring their CPUs.
    share = cluster.cpus_each(
        cluster.nodes(), min(processes, gpus or processes), MAX_CPUS_PER_WORKER, on_gpu=gpus > 0
    )
    return share or 1.0


def make_trial(config: SearchConfig, base: TrainConfig) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs per trial; a repeated trial continues its own run."""

    def trial(sampled: dict[str, Any]) -> None:
        training = replace(
            trial_config(base, sampled),
            out=trial_folder(base.out, sampled),
            # The cluster may have grown since the search began.
            cpus_per_worker=cpus_each(config),
        )
        try:
            done = train.run(training, callbacks=[TuneReportCallback()])
        except NonFiniteLoss:
            # No other attempt would come to anything else.
            seen = max(1, measure(base.out, Trial(sampled)).images)
            ray.tune.report({IMAGES: seen, CHOICE: 0.0, DIVERGED: True})
            return
        # A trial that was finished when the search was interrupted has nothing more to report
        # on its way.
        if done.best is not None:
            seen = measure(base.out, Trial(sampled)).images
            ray.tune.report({IMAGES: seen, CHOICE: done.best, DIVERGED: False})

    return trial


def _tuner(
    config: SearchConfig,
    space: Dimensions,
    base: TrainConfig,
    known: Sequence[Trial],
    missing: int,
) -> ray.tune.Tuner:
    """Of the trials that are missing, with what is known of the others.

    Tune's own state, which is pickled, is not read: whoever wrote it could run code here.
    """
    _remove_scratch(base.out)
    return ray.tune.Tuner(
        # The training workers of a trial hold its resources; its driver only waits for them. Tune
        # wants it to need something, so it needs a megabyte and leaves all CPUs to the workers.
        ray.tune.with_resources(make_trial(config, base), {"CPU": 0, "memory": 1 << 20}),
        tune_config=ray.tune.TuneConfig(
            metric=CHOICE,
            mode="max",
            num_samples=missing,
            search_alg=_Proposer(config, space, base.out, known),
            scheduler=FIFOScheduler() if config.is_grid else _asha(base, known),
        ),
        run_config=ray.tune.RunConfig(
            name=_SCRATCH,
            **ray_storage(base.out),
            failure_config=ray.tune.FailureConfig(max_failures=2),
            callbacks=[_Recorder(base.out), Follower(config, base.out, known, missing)],
            verbose=0,
        ),
    )


class _Proposer(Searcher):
    """Hands Tune one trial after another, as many at a time as the cluster has room for.

    A trial is recorded as soon as it is proposed; what is known of all is read from the records.
    """

    def __init__(
        self, config: SearchConfig, space: Dimensions, out: str, known: Sequence[Trial]
    ) -> None:
        super().__init__(metric=CHOICE, mode="max")
        self._config, self._out = config, out
        self._order = Order(config, space, known, lambda trial: measure(out, trial))
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if len(self._running) >= concurrency(self._config):
            return None
        trial = self._order.next(read_trials(self._out))
        if trial is None:
            print("every configuration of the space has been tried", flush=True)
            return str(Searcher.FINISHED)
        write_trial(self._out, replace(trial, outcome="running"))
        self._running.add(trial_id)
        return dict(trial.config)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records have it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `save`."""


def _asha(base: TrainConfig, known: Sequence[Trial]) -> TrialScheduler:
    """ASHA by images seen, which compares with the finished trials as if it had seen them."""
    plan = train_plan.plan_of(base)
    images = plan.passes
    scheduler = _Asha(
        images,
        time_attr=IMAGES,
        max_t=2 * images,
        grace_period=max(1, images // base.recipe.epochs),
        reduction_factor=3,
    )
    for trial in known:
        if trial.is_done:
            same = SimpleNamespace(trial_id=f"known-{trial.number}")
            for seen, score in trial.scores:
                # There is no public way in.
                scheduler._brackets[0].on_result(same, seen, score)
    return scheduler


class _Asha(ASHAScheduler):
    """Leaves a trial alone that has seen all its images, so that it ends by itself."""

    def __init__(self, images: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._images = images

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result[IMAGES] >= self._images:
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))


class _Recorder(ray.tune.Callback):
    """Writes down what becomes of the trials, as Tune tells it."""

    def __init__(self, out: str) -> None:
        self._out = out

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        known = self._known(trial)
        if result[IMAGES] > known.images or result.get(DIVERGED):
            diverged = bool(result.get(DIVERGED))
            score = result[CHOICE]
            write_trial(self._out, known.with_score(result[IMAGES], score, diverged=diverged))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        known = self._known(trial)
        if known.outcome == "running":
            # Only what reaches its end says how it ended.
            at_end = DIVERGED in trial.last_result
            # The log also has what was never told, because a process was killed in between.
            curve = measure(self._out, known).curve
            scores = [point for point in curve if at_end or point[0] <= known.images]
            outcome: Any = "finished" if at_end else "stopped"
            write_trial(self._out, replace(known, outcome=outcome, scores=scores))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        write_trial(self._out, replace(self._known(trial), outcome="failed"))

    def _known(self, trial: Any) -> Trial:
        return read_trial(self._out, trial.config)


def _remove_scratch(out: str) -> None:
    storage.delete_folder(storage.join(out, _SCRATCH))
