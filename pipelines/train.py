"""Train BRIDGE on a DATASET, on any number of workers.

    python pipelines/train.py                                   # data/synthetic, made if absent
    python pipelines/train.py --data data/mine --out runs/mine --num-workers 8
    python pipelines/train.py --preset paper --weights resnet50.pth --dry-run

The model with the best validation mAP is in OUT/model; OUT/metrics.jsonl and OUT/tensorboard tell
how it went. Run the same command again after an interruption: training continues at the
last checkpoint, also with another number of workers. `--num-workers 2:8` trains with as many
workers as the cluster has room for at the time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray.train
import torch
from ray.train.torch import TorchTrainer

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.identity import refuse_difference
from bridge.dataset.manifest import MANIFEST, open_manifest
from bridge.dataset.selections import selections_of
from bridge.model.method import RetrievalModel
from bridge.model.registry import build_model, find_method
from bridge.training.bliss import BlissSampler
from bridge.training.cost import estimate
from bridge.training.data import select_training_images
from bridge.training.losses import check_losses
from bridge.training.run_log import read_metrics
from bridge.training.trainer import NonFiniteLoss, check_workers
from bridge.training.validation import CHOICE
from pipelines.stages import cluster
from pipelines.stages.train_follow import following, tracking
from pipelines.stages.train_options import (
    DEFAULT_DATA,
    TrainConfig,
    absolute_weights,
    trainings,
    worker_range,
)
from pipelines.stages.train_scaling import scaling_of
from pipelines.stages.train_worker import MODEL_FOLDER, UNREADABLE_FILE, train_worker

RUN_FILE = "run.json"


@dataclass(frozen=True)
class TrainResult:
    """What a finished run was."""

    model: str
    steps: int
    seconds: float
    best: float | None
    """Validation mAP@500 of the model; None without validation objects."""
    unreadable: int = 0
    """Training images that could not be decoded and were left out."""


@dataclass(frozen=True)
class Plan:
    """What an epoch of a run consists of, whoever computes it."""

    images: int
    objects: int
    tuples: int
    left_out: int
    """Images without a partner in the window of their blur levels."""
    batch: int
    """Tuples of a step."""
    tuple_size: int
    steps: int
    """Optimisation steps of the whole run."""

    def __str__(self) -> str:
        left_out = f", {self.left_out:,} without a positive" if self.left_out else ""
        return (
            f"{self.images:,} training images of {self.objects:,} objects{left_out}; "
            f"{self.tuples:,} tuples in an epoch, {self.steps:,} steps of {self.batch} tuples x "
            f"{self.tuple_size} images"
        )


def run(config: TrainConfig, callbacks: Sequence[Any] = ()) -> TrainResult:
    """Train, or continue, or say that it is done.

    `callbacks` are Ray Train's, for whoever runs this inside something larger.

    Raises:
        InputError: an option, the data or the weights cannot be used.
        NonFiniteLoss: a loss was NaN or infinite.
    """
    out = storage.absolute(config.out)
    if _is_missing_default(config.data):
        # Mistakes in the model should not wait for minutes of synthesis.
        build_model(config.model, config.weights)
    ensure_data(config.data, config.num_cpus)
    identity = config.identity() | _data_identity(config)
    done = _finished(out, identity)
    if done is not None:
        print(f"{out} is complete: model {done.model}.")
        return done
    config = replace(config, weights=absolute_weights(config.weights))
    plan = plan_of(config)
    _say(config, plan, _model(config, plan))
    cluster.connect(config.num_cpus)
    scaling = scaling_of(config, plan.batch)
    storage.prepare_output(out)
    storage.write_json(storage.join(out, RUN_FILE), {"config": identity, "complete": False})
    with tracking(config, out, identity) as tracker, following(out, tracker):
        _fit(config, out, scaling, callbacks)
    finished = _summarise(out)
    storage.write_json(
        storage.join(out, RUN_FILE),
        {"config": identity, "complete": True, "result": asdict(finished)},
    )
    if finished.unreadable:
        print(
            f"warning: {finished.unreadable} training images could not be read: see "
            f"{storage.join(out, UNREADABLE_FILE)}."
        )
    print(f"trained {finished.steps} steps in {finished.seconds:.0f} s: {finished.model}")
    return finished


def dry_run(config: TrainConfig) -> None:
    """Print what would be trained, and what it would cost; writes nothing."""
    if _is_missing_default(config.data):
        print(f"{config.data} does not exist yet and would be synthesised first: see")
        print("  python pipelines/synthesize.py --dry-run")
        return
    plan = plan_of(config)
    model = _model(config, plan)
    _say(config, plan, model)
    cluster.connect(config.num_cpus)
    scaling = scaling_of(config, plan.batch)
    cost = estimate(
        model,
        config.recipe,
        images_per_step=plan.batch * plan.tuple_size,
        total_steps=plan.steps,
        device="cuda" if scaling.use_gpu and torch.cuda.is_available() else "cpu",
        workers=max(1, scaling.min_workers),
        compute=config.compute,
    )
    for line in cost.lines():
        print(line)


def _fit(
    config: TrainConfig, out: str, scaling: ray.train.ScalingConfig, callbacks: Sequence[Any]
) -> None:
    """Train; an InputError that the workers met is raised as what it is."""
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"config": config, "out": out, "local": not scaling.max_workers},
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name="checkpoints",
            storage_path=out,
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            callbacks=list(callbacks) or None,
        ),
    )
    try:
        result = trainer.fit()
    except ray.train.WorkerGroupError as error:
        for failure in error.worker_failures.values():
            cause = getattr(failure, "cause", failure)
            if isinstance(cause, InputError):
                raise cause from error
        raise
    if result.error is not None:
        raise result.error
    stopped = result.return_value
    if isinstance(stopped, InputError):
        raise stopped
    if stopped is not None:
        reached = (
            f"from its last checkpoint, {result.checkpoint.path}"
            if result.checkpoint
            else "from the beginning, as there is no checkpoint yet"
        )
        raise NonFiniteLoss(f"{stopped}. The same command continues {reached}.")


def ensure_data(data: str, num_cpus: int | None) -> None:
    """Make the default dataset where it does not exist yet; InputError for another missing one."""
    folder = storage.absolute(data)
    if _is_missing_default(data):
        # Only here is the simulator needed.
        from pipelines import synthesize

        print(f"{data} does not exist yet: synthesising a small dataset there first.")
        synthesize.run(synthesize.SynthesizeConfig(out=folder, num_cpus=num_cpus))
    open_manifest(folder)


def _data_identity(config: TrainConfig) -> dict[str, Any]:
    """Which images are trained on, as JSON."""
    dataset = storage.absolute(config.data)
    return {
        "data_hash": open_manifest(dataset).content_hash,
        "selections": selections_of(dataset, config.recipe.seed),
    }


def _is_missing_default(data: str) -> bool:
    manifest = storage.join(storage.absolute(data), MANIFEST)
    return data == DEFAULT_DATA and not storage.exists(manifest)


def plan_of(config: TrainConfig) -> Plan:
    """What will be trained on; InputError where that cannot be.

    Mistakes are found here rather than in every worker.
    """
    dataset, recipe = storage.absolute(config.data), config.recipe
    check_losses(config.model, recipe.loss)
    selected = select_training_images(dataset, open_manifest(dataset), recipe)
    labels = selected.labels
    sampler = BlissSampler(labels.object, selected.positions, recipe.bliss, recipe.seed)
    batch = recipe.tuples_per_step(len(sampler))
    if config.num_workers is not None:
        check_workers(batch, worker_range(config.num_workers)[1], config.model.norm)
    return Plan(
        images=len(labels),
        objects=len(labels.objects),
        tuples=len(sampler),
        left_out=sampler.num_left_out,
        batch=batch,
        tuple_size=recipe.tuple_size,
        steps=recipe.steps or recipe.epochs * (len(sampler) // batch),
    )


def _model(config: TrainConfig, plan: Plan) -> RetrievalModel:
    """The model of the run; InputError where its weights cannot be had."""
    return build_model(replace(config.model, num_classes=plan.objects), config.weights)


def _say(config: TrainConfig, plan: Plan, model: RetrievalModel) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    height, width = config.model.image_size
    print(
        f"{plan}; {config.model.backbone} with {parameters / 1e6:.1f} M parameters at "
        f"{height}x{width}"
    )


def _finished(out: str, identity: dict[str, Any]) -> TrainResult | None:
    """The result of a complete run in `out`; InputError where another run is there."""
    path = storage.join(out, RUN_FILE)
    if not storage.exists(path):
        return None
    recorded = storage.read_json(path)
    refuse_difference(out, "a run with another configuration", recorded["config"], identity)
    return TrainResult(**recorded["result"]) if recorded["complete"] else None


def _summarise(out: str) -> TrainResult:
    """From the log: steps, time spent training, the best validation mAP, and what was skipped."""
    lines = read_metrics(out)
    return TrainResult(
        model=storage.join(out, MODEL_FOLDER),
        steps=lines[-1]["step"],
        seconds=sum(line["seconds"] for line in lines),
        best=max((line[CHOICE] for line in lines if CHOICE in line), default=None),
        unreadable=max(int(line["unreadable"]) for line in lines),
    )


def default_preset() -> str:
    """paper where there are GPUs; asks the cluster, or only this machine for `--help`."""
    if "--help" in sys.argv or "-h" in sys.argv:
        return "paper" if torch.cuda.is_available() else "quick"
    num_cpus = cli.given_option("--num-cpus", sys.argv) or ""
    cluster.connect(int(num_cpus) if num_cpus.isdigit() else None)
    name = "paper" if cluster.num_gpus() else "quick"
    print(f"preset {name}: the cluster has {cluster.num_gpus():.0f} GPUs (choose with --preset).")
    return name


def main() -> None:
    """The command."""
    method: Any = cli.given_option("--method", sys.argv) or "bridge"
    find_method(method)
    config = cli.parse_with_preset(trainings(method), default_preset, description=__doc__)
    try:
        dry_run(config) if config.dry_run else run(config)
    except NonFiniteLoss as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    cli.guarded(main)
