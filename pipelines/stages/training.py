"""A training laid over Ray Train, from its plan to its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray.train
import torch
from ray.train.torch import TorchTrainer

from bridge.common import storage
from bridge.common.errors import Failed, InputError, Stopped
from bridge.common.record import read_record
from bridge.common.watch import check, check_overdue, has_limit
from bridge.model.method import RetrievalModel
from bridge.model.registry import build_model
from bridge.training.cost import estimate
from bridge.training.errors import NonFiniteLoss
from bridge.training.run_log import METRICS_FILE, MetricsReader
from bridge.training.validation import CHOICE
from pipelines.stages import cluster
from pipelines.stages.run_storage import ray_storage
from pipelines.stages.running import running
from pipelines.stages.train_follow import following, tracking
from pipelines.stages.train_options import TrainConfig
from pipelines.stages.train_plan import Plan
from pipelines.stages.train_result import RunRecord, TrainResult
from pipelines.stages.train_scaling import scaling_of
from pipelines.stages.train_worker import CHECKPOINTS, MODEL_FOLDER, UNREADABLE_FILE, train_worker
from pipelines.stages.waiting import interruptible


def fit(
    config: TrainConfig, plan: Plan, identity: dict[str, Any], callbacks: Sequence[Any]
) -> TrainResult:
    """Train, or continue. Raises as `pipelines.train.run`.

    Args:
        config: the options.
        plan: what they come to.
        identity: of the run, as it is recorded.
        callbacks: Ray Train's.
    """
    _say(config, plan, _model(config, plan))
    with running("train", config.out, config.watch) as out:
        cluster.connect(config.num_cpus)
        scaling = scaling_of(config, plan.batch)
        RunRecord(identity, complete=False).save(out)
        with tracking(config, out, identity) as tracker, following(out, tracker):
            _fit(config, out, scaling, callbacks)
        finished = summary_of(out)
        RunRecord(identity, complete=True, result=finished).save(out)
    if finished.unreadable:
        print(
            f"warning: {finished.unreadable} training images could not be read: see "
            f"{storage.join(out, UNREADABLE_FILE)}."
        )
    print(f"trained {finished.steps} steps in {finished.seconds:.0f} s: {finished.model}")
    return finished


def dry_run(config: TrainConfig, plan: Plan) -> None:
    """Print what would be trained, and what it would cost; writes nothing."""
    model = _model(config, plan)
    _say(config, plan, model)
    cluster.connect(config.num_cpus)
    scaling = scaling_of(config, plan.batch)
    cost = estimate(
        model,
        config.recipe,
        images_per_step=plan.images_per_step,
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
    noted = storage.join(out, CHECKPOINTS, "checkpoint_manager_snapshot.json")
    if storage.exists(noted):
        # Ray would say of a damaged one that its controller has failed.
        read_record(dict[str, Any], noted)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "config": config,
            "out": out,
            "local": not scaling.max_workers,
            "may_stop": has_limit(),
        },
        scaling_config=scaling,
        run_config=ray.train.RunConfig(
            name=CHECKPOINTS,
            **ray_storage(out),
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            # The newest may be damaged.
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            callbacks=list(callbacks) or None,
        ),
    )
    try:
        result = interruptible(trainer.fit, check_overdue)
    except ray.train.WorkerGroupError as error:
        for failure in error.worker_failures.values():
            cause = getattr(failure, "cause", failure)
            if isinstance(cause, InputError | Failed):
                raise cause from error
        raise
    except ray.train.ControllerError as error:
        raise without_controller(error) from error
    if result.error is not None:
        raise result.error
    stopped = result.return_value
    if isinstance(stopped, NonFiniteLoss):
        reached = (
            f"from its last checkpoint, {result.checkpoint.path}"
            if result.checkpoint
            else "from the beginning, as there is no checkpoint yet"
        )
        raise NonFiniteLoss(f"{stopped}. The same command continues {reached}.")
    if isinstance(stopped, Stopped):
        check()
    if stopped is not None:
        raise stopped


def without_controller(error: ray.train.ControllerError) -> Failed:
    """What to tell where Ray gave up by itself, as where a new worker was killed for memory."""
    why = (str(error.controller_failure).strip() or repr(error.controller_failure)).splitlines()[0]
    return Failed(
        f"Ray could not go on with the training: {why.rstrip('.')}. The same command continues "
        "from its last checkpoint."
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
    if plan.note:
        print(plan.note)


def summary_of(out: str) -> TrainResult:
    """From the log: steps, time spent training, the best validation mAP, and what was skipped."""
    reader = MetricsReader(out)
    lines = reader.new_lines()
    if reader.damaged:
        print(f"warning: {reader.damaged} damaged lines of {METRICS_FILE} were passed over.")
    if not lines:
        raise InputError(f"{storage.join(out, METRICS_FILE)} holds none of the run's metrics.")
    return TrainResult(
        model=storage.join(out, MODEL_FOLDER),
        steps=lines[-1]["step"],
        seconds=sum(line["seconds"] for line in lines),
        best=max((line[CHOICE] for line in lines if CHOICE in line), default=None),
        unreadable=max(int(line["unreadable"]) for line in lines),
    )
