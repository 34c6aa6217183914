"""The search laid over Ray Tune: trials, what proposes and stops them, and what came of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import optuna
import ray.tune
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from bridge.common import storage
from bridge.common.errors import Failed
from bridge.training.errors import NonFiniteLoss
from bridge.training.validation import CHOICE
from pipelines import train
from pipelines.stages import cluster
from pipelines.stages.train_options import TrainConfig, absolute_weights, trainings
from pipelines.stages.waiting import interruptible
from tune.options import SearchConfig
from tune.records import DIVERGED, EPOCH, Trial, read_trials, trial_folder, write_trial

BEST_FILE = "best.json"
_SCRATCH = "tune"
"""Folder of what Tune keeps for itself while it runs."""


def search_space(ranges: tuple[int, ...]) -> dict[str, BaseDistribution]:
    """The contrastive range and the weights of Eq. 12 around the published ones."""
    return {
        "contrastive_range": CategoricalDistribution(ranges),
        "classification": FloatDistribution(0.02, 0.5, log=True),
        "blur": FloatDistribution(0.2, 5.0, log=True),
        "localisation": FloatDistribution(2.0, 50.0, log=True),
    }


def trial_config(base: TrainConfig, sampled: dict[str, Any]) -> TrainConfig:
    """The training of one trial."""
    weights = {name: sampled[name] for name in ("classification", "blur", "localisation")}
    recipe = replace(
        base.recipe,
        bliss=replace(base.recipe.bliss, contrastive_range=sampled["contrastive_range"]),
        loss=replace(base.recipe.loss, **weights),
    )
    return replace(base, recipe=recipe)


def make_trial(base: TrainConfig) -> Callable[[dict[str, Any]], None]:
    """The function that Tune runs per trial; a repeated trial continues its own run."""

    def trial(sampled: dict[str, Any]) -> None:
        config = replace(trial_config(base, sampled), out=trial_folder(base.out, sampled))
        end = {EPOCH: base.recipe.epochs, DIVERGED: False}
        try:
            done = train.run(config, callbacks=[TuneReportCallback()])
        except NonFiniteLoss:
            # No other attempt would come to anything else.
            ray.tune.report(end | {CHOICE: 0.0, DIVERGED: True})
            return
        # A trial that was finished when the search was interrupted has nothing more to report
        # on its way.
        if done.best is not None:
            ray.tune.report(end | {CHOICE: done.best})

    return trial


def search(config: SearchConfig, out: str) -> dict[str, Any]:
    """Search, or continue, in the folder `out`, and write the best configuration."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    known = read_trials(out)
    missing = config.num_trials - sum(trial.is_done for trial in known)
    if missing > 0:
        try:
            interruptible(_tuner(config, out, known, missing).fit)
        except KeyboardInterrupt:
            _print_table(read_trials(out))
            raise
        finally:
            _remove_scratch(out)
    return _report(read_trials(out), config, out)


def _tuner(config: SearchConfig, out: str, known: Sequence[Trial], missing: int) -> ray.tune.Tuner:
    """Of the trials that are missing, with what is known of the others.

    Tune's own state, which is pickled, is not read: whoever wrote it could run code here.
    """
    preset = trainings("bridge")[config.preset]
    gpus, cpus = cluster.num_gpus(), cluster.num_cpus()
    concurrent = config.concurrent_trials or max(1, int(gpus) // config.workers_per_trial)
    base = replace(
        preset,
        data=storage.absolute(config.data),
        out=out,
        num_workers=config.workers_per_trial,
        # Trials that run at once divide the CPUs, or the later ones would wait for the first.
        cpus_per_worker=cpus / concurrent / config.workers_per_trial,
        weights=absolute_weights(config.weights),
        # The scheduler takes every report for an epoch.
        checkpoint_every=0,
        recipe=replace(preset.recipe, epochs=config.epochs, seed=config.seed),
    )
    _remove_scratch(out)
    return ray.tune.Tuner(
        # The training workers of a trial hold its resources; its driver only waits for them. Tune
        # wants it to need something, so it needs a megabyte and leaves all CPUs to the workers.
        ray.tune.with_resources(make_trial(base), {"CPU": 0, "memory": 1 << 20}),
        tune_config=ray.tune.TuneConfig(
            metric=CHOICE,
            mode="max",
            num_samples=missing,
            max_concurrent_trials=concurrent,
            search_alg=_proposer(config, known),
            scheduler=_scheduler(config, known),
        ),
        run_config=ray.tune.RunConfig(
            name=_SCRATCH,
            storage_path=out,
            failure_config=ray.tune.FailureConfig(max_failures=2),
            callbacks=[_Recorder(out, known)],
            verbose=1 if sys.stdout.isatty() else 0,
        ),
    )


def _proposer(config: SearchConfig, known: Sequence[Trial]) -> OptunaSearch:
    """Unfinished trials first, then what the finished ones make likely to be better."""
    proposer = OptunaSearch(
        search_space(config.ranges),
        metric=CHOICE,
        mode="max",
        # The same draws a second time would repeat the first trials.
        sampler=optuna.samplers.TPESampler(seed=config.seed + len(known)),
        points_to_evaluate=[dict(trial.config) for trial in known if not trial.is_done],
    )
    for trial in known:
        if trial.is_done and trial.score is not None:
            proposer.add_evaluated_point(dict(trial.config), trial.score)
    return proposer


def _scheduler(config: SearchConfig, known: Sequence[Trial]) -> ASHAScheduler:
    """ASHA, which compares with the finished trials as if it had seen them."""
    scheduler = ASHAScheduler(
        time_attr=EPOCH,
        # Beyond the last epoch, so that a trial that gets there ends by itself.
        max_t=config.epochs + 2,
        grace_period=1,
        reduction_factor=3,
    )
    for number, trial in enumerate(known):
        if trial.is_done:
            same = SimpleNamespace(trial_id=f"known-{number}")
            for epoch, score in trial.scores:
                # There is no public way in.
                scheduler._brackets[0].on_result(same, epoch, score)
    return scheduler


class _Recorder(ray.tune.Callback):
    """Writes down what becomes of the trials, as Tune tells it."""

    def __init__(self, out: str, known: Sequence[Trial]) -> None:
        self._out = out
        self._trials = {trial_folder(out, trial.config): trial for trial in known}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._write(replace(self._known(trial), outcome="running"))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        known = self._known(trial)
        if result[EPOCH] > known.epochs or result.get(DIVERGED):
            diverged = bool(result.get(DIVERGED))
            self._write(known.with_score(result[EPOCH], result[CHOICE], diverged=diverged))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        known = self._known(trial)
        if known.outcome == "running":
            self._write(replace(known, outcome="finished" if self._at_end(trial) else "stopped"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._write(replace(self._known(trial), outcome="failed"))

    def _at_end(self, trial: Any) -> bool:
        return DIVERGED in trial.last_result

    def _known(self, trial: Any) -> Trial:
        return self._trials.get(trial_folder(self._out, trial.config), Trial(dict(trial.config)))

    def _write(self, trial: Trial) -> None:
        self._trials[trial_folder(self._out, trial.config)] = trial
        write_trial(self._out, trial)


def _remove_scratch(out: str) -> None:
    filesystem, inner = storage.filesystem(storage.join(out, _SCRATCH))
    with contextlib.suppress(FileNotFoundError):
        filesystem.delete_dir(inner)


def _print_table(known: Sequence[Trial]) -> None:
    """Every trial with its outcome."""
    print(f"{'mAP':>8} {'epochs':>6} {'outcome':>8}  configuration")
    for trial in sorted(known, key=lambda trial: -(trial.score or 0)):
        score = "-" if trial.score is None else f"{trial.score:.4f}"
        print(f"{score:>8} {trial.epochs:>6} {trial.outcome:>8}  {_options(trial.config)}")


def _report(known: Sequence[Trial], config: SearchConfig, out: str) -> dict[str, Any]:
    """Print the trials, and write the best configuration."""
    _print_table(known)
    scored = [(t.score, t.config) for t in known if t.score and t.outcome != "failed"]
    if not scored:
        raise Failed("No trial finished: see the errors above.")
    score, sampled = max(scored, key=lambda pair: pair[0])
    command = (
        f"python pipelines/train.py --preset {config.preset} {_options(sampled)} "
        f"--data {config.data} --weights {config.weights} --out {storage.join(out, 'best')}"
    )
    best = {"validation_map": score, "config": dict(sampled), "command": command}
    storage.write_json(storage.join(out, BEST_FILE), best)
    print(f"best: {score:.4f}, written to {storage.join(out, BEST_FILE)}; train with\n  {command}")
    return best


def _options(sampled: Mapping[str, Any]) -> str:
    """A configuration as options of train.py."""
    return " ".join(
        f"--{name.replace('_', '-')} {value:.4g}" for name, value in sorted(sampled.items())
    )
