"""The search laid over Ray Tune: trials, what proposes and stops them, and what came of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import ray.tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from bridge.common import storage
from bridge.training.validation import CHOICE
from pipelines import train
from pipelines.stages import cluster
from pipelines.stages.train_options import TrainConfig, absolute_weights, trainings
from tune.options import SearchConfig

BEST_FILE = "best.json"


def search_space(ranges: tuple[int, ...]) -> dict[str, Any]:
    """The contrastive range and the weights of Eq. 12 around the published ones."""
    return {
        "contrastive_range": ray.tune.choice(list(ranges)),
        "classification": ray.tune.loguniform(0.02, 0.5),
        "blur": ray.tune.loguniform(0.2, 5.0),
        "localisation": ray.tune.loguniform(2.0, 50.0),
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
        name = ray.tune.get_context().get_trial_id()
        config = replace(trial_config(base, sampled), out=storage.join(base.out, "trials", name))
        done = train.run(config, callbacks=[TuneReportCallback()])
        # A trial that was finished when the search was interrupted has nothing more to report
        # on its way.
        if done.best is not None:
            ray.tune.report({CHOICE: done.best})

    return trial


def search(config: SearchConfig, out: str) -> dict[str, Any]:
    """Search, or continue, in the folder `out`, and write the best configuration."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _report(_tuner(config, out).fit(), config, out)


def _tuner(config: SearchConfig, out: str) -> ray.tune.Tuner:
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
    # The training workers of a trial hold its resources; its driver only waits for them. Tune
    # wants it to need something, so it needs a megabyte and leaves all CPUs to the workers.
    trial = ray.tune.with_resources(make_trial(base), {"CPU": 0, "memory": 1 << 20})
    folder = storage.join(out, "tune")
    if ray.tune.Tuner.can_restore(folder):
        return ray.tune.Tuner.restore(folder, trial, restart_errored=True)
    return ray.tune.Tuner(
        trial,
        param_space=search_space(config.ranges),
        tune_config=ray.tune.TuneConfig(
            metric=CHOICE,
            mode="max",
            num_samples=config.num_trials,
            max_concurrent_trials=concurrent,
            search_alg=OptunaSearch(sampler=optuna.samplers.TPESampler(seed=config.seed)),
            # Beyond the last epoch, so that a trial that gets there ends by itself.
            scheduler=ASHAScheduler(max_t=config.epochs + 2, grace_period=1, reduction_factor=3),
        ),
        run_config=ray.tune.RunConfig(
            name="tune",
            storage_path=out,
            failure_config=ray.tune.FailureConfig(max_failures=2),
            verbose=1 if sys.stdout.isatty() else 0,
        ),
    )


def _report(results: ray.tune.ResultGrid, config: SearchConfig, out: str) -> dict[str, Any]:
    """Print every trial with its outcome, and write the best configuration."""
    print(f"{'mAP':>8} {'epochs':>6}  configuration")
    scored = []
    for result in results:
        history = result.metrics_dataframe
        known = history is not None and CHOICE in history
        score = float(history[CHOICE].max()) if known else None
        epochs = int(history["validation/map"].notna().sum()) if known else 0
        outcome = "failed" if score is None or result.error else f"{score:.4f}"
        print(f"{outcome:>8} {epochs:>6}  {_options(result.config or {})}")
        if score is not None and not result.error:
            scored.append((score, result.config))
    if not scored:
        raise RuntimeError("No trial finished: see the errors above.")
    score, sampled = max(scored, key=lambda pair: pair[0])
    command = (
        f"python pipelines/train.py --preset {config.preset} {_options(sampled)} "
        f"--data {config.data} --weights {config.weights} --out {storage.join(out, 'best')}"
    )
    best = {"validation_map": score, "config": sampled, "command": command}
    storage.write_json(storage.join(out, BEST_FILE), best)
    print(f"best: {score:.4f}, written to {storage.join(out, BEST_FILE)}; train with\n  {command}")
    return best


def _options(sampled: dict[str, Any]) -> str:
    """A configuration as options of train.py."""
    return " ".join(
        f"--{name.replace('_', '-')} {value:.4g}" for name, value in sorted(sampled.items())
    )
