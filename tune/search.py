"""Search the contrastive range and the loss weights for the best validation mAP.

    python tune/search.py                                  # short trials on demo-size data
    python tune/search.py --data data/mine --out runs/search --num-trials 50 --epochs 30

Every trial is the ordinary trainer. Optuna proposes, ASHA stops what falls behind. Run the same
command again after an interruption: finished trials are kept and the others continue. The best
configuration is printed and written to OUT/best.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import optuna
import ray.tune
from annotated_types import MinLen
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.identity import refuse_difference
from bridge.common.record import Count, WholeNumber, check
from bridge.dataset.manifest import open_manifest
from bridge.training.bliss import ContrastiveRange
from bridge.training.presets import PresetName
from bridge.training.validation import CHOICE
from pipelines import train
from pipelines.stages import cluster
from pipelines.stages.train_options import (
    DEFAULT_DATA,
    TrainConfig,
    absolute_weights,
    trainings,
)

SEARCH_FILE = "search.json"
BEST_FILE = "best.json"


@dataclass(frozen=True)
class SearchConfig:
    """What to search, with how much."""

    preset: PresetName = "quick"
    """The training that is varied."""
    data: str = DEFAULT_DATA
    """The dataset; the default one is synthesised where it does not exist yet."""
    out: str = "runs/search"
    """Folder of the search, on storage that all nodes share."""
    num_trials: Count = 4
    """Configurations to try."""
    epochs: Count = 2
    """Epochs of a trial that is not stopped early."""
    ranges: Annotated[tuple[ContrastiveRange, ...], MinLen(1)] = (1, 3, 5)
    """Contrastive ranges to choose from: the paper's S, M and L."""
    workers_per_trial: Count = 1
    """Training processes of one trial."""
    concurrent_trials: Count | None = None
    """Trials at a time; default: as many as the GPUs allow, or one."""
    weights: str = "imagenet"
    """Initial backbone: imagenet, none, or a file of weights."""
    seed: WholeNumber = 0
    """Of the proposals and of every trial."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""

    def __post_init__(self) -> None:
        check(self)

    def identity(self) -> dict[str, Any]:
        """The options that decide the trials, as JSON."""
        ignored = {"out", "concurrent_trials", "workers_per_trial", "num_cpus"}
        options = {name: value for name, value in asdict(self).items() if name not in ignored}
        return options | {"data": storage.absolute(self.data), "ranges": list(self.ranges)}


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


def run(config: SearchConfig) -> dict[str, Any]:
    """Search, or continue, and write the best configuration."""
    out = storage.absolute(config.out)
    _check_identity(config, out)
    cluster.connect(config.num_cpus, dashboard=True)
    train.ensure_data(config.data, config.num_cpus)
    if "validation" not in open_manifest(storage.absolute(config.data)).counts():
        raise InputError(
            f"{config.data} has no validation objects to compare trials by: a category needs 7 "
            "objects to give one."
        )
    storage.prepare_output(out)
    storage.write_json(storage.join(out, SEARCH_FILE), config.identity())
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _report(_tuner(config, out).fit(), config, out)


def _check_identity(config: SearchConfig, out: str) -> None:
    path = storage.join(out, SEARCH_FILE)
    if storage.exists(path):
        content = "a search with another configuration"
        refuse_difference(out, content, storage.read_json(path), config.identity())


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


if __name__ == "__main__":
    cli.main(run, SearchConfig, description=__doc__)
