"""What one training process does: the trainer, its checkpoints, and what rank 0 tells."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train.collective import broadcast_from_rank_zero

from bridge.common import storage
from bridge.common.errors import Failed, InputError, Stopped
from bridge.common.status import read_status
from bridge.dataset.manifest import open_manifest
from bridge.model.registry import build_model
from bridge.training.errors import DamagedCheckpoint, NonFiniteLoss, TooManyUnreadable
from bridge.training.examples import draw_examples
from bridge.training.run_log import RunLog
from bridge.training.selection import select_training_images
from bridge.training.trainer import Event, Trainer
from bridge.training.validation import CHOICE, load_validation_data
from pipelines.stages.train_options import TrainConfig

MODEL_FOLDER = "model"
UNREADABLE_FILE = "unreadable.json"
"""Identifiers of the training images that could not be decoded; absent where all could."""
CHECKPOINTS = "checkpoints"
LOCAL_CHECKPOINTS = f"{CHECKPOINTS}/local"
SECONDS_BETWEEN_QUESTIONS = 5.0
"""Whether to stop: the answer may lie on an object store."""
SPARE_BYTES = 1 << 20
"""That stay free beside a checkpoint, for the records and logs of the run."""


def train_worker(settings: dict[str, Any]) -> Exception | None:
    """One training process; all of them run this.

    Returns why training stopped where repeating it would not help: a `NonFiniteLoss`, an
    InputError, a full cache (`Failed`), the OSError of a disk that cannot be written, or that the
    driver wants it to stop (`Stopped`), which it does with a checkpoint. All ranks come to that
    together and return, so that Ray, which would repeat a failure, takes the run as ended.
    """
    config: TrainConfig = settings["config"]
    out: str = settings["out"]
    device = ray.train.torch.get_device()
    local = Path(out) / LOCAL_CHECKPOINTS if settings["local"] else None
    try:
        trainer = build_trainer(config, str(device), torch.get_num_threads())
        resume_from(trainer, _kept(local) if local else _reported())
    except (InputError, Failed) as error:
        # The others would wait for this one, where there are any.
        if ray.train.get_context().get_world_size() > 1:
            raise
        return error
    poll = Poll(out if settings["may_stop"] else None)
    try:
        if ray.train.get_context().get_world_rank() == 0:
            return _lead(trainer, out, local, poll)
        return _follow(trainer, poll)
    except (NonFiniteLoss, TooManyUnreadable) as error:
        return error


def resume_from(trainer: Trainer, checkpoints: Sequence[ray.train.Checkpoint]) -> None:
    """Continue from the last of some checkpoints that is sound; from the beginning without any.

    Raises:
        InputError: there are checkpoints, and all are damaged or of another run.
    """
    damage: DamagedCheckpoint | None = None
    for checkpoint in reversed(checkpoints):
        try:
            with checkpoint.as_directory() as folder:
                trainer.load(Path(folder))
        except DamagedCheckpoint as error:
            damage = error
            print(f"warning: {error} The checkpoint before it is tried.", flush=True)
            continue
        return
    if damage is not None:
        raise damage


def _reported() -> list[ray.train.Checkpoint]:
    """Those that Ray knows of, the oldest first."""
    newest = ray.train.get_checkpoint()
    if newest is None:
        return []
    return [known.checkpoint for known in ray.train.get_all_reported_checkpoints()] or [newest]


def build_trainer(config: TrainConfig, device: str, threads: int) -> Trainer:
    """The trainer of one process, at step 0."""
    recipe = config.recipe
    dataset = storage.absolute(config.data)
    manifest = open_manifest(dataset)
    check = not config.trust_data
    selected = select_training_images(dataset, manifest, recipe)
    data, recipe = selected.load(check=check), selected.recipe
    torch.manual_seed(recipe.seed)
    model_config = replace(config.model, num_classes=len(data.labels.objects))
    return Trainer(
        build_model(model_config, config.weights),
        recipe,
        data,
        load_validation_data(
            dataset,
            manifest,
            recipe.seed if config.validation_seed is None else config.validation_seed,
            objects=config.validation_objects,
            check=check,
        ),
        device=device,
        threads=threads,
        compute=config.compute,
        checkpoint_every=config.checkpoint_every,
        model_info={"dataset_hash": manifest.content_hash, "recipe": asdict(recipe)},
    )


class Poll:
    """For `Trainer.run`: whether there is a reason to write a checkpoint now.

    Nodes of the run will be taken away, and that is new, or the driver, whose status is in a
    folder, wants the run to stop. All ranks get the same answer, so every rank has to ask equally
    often.

    Attributes:
        stopped: that it is to stop, once that is known.
    """

    def __init__(self, folder: str | None) -> None:
        self.stopped: Stopped | None = None
        self._folder = folder
        self._preemption: Any = None
        self._asked = time.monotonic()

    def __call__(self) -> bool:
        info = ray.train.get_preemption_info()
        is_new = info is not None and info != self._preemption
        self._preemption = info
        if self._folder is not None and broadcast_from_rank_zero(self._is_stopping(self._folder)):
            self.stopped = Stopped("The training was to stop.")
        return is_new or self.stopped is not None

    def ends(self, trainer: Trainer) -> bool:
        """Whether the run stops before its end."""
        return self.stopped is not None and trainer.step < trainer.total_steps

    def _is_stopping(self, folder: str) -> bool:
        is_first = ray.train.get_context().get_world_rank() == 0
        if not is_first or time.monotonic() - self._asked < SECONDS_BETWEEN_QUESTIONS:
            return False
        self._asked = time.monotonic()
        try:
            return read_status(folder).state == "stopping"
        # Whatever is wrong with the file is no reason to stop.
        except InputError:
            return False


def _lead(trainer: Trainer, out: str, local: Path | None, poll: Poll) -> Exception | None:
    """Train as rank 0, which alone logs, draws and saves.

    Returns the error that keeps it from that, or that it was to stop.
    """
    unreadable: tuple[str, ...] = ()
    failure: OSError | None = None
    with RunLog(out, trainer.step) as log:
        for event in trainer.run(poll=poll):
            try:
                log.add(event.step, _line(event, trainer))
                if CHOICE in event.metrics or event.improved:
                    picture = draw_examples(trainer.evaluated, trainer.example_batch())
                    log.add_picture("examples", event.step, picture)
                if event.unreadable != unreadable:
                    unreadable = event.unreadable
                    storage.write_json(storage.join(out, UNREADABLE_FILE), list(unreadable))
                if event.checkpoint:
                    log.flush()
            except OSError as error:
                failure = error
            if event.checkpoint:
                failure = _report(event, trainer, out, local, failure)
                # The others wait for what became of the checkpoint, and end as this one does.
                if broadcast_from_rank_zero(failure) or poll.ends(trainer):
                    return failure or poll.stopped
    return failure


def _follow(trainer: Trainer, poll: Poll) -> Exception | None:
    """Train as any other rank."""
    for event in trainer.run(poll=poll):
        if event.checkpoint:
            ray.train.report(event.metrics)
            failure: OSError | None = broadcast_from_rank_zero(None)
            if failure or poll.ends(trainer):
                return failure or poll.stopped
    return None


def _line(event: Event, trainer: Trainer) -> dict[str, Any]:
    return {
        "epoch": event.epoch,
        "total_steps": trainer.total_steps,
        "images_per_step": trainer.images_per_step,
        **event.metrics,
    }


def _report(
    event: Event, trainer: Trainer, out: str, local: Path | None, failure: OSError | None
) -> OSError | None:
    """Hand a checkpoint to Ray and, where it is the best so far, publish its model.

    After a `failure` there is no checkpoint, as there is none where it cannot be written; but all
    ranks report. Returns the failure.
    """
    # A tuner refuses reports without its objective, which only validations have.
    metrics = {
        CHOICE: trainer.best_map,
        "epoch": event.epoch + 1,
        "images": event.step * trainer.images_per_step,
    } | event.metrics
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = None
        try:
            if failure is None:
                trainer.save(Path(temporary))
                if event.improved:
                    trainer.save_model(storage.join(out, MODEL_FOLDER))
                require_room(Path(temporary), out)
                folder = _keep(Path(temporary), local, event.step) if local else temporary
                checkpoint = ray.train.Checkpoint.from_directory(str(folder))
        except OSError as error:
            failure = error
        try:
            ray.train.report(metrics, checkpoint=checkpoint)
        except OSError as error:
            # Arrow's does not tell which file it was.
            failure = OSError(error.errno, error.strerror, storage.join(out, CHECKPOINTS))
    return failure


def require_room(checkpoint: Path, out: str) -> None:
    """OSError where a checkpoint does not fit on the disk of the run.

    Half a one would take the room of those that follow, and Ray's record of them, which is written
    in place, would be lost with all that it names.
    """
    if storage.is_uri(out):
        return
    size = sum(file.stat().st_size for file in checkpoint.iterdir())
    if shutil.disk_usage(out).free < size + SPARE_BYTES:
        reason = os.strerror(errno.ENOSPC)
        raise OSError(errno.ENOSPC, reason, storage.join(out, CHECKPOINTS))


def _keep(checkpoint: Path, folder: Path, step: int) -> Path:
    """Keep a checkpoint of training inside the driver, of which Ray remembers nothing."""
    unfinished = folder / f"step-{step:09d}.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(checkpoint, unfinished)
    kept = unfinished.replace(unfinished.with_suffix(""))
    for older in sorted(folder.glob("step-?????????"))[:-2]:
        shutil.rmtree(older)
    return kept


def _kept(folder: Path) -> list[ray.train.Checkpoint]:
    """Those of training inside the driver, the oldest first."""
    kept = sorted(folder.glob("step-?????????"))
    return [ray.train.Checkpoint.from_directory(str(path)) for path in kept]
