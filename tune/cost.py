"""What a search would cost, from a few random images through its network."""

from __future__ import annotations

import torch

from bridge.common.progress import duration
from bridge.model.registry import build_model
from bridge.training.cost import estimate
from pipelines.stages import cluster, train_plan
from pipelines.stages.train_options import TrainConfig
from tune.options import SearchConfig
from tune.space import Dimensions
from tune.trials import concurrency, cpus_each


def dry_run(
    config: SearchConfig, space: Dimensions, base: TrainConfig, wanted: int, *, is_missing: bool
) -> None:
    """Print the trials, their time and their core- or GPU-hours; writes nothing."""
    print(f"{wanted} trials of --preset {config.varied}, varied:")
    for name, dimension in space.items():
        print(f"  {name.replace('_', '-')}: {dimension}")
    if is_missing:
        print(
            f"{config.data} does not exist yet and would be synthesised first: see\n"
            "  python pipelines/synthesize.py --dry-run\nWhat trials cost depends on it."
        )
        return
    plan = train_plan.plan_of(base)
    print(f"each trial: {plan}, {plan.passes:,} images in {base.recipe.epochs} epochs")
    cluster.connect(config.num_cpus)
    gpus, at_once = int(cluster.num_gpus()), concurrency(config)
    cost = estimate(
        build_model(base.model),
        base.recipe,
        images_per_step=plan.images_per_step,
        total_steps=plan.steps,
        device="cuda" if gpus and torch.cuda.is_available() else "cpu",
        workers=config.workers_per_trial,
        compute=base.compute,
    )
    seconds = cost.seconds_total
    share = config.workers_per_trial * (1 if gpus else cpus_each(config))
    kind = "GPU-hours" if gpus else "core-hours"
    least = wanted * seconds * (1 if config.is_grid else 1 / base.recipe.epochs)
    for told, total in (("all trained to the end", wanted * seconds), ("at the least", least)):
        print(
            f"{told}: about {duration(total / min(at_once, wanted))} with {at_once} at a time, "
            f"{total * share / 3600:.2f} {kind}"
        )
        if config.is_grid:
            break
    print(
        f"Measured with random images on {cost.device}, training alone: without starts, reading "
        "data and validation."
    )
