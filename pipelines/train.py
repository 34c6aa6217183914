"""Train BRIDGE on a DATASET, on any number of workers.

    python pipelines/train.py                                   # data/synthetic, made if absent
    python pipelines/train.py --data data/mine --out runs/mine --num-workers 8
    python pipelines/train.py --preset paper --weights resnet50.pth --dry-run
    python pipelines/train.py --config runs/search/best.json    # what tune/search.py found

The model with the best validation mAP is in OUT/model; OUT/metrics.jsonl and OUT/tensorboard tell
how it went. Run the same command again after an interruption: training continues at the
last checkpoint, also with another number of workers. `--num-workers 2:8` trains with as many
workers as the cluster has room for at the time.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bridge.common import cli, storage
from bridge.common.files import shown
from pipelines.stages.train_options import TrainConfig, absolute_weights, trainings
from pipelines.stages.train_result import TrainResult, finished_run

# Options are read, and mistakes in them told, before what takes seconds to import is imported:
# NumPy and Arrow are in `stages.train_plan`, torch and Ray in `stages.training`.


def run(config: TrainConfig, callbacks: Sequence[Any] = ()) -> TrainResult:
    """Train, or continue, or say that it is done.

    `callbacks` are Ray Train's, for whoever runs this inside something larger.

    Raises:
        InputError: an option, the data or the weights cannot be used.
        NonFiniteLoss: a loss was NaN or infinite.
    """
    from pipelines.stages import train_plan

    out = storage.absolute(config.out)
    if train_plan.is_missing_default(config.data):
        # Mistakes in the model should not wait for minutes of synthesis.
        from bridge.model.registry import build_model

        build_model(config.model, config.weights)
    ensure_data(config.data, config.num_cpus)
    identity = config.identity() | train_plan.data_identity(config)
    done = finished_run(out, identity)
    if done is not None:
        print(shown(f"{out} is complete: model {done.model}."))
        return done
    config = replace(config, weights=absolute_weights(config.weights))
    plan = train_plan.plan_of(config)
    from pipelines.stages import training

    return training.fit(config, plan, identity, callbacks)


def dry_run(config: TrainConfig) -> None:
    """Print what would be trained, and what it would cost; writes nothing."""
    from pipelines.stages import train_plan

    if train_plan.is_missing_default(config.data):
        print(f"{config.data} does not exist yet and would be synthesised first: see")
        print("  python pipelines/synthesize.py --dry-run")
        return
    plan = train_plan.plan_of(config)
    from pipelines.stages import training

    training.dry_run(config, plan)


def ensure_data(data: str, num_cpus: int | None) -> None:
    """Make the default dataset where it does not exist yet; InputError for another missing one."""
    from pipelines.stages import train_plan

    if train_plan.is_missing_default(data):
        # Only here is the simulator needed.
        from pipelines import synthesize

        print(f"{data} does not exist yet: synthesising a small dataset there first.")
        folder = storage.absolute(data)
        synthesize.run(synthesize.SynthesizeConfig(out=folder, num_cpus=num_cpus))
    train_plan.check_data(data)


def usual_preset() -> str:
    """The preset whose defaults `--help` shows: paper where this machine has GPUs."""
    return "paper" if glob.glob("/dev/nvidia[0-9]*") else "quick"


def preset_of_cluster(config: TrainConfig) -> str:
    """paper where the cluster has GPUs; asks it once there is something to train on."""
    from pipelines.stages import train_plan

    if not train_plan.is_missing_default(config.data):
        train_plan.check_data(config.data)
    from pipelines.stages import cluster

    cluster.connect(config.num_cpus)
    name = "paper" if cluster.num_gpus() else "quick"
    print(f"preset {name}: the cluster has {cluster.num_gpus():.0f} GPUs (choose with --preset).")
    return name


def command() -> None:
    """Do what the command line asks for."""
    method: Any = cli.given_option("--method", sys.argv)
    file = cli.given_option("--config", sys.argv)
    named = None
    if file is None:
        presets = trainings(method or "bridge")
    else:
        # Only here is what reads records needed.
        from pipelines.stages.train_overrides import trainings_of

        presets, named = trainings_of(method, file)
    config = cli.parse_with_preset(
        presets,
        named or usual_preset(),
        choose=None if named else preset_of_cluster,
        description=__doc__,
    )
    dry_run(config) if config.dry_run else run(config)


def main() -> None:
    """The command."""
    cli.guarded(command)


if __name__ == "__main__":
    main()
