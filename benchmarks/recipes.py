"""What each part of the strong recipe is worth: trainings at equal image passes, on test objects.

    python benchmarks/recipes.py --data DATASET --out FOLDER
    python benchmarks/recipes.py --data DATASET --out FOLDER --only strong paper --seeds 0

Every training is one process without Ray, from ImageNet weights, with the network of the quick
preset. The model after the last step is evaluated on the test objects (mAP over the whole ranking).
A training that FOLDER has a result of is not repeated: several commands may share a folder.
"""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.report import Table, save
from benchmarks.training_measures import load
from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.common.record import to_json
from bridge.dataset.manifest import open_manifest
from bridge.model.config import QUICK, ModelConfig, Norm
from bridge.model.registry import build_model
from bridge.training.augmentation import Augmentation
from bridge.training.bliss import BlissConfig
from bridge.training.losses import LossConfig
from bridge.training.presets import PRESETS
from bridge.training.recipe import Recipe
from bridge.training.trainer import Trainer
from bridge.training.validation import load_validation_data, validate

TABLE = Table(
    "training | image passes | mAP | range | seeds | by query BL 1..6",
    "{name} | {passes:,} | {map:.2f} | {low:.1f} to {high:.1f} | {seeds} | {by_level}",
)


@dataclass(frozen=True)
class Config:
    """What to train."""

    data: str
    """A dataset with train and test objects."""
    out: Path
    """Folder of the results."""
    passes: int = 22_440
    """Images that a training sees, with repetition, unless its name says otherwise."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of initial heads, selection, plan and augmentation."""
    only: tuple[str, ...] = ()
    """Variants to train; default: all."""
    threads: int = 2
    """CPU threads of each training."""


class Variant(NamedTuple):
    """A training of the study; `share` is that of the image passes."""

    model: ModelConfig
    recipe: Recipe
    share: float = 1.0


def variants() -> dict[str, Variant]:
    """All trainings by name: the paper's, the strong one, and the strong one without each part.

    The network is that of the quick preset throughout, with the paper's treatment of its norms in
    the paper's. Steps have 60 to 224 images; image passes are equal.
    """
    strong = Variant(PRESETS["bridge"]["quick"].model, PRESETS["bridge"]["quick"].recipe)
    paper = Variant(
        replace(QUICK, norm="none", imagenet_norm=False), PRESETS["bridge"]["paper"].recipe
    )
    folded = Variant(strong.model, replace(paper.recipe, learning_rate=1e-3))
    tuples = replace(strong.recipe.loss, pairs="tuple")
    weight = replace(strong.recipe.loss, classification=LossConfig().classification)
    two = BlissConfig(num_positives=1, num_negatives=0)

    def but(**recipe: Any) -> Variant:
        return strong._replace(recipe=replace(strong.recipe, **recipe))

    def norm(kind: Norm) -> Variant:
        return strong._replace(model=replace(strong.model, norm=kind))

    return {
        "paper": paper,
        "paper, folded norms, Adam 1e-3": folded,
        "paper, folded norms, Adam 1e-3, five times the passes": folded._replace(share=5.0),
        "strong": strong,
        "strong, a fifth of the passes": strong._replace(share=0.2),
        "without folding: norms dropped": norm("none"),
        "without folding: norms frozen": norm("frozen"),
        "without heads on all images": but(supervise="query"),
        "without in-batch pairs": but(loss=tuples, bliss=BlissConfig(), batch_size=10),
        "with two images of an object instead of three": but(bliss=two, batch_size=33),
        "with the paper's weight of classification": but(loss=weight),
        "without averaged weights": but(ema_decay=0.0),
        "without cosine and warm-up": but(schedule="constant", warmup_steps=0),
        "without augmentation": but(augment=Augmentation()),
    }


def train(config: Config, variant: Variant, seed: int) -> dict[str, Any]:
    """Train and evaluate; mAP in percent."""
    per_step = variant.recipe.batch_size * variant.recipe.tuple_size
    steps = round(config.passes * variant.share / per_step)
    recipe = replace(variant.recipe, seed=seed, steps=steps)
    data = load(config.data, recipe)
    torch.manual_seed(seed)
    model = build_model(replace(variant.model, num_classes=len(data.labels.objects)), "imagenet")
    trainer = Trainer(model, recipe, data, None, threads=config.threads)
    started = time.monotonic()
    with progress(f"seed {seed}", steps, "steps") as counter:
        for event in trainer.run():
            counter.advance(event.step - counter.done, f"loss {event.metrics['loss/total']:.3f}")
    seconds = time.monotonic() - started
    # Every seed is tested on the same queries and database.
    test = load_validation_data(config.data, open_manifest(config.data), 0, split="test")
    if test is None:
        raise InputError(f"{config.data} has no test objects.")
    scores = validate(trainer.evaluated, test, config.threads)
    return {
        "map": 100 * scores["validation/map"],
        "by_level": {k[-1]: 100 * v for k, v in scores.items() if "blur_level" in k},
        "passes": steps * trainer.images_per_step,
        "seconds": seconds,
        "queries": test.num_queries,
        "database": len(test.images) - test.num_queries,
    }


def summary(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread of a variant over its seeds."""
    maps = [run["map"] for run in runs]
    levels = [statistics.mean(run["by_level"][str(i)] for run in runs) for i in range(1, 7)]
    return {
        "name": name,
        "passes": runs[0]["passes"],
        "map": statistics.mean(maps),
        "low": min(maps),
        "high": max(maps),
        "seeds": len(runs),
        "by_level": " ".join(f"{level:.1f}" for level in levels),
    }


def main(config: Config) -> None:
    """Train what is missing, and print and write the table of all that is there."""
    torch.set_num_threads(config.threads)
    every = variants()
    if unknown := sorted(set(config.only) - every.keys()):
        raise InputError(f"There is no variant {unknown}; choose among {list(every)}.")
    for seed in config.seeds:
        for name in config.only or every:
            _run_once(config, every[name], _file(config, name, seed), seed)
    results: dict[str, list[dict[str, Any]]] = {}
    for name in every:
        files = [_file(config, name, seed) for seed in config.seeds]
        if found := [storage.read_json(str(file)) for file in files if file.exists()]:
            results[name] = found
    text = TABLE.text(summary(name, runs) for name, runs in results.items())
    save(config.out / "recipes.md", [text], {"results": results})


def _file(config: Config, name: str, seed: int) -> Path:
    return config.out / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-{seed}.json"


def _run_once(config: Config, variant: Variant, file: Path, seed: int) -> None:
    # All that decides a result but the seed.
    recipe = replace(variant.recipe, epochs=1, validate_every=0, log_every=1, seed=0)
    what = {
        "model": to_json(variant.model),
        "recipe": to_json(recipe),
        "passes": config.passes * variant.share,
        "data": open_manifest(config.data).content_hash,
    }
    if file.exists() and storage.read_json(str(file))["what"] != what:
        raise InputError(f"{file} is of another study: choose another --out, or delete it.")
    if not file.exists():
        print(f"training {file.stem}", flush=True)
        scores = train(config, variant, seed)
        print(f"mAP {scores['map']:.2f} in {scores['seconds']:.0f} s", flush=True)
        storage.write_json(str(file), scores | {"what": what, "seed": seed})


if __name__ == "__main__":
    cli.main(main, Config, description=__doc__)
