"""The whole chain at a size for two cores: from generated objects to a report.

    python pipelines/demo.py            or: make demo

Simulates a dataset and distractors, trains the quick preset, indexes and evaluates the trained
network and the same network untrained, and says where the report is. Run it again after an
interruption: what is finished is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import tyro

from bridge.common import cli, storage
from bridge.common.record import Count, WholeNumber, check
from bridge.common.watch import current, watched
from bridge.common.watch_options import LogOptions
from bridge.simulator.config import ImageSide
from pipelines import build_index, evaluate, synthesize, train
from pipelines.stages.running import publish, size_of_cluster
from pipelines.stages.train_options import trainings

STAGES = 5


@dataclass(frozen=True)
class DemoConfig:
    """How large a demonstration. The defaults take less than ten minutes on two cores."""

    out: str = "demo"
    """Folder of everything that it makes."""
    objects_per_category: Count = 12
    """Built-in objects per shape family, for the dataset."""
    trajectories: Count = 12
    """Trajectories per object."""
    distractors_per_category: Count = 4
    """Built-in objects per shape family, for the distractors."""
    epochs: Count = 8
    """Epochs of training."""
    image_size: tuple[ImageSide, ImageSide] = (120, 160)
    """Height and width of the images in pixels."""
    num_workers: WholeNumber = 1
    """Training processes."""
    seed: WholeNumber = 0
    """Of everything random."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    watch: tyro.conf.OmitArgPrefixes[LogOptions] = field(default_factory=LogOptions)

    def __post_init__(self) -> None:
        check(self)


def run(config: DemoConfig) -> dict[str, Any]:
    """Run the chain; returns the evaluation's results by method and protocol."""
    out = storage.absolute(config.out)
    with watched("demo", out, size=size_of_cluster, publish=publish):
        return _run(config, out)


def _run(config: DemoConfig, out: str) -> dict[str, Any]:
    data, distractors = storage.join(out, "data"), storage.join(out, "distractors")
    simulate = synthesize.SynthesizeConfig(
        out=data,
        objects_per_category=config.objects_per_category,
        trajectories=config.trajectories,
        image_size=config.image_size,
        seed=config.seed,
        num_cpus=config.num_cpus,
    )
    _stage(1, "simulate the dataset", lambda: synthesize.run(simulate))
    _stage(
        2,
        "simulate the distractors",
        lambda: synthesize.run(
            replace(
                simulate,
                out=distractors,
                kind="distractors",
                objects_per_category=config.distractors_per_category,
                trajectories=max(1, config.trajectories // 2),
            )
        ),
    )
    quick = trainings("bridge")["quick"]
    training = replace(
        quick,
        data=data,
        out=storage.join(out, "run"),
        num_workers=config.num_workers,
        num_cpus=config.num_cpus,
        recipe=replace(quick.recipe, epochs=config.epochs, seed=config.seed),
    )
    trained = _stage(3, "train", lambda: train.run(training)).model
    models = {"trained": trained, "untrained": _untrained(training, out)}
    _stage(
        4,
        "embed and index",
        lambda: [
            build_index.run(
                build_index.BuildIndexConfig(
                    model=model,
                    data=data,
                    distractors=distractors,
                    out=storage.join(out, "indexes", name),
                    seed=config.seed,
                    num_cpus=config.num_cpus,
                )
            )
            for name, model in models.items()
        ],
    )
    report = evaluate.EvaluateConfig(
        index=storage.join(out, "indexes", "trained"),
        compare=(storage.join(out, "indexes", "untrained"),),
        out=storage.join(out, "report"),
        title="Demonstration: retrieval robust to object motion blur",
    )
    results = _stage(5, "evaluate", lambda: evaluate.run(report))
    _next_steps(config.out)
    return results


def _stage(number: int, what: str, work: Callable[[], Any]) -> Any:
    _count(number - 1, what)
    name = f"{number}/{STAGES} {what}"
    print(f"--- {name}", flush=True)
    started = time.monotonic()
    result = work()
    print(f"--- {name}: {time.monotonic() - started:.0f} s", flush=True)
    _count(number, what)
    return result


def _count(done: int, what: str) -> None:
    if (watch := current()) is not None:
        watch.count("demo", done, STAGES, "stages", note=what)


def _untrained(config: train.TrainConfig, out: str) -> str:
    """The network as training begins: pretrained backbone, fresh heads."""
    import torch

    from bridge.model.checkpoint import save_model
    from bridge.model.registry import build_model

    folder = storage.join(out, "untrained")
    torch.manual_seed(config.recipe.seed)
    # The classifier plays no part in a descriptor.
    save_model(build_model(replace(config.model, num_classes=0), config.weights), folder)
    return folder


def _next_steps(out: str) -> None:
    print(f"""
The report is {out}/report/report.html. Search with pictures of your own:

  .venv/bin/python pipelines/serve.py --index {out}/indexes/trained
""")


def main() -> None:
    """The command."""
    cli.main(run, DemoConfig, description=__doc__)


if __name__ == "__main__":
    main()
