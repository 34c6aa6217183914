"""Train BRIDGE on a DATASET, on any number of workers.

    python pipelines/train.py                                   # data/synthetic, made if absent
    python pipelines/train.py --data data/mine --out runs/mine --num-workers 8
    python pipelines/train.py --preset paper --weights resnet50.pth

The model with the best validation mAP is in OUT/model; OUT/metrics.jsonl and OUT/tensorboard tell
how it went. Run the same command again after an interruption: training continues at the
last checkpoint.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import ray
import ray.train
import torch
from ray.train.torch import TorchTrainer

from bridge import cli, storage
from bridge.bliss import BlissConfig, BlissSampler
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import MANIFEST, open_manifest, refuse_difference
from bridge.dataset.splits import training_rows
from bridge.errors import InputError
from bridge.losses import LossConfig
from bridge.model import PAPER, QUICK, Bridge, ModelConfig
from bridge.run_log import RunLog, format_line, read_metrics
from bridge.trainer import Event, Recipe, Trainer, batch_size
from bridge.training_data import load_training_data
from bridge.validation import CHOICE, load_validation_data
from pipelines import cluster

RUN_FILE = "run.json"
DEFAULT_DATA = "data/synthetic"
CPUS_PER_GPU_TO_COME = 4
"""CPUs asked for with each GPU of an autoscaling pool that has none yet."""
MAX_CPUS_PER_WORKER = 16
"""More threads hardly speed up the small batches of one worker."""


@dataclass(frozen=True)
class TrainConfig:
    """What to train, how and where."""

    preset: Literal["paper", "quick"] = "quick"
    """paper: the paper's training. quick: a small pretrained network at 60x80 pixels, for two
    cores. Default: paper where the cluster has GPUs, quick elsewhere."""
    data: str = DEFAULT_DATA
    """The dataset; the default one is synthesised where it does not exist yet."""
    out: str = "runs/bridge"
    """Folder of the run, on storage that all nodes share."""
    num_workers: int | None = None
    """Training processes; default: one per GPU, or one."""
    cpus_per_worker: float | None = None
    """CPUs of each worker; default: an equal share of the cluster's, at most 16."""
    use_gpu: bool | None = None
    """Whether each worker has a GPU; default: where the cluster has any."""
    weights: str = "imagenet"
    """Initial backbone: imagenet, none, or a file of weights."""
    max_failures: int = 3
    """Worker failures to recover from before giving up."""
    num_cpus: int | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    model: ModelConfig = PAPER
    recipe: Recipe = field(default_factory=Recipe)

    def identity(self) -> dict[str, Any]:
        """The options that decide the trained weights."""
        ignored = {"out", "num_workers", "cpus_per_worker", "use_gpu", "max_failures", "num_cpus"}
        options = {name: value for name, value in asdict(self).items() if name not in ignored}
        options |= {"data": storage.absolute(self.data), "weights": absolute_weights(self.weights)}
        return {**options.pop("model"), **_flat(options.pop("recipe")), **options}


def absolute_weights(weights: str) -> str:
    """`--weights` independent of the working directory, which differs between nodes."""
    return weights if weights in ("imagenet", "none") else storage.absolute(weights)


def _flat(options: dict[str, Any]) -> dict[str, Any]:
    """Options of nested groups side by side, as they are on the command line."""
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat


PRESETS = {
    "paper": TrainConfig(preset="paper", model=PAPER, recipe=Recipe()),
    "quick": TrainConfig(
        preset="quick",
        model=QUICK,
        recipe=Recipe(
            epochs=20,
            learning_rate=1e-3,
            schedule="cosine",
            supervise="all",
            bliss=BlissConfig(num_positives=1, num_negatives=0),
            loss=LossConfig(pairs="batch"),
        ),
    ),
}


@dataclass(frozen=True)
class TrainResult:
    """What a finished run was."""

    model: str
    steps: int
    seconds: float
    best: float | None
    """Validation mAP@500 of the model; None without validation objects."""


def run(config: TrainConfig, callbacks: Sequence[Any] = ()) -> TrainResult:
    """Train, or continue, or say that it is done.

    `callbacks` are Ray Train's, for whoever runs this inside something larger.
    """
    out = storage.absolute(config.out)
    ensure_data(config.data, config.num_cpus)
    data_hash = open_manifest(storage.absolute(config.data)).content_hash
    identity = config.identity() | {"data_hash": data_hash}
    done = _finished(out, identity)
    if done is not None:
        print(f"{out} is complete: model {done.model}.")
        return done
    config = replace(config, weights=absolute_weights(config.weights))
    num_tuples = _check(config)
    cluster.connect(config.num_cpus)
    scaling = _scaling(config)
    batch_size(config.recipe, num_tuples, scaling.num_workers or 1)
    storage.prepare_output(out)
    storage.write_json(storage.join(out, RUN_FILE), {"config": identity, "complete": False})
    with _follow(out):
        _fit(
            TorchTrainer(
                train_worker,
                train_loop_config={"config": config, "out": out},
                scaling_config=scaling,
                run_config=ray.train.RunConfig(
                    name="checkpoints",
                    storage_path=out,
                    failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
                    checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
                    callbacks=list(callbacks) or None,
                ),
            )
        )
    finished = _summarise(out)
    storage.write_json(
        storage.join(out, RUN_FILE),
        {"config": identity, "complete": True, "result": asdict(finished)},
    )
    print(f"trained {finished.steps} steps in {finished.seconds:.0f} s: {finished.model}")
    return finished


def _fit(trainer: TorchTrainer) -> None:
    """Train; an InputError that the workers met is raised as what it is."""
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


def ensure_data(data: str, num_cpus: int | None) -> None:
    """Make the default dataset where it does not exist yet; InputError for another missing one."""
    folder = storage.absolute(data)
    if data == DEFAULT_DATA and not storage.exists(storage.join(folder, MANIFEST)):
        # Training processes import this module too, and need no simulator.
        from pipelines import synthesize

        print(f"{data} does not exist yet: synthesising a small dataset there first.")
        synthesize.run(synthesize.SynthesizeConfig(out=folder, num_cpus=num_cpus))
    open_manifest(folder)


def _check(config: TrainConfig) -> int:
    """Find mistakes in the input here rather than in every worker, and say what will be done.

    Returns the number of tuples in an epoch.
    """
    dataset, recipe = storage.absolute(config.data), config.recipe
    labels = read_labels(dataset, open_manifest(dataset), "train")
    selected = labels.take(training_rows(labels, recipe.seed, sharp_only=recipe.sharp_only))
    plan = BlissSampler(selected.object, selected.blur_level, recipe.bliss, recipe.seed)
    model = Bridge(replace(config.model, num_classes=len(selected.objects)), config.weights)
    parameters = sum(p.numel() for p in model.parameters())
    left_out = f", {plan.num_left_out} without a positive" if plan.num_left_out else ""
    print(
        f"{len(selected):,} training images of {len(selected.objects):,} objects{left_out}; "
        f"{config.model.backbone} with {parameters / 1e6:.1f} M parameters at "
        f"{config.model.image_size[0]}x{config.model.image_size[1]}; {recipe.epochs} epochs"
    )
    return len(plan)


def _finished(out: str, identity: dict[str, Any]) -> TrainResult | None:
    """The result of a complete run in `out`; InputError where another run is there."""
    path = storage.join(out, RUN_FILE)
    if not storage.exists(path):
        return None
    recorded = storage.read_json(path)
    refuse_difference(
        out, "a run with another configuration", recorded["config"], _as_json(identity)
    )
    return TrainResult(**recorded["result"]) if recorded["complete"] else None


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in value.items()}


def _scaling(config: TrainConfig) -> ray.train.ScalingConfig:
    """Workers and what each of them gets; says so where they have to share."""
    cpus, gpus = cluster.num_cpus(), cluster.num_gpus()
    use_gpu = gpus > 0 if config.use_gpu is None else config.use_gpu
    workers = config.num_workers
    if workers is None:
        workers = max(1, int(gpus)) if use_gpu else 1
    if workers < 0:
        raise InputError(f"--num-workers must be at least 0, not {workers}.")
    if use_gpu and workers > gpus:
        print(f"{workers} workers need {workers} GPUs; the cluster has {gpus:.0f} so far: waiting.")
    # GPU nodes that the autoscaler has yet to bring will bring their CPUs.
    to_come = use_gpu and workers > gpus
    share = CPUS_PER_GPU_TO_COME if to_come else cpus / max(workers, 1)
    if share < 1:
        print(f"warning: {workers} workers share {cpus:.0f} CPUs; fewer workers may be faster.")
    per_worker = min(share, config.cpus_per_worker or MAX_CPUS_PER_WORKER)
    # Rounded down, to whole CPUs or to Ray's resolution, so that all workers fit.
    per_worker = int(per_worker) if per_worker >= 1 else int(per_worker * 10_000) / 10_000
    device = "a GPU" if use_gpu else f"{per_worker:g} CPUs"
    print(f"starting {max(workers, 1)} training process(es) with {device} each", flush=True)
    return ray.train.ScalingConfig(
        num_workers=workers, use_gpu=use_gpu, resources_per_worker={"CPU": per_worker}
    )


def train_worker(settings: dict[str, Any]) -> None:
    """One training process; all of them run this."""
    config: TrainConfig = settings["config"]
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    trainer = build_trainer(config, str(device), torch.get_num_threads())
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            trainer.load(Path(folder))
    if context.get_world_rank() != 0:
        for event in trainer.run():
            if event.checkpoint:
                ray.train.report(event.metrics)
        return
    with RunLog(settings["out"], trainer.step) as log:
        for event in trainer.run():
            log.add(event.step, _line(event, trainer))
            if event.checkpoint:
                _report(event, trainer, settings["out"])


def build_trainer(config: TrainConfig, device: str, threads: int) -> Trainer:
    """The trainer of one process, at step 0."""
    recipe = config.recipe
    dataset = storage.absolute(config.data)
    manifest = open_manifest(dataset)
    data = load_training_data(dataset, manifest, recipe.seed, sharp_only=recipe.sharp_only)
    torch.manual_seed(recipe.seed)
    model_config = replace(config.model, num_classes=len(data.labels.objects))
    return Trainer(
        Bridge(model_config, weights=config.weights),
        recipe,
        data,
        load_validation_data(dataset, manifest, recipe.seed),
        device=device,
        threads=threads,
        model_info={"dataset_hash": manifest.content_hash, "recipe": asdict(recipe)},
    )


def _line(event: Event, trainer: Trainer) -> dict[str, Any]:
    return {
        "epoch": event.epoch,
        "total_steps": trainer.total_steps,
        "images_per_step": trainer.images_per_step,
        **event.metrics,
    }


def _report(event: Event, trainer: Trainer, out: str) -> None:
    """Hand a checkpoint to Ray and, where it is the best so far, publish its model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trainer.save(folder)
        if event.improved:
            trainer.save_model(storage.join(out, "model"))
        ray.train.report(event.metrics, checkpoint=ray.train.Checkpoint.from_directory(temporary))


def _summarise(out: str) -> TrainResult:
    """From the log: steps, time spent training and the best validation mAP."""
    lines = read_metrics(out)
    seconds = sum(line["seconds"] for line in lines)
    best = max((line[CHOICE] for line in lines if CHOICE in line), default=None)
    return TrainResult(storage.join(out, "model"), lines[-1]["step"], seconds, best)


@contextmanager
def _follow(out: str) -> Iterator[None]:
    """Print the run's metrics as they are logged, whichever node they come from."""
    stop = threading.Event()

    def follow() -> None:
        shown = len(read_metrics(out))
        while not stop.wait(1.0):
            lines = read_metrics(out)
            # A restart from a checkpoint takes lines back.
            for line in lines[min(shown, len(lines)) :]:
                print(format_line(line), flush=True)
            shown = len(lines)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


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
    run(cli.parse_with_preset(PRESETS, default_preset, description=__doc__))


if __name__ == "__main__":
    cli.guarded(main)
