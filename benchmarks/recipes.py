"""What each part of the strong recipe is worth: trainings at equal image passes, on test objects.

    python benchmarks/recipes.py --data DATASET --out FOLDER
    python benchmarks/recipes.py --data DATASET --out FOLDER --only strong paper --seeds 0

Every training is one process without Ray, from ImageNet weights, with the network of the quick
preset. The model after the last step is evaluated on the test objects (mAP over the whole ranking).
A training that FOLDER has a result of is not repeated, so the command can be interrupted and
continued, and several of them may share a folder, each with variants of its own.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.tables import save, table
from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.dataset.manifest import open_manifest
from bridge.model.config import QUICK, BridgeConfig
from bridge.model.network import Bridge
from bridge.training.augmentation import Augmentation
from bridge.training.bliss import BlissConfig
from bridge.training.data import select_training_images
from bridge.training.losses import LossConfig
from bridge.training.presets import PRESETS
from bridge.training.recipe import Recipe
from bridge.training.trainer import Trainer
from bridge.training.validation import load_validation_data, validate


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


@dataclass(frozen=True)
class Variant:
    """A training of the study."""

    model: BridgeConfig
    recipe: Recipe
    share: float = 1.0
    """Of the image passes."""


def variants() -> dict[str, Variant]:
    """All trainings by name: the paper's, the strong one, and the strong one without each part.

    The network is that of the quick preset throughout, with the paper's treatment of its norms in
    the paper's. Steps have 60 to 224 images; image passes are equal.
    """
    quick = PRESETS["bridge"]["quick"]
    strong = Variant(quick.model, quick.recipe)
    paper = Variant(
        replace(QUICK, norm="none", imagenet_norm=False), PRESETS["bridge"]["paper"].recipe
    )
    paper_samples = BlissConfig(num_positives=1, num_negatives=5)

    def without(model: dict[str, Any] | None = None, **recipe: Any) -> Variant:
        return Variant(replace(strong.model, **(model or {})), replace(strong.recipe, **recipe))

    return {
        "paper": paper,
        "paper, folded norms, Adam 1e-3": Variant(
            strong.model, replace(paper.recipe, learning_rate=1e-3)
        ),
        "paper, folded norms, Adam 1e-3, five times the passes": Variant(
            strong.model, replace(paper.recipe, learning_rate=1e-3), share=5.0
        ),
        "strong": strong,
        "strong, a fifth of the passes": replace(strong, share=0.2),
        "without folding: norms dropped": without(model={"norm": "none"}),
        "without folding: norms frozen": without(model={"norm": "frozen"}),
        "without heads on all images": without(supervise="query"),
        "without in-batch pairs": without(
            loss=replace(strong.recipe.loss, pairs="tuple"), bliss=paper_samples, batch_size=10
        ),
        "with two images of an object instead of three": without(
            bliss=BlissConfig(num_positives=1, num_negatives=0), batch_size=33
        ),
        "with the paper's weight of classification": without(
            loss=replace(strong.recipe.loss, classification=LossConfig().classification)
        ),
        "without averaged weights": without(ema_decay=0.0),
        "without cosine and warm-up": without(schedule="constant", warmup_steps=0),
        "without augmentation": without(augment=Augmentation()),
    }


def train(config: Config, variant: Variant, seed: int) -> dict[str, Any]:
    """Train and evaluate; mAP in percent."""
    manifest = open_manifest(config.data)
    per_step = variant.recipe.batch_size * variant.recipe.tuple_size
    steps = round(config.passes * variant.share / per_step)
    recipe = replace(variant.recipe, seed=seed, steps=steps)
    data = select_training_images(
        config.data, manifest, seed, blur_target=recipe.blur_target, bliss=recipe.bliss
    ).load()
    torch.manual_seed(seed)
    model = Bridge(replace(variant.model, num_classes=len(data.labels.objects)), "imagenet")
    trainer = Trainer(model, recipe, data, None, threads=config.threads)
    started = time.monotonic()
    for event in trainer.run():
        if event.step % 100 == 0:
            print(f"  step {event.step}/{steps} loss {event.metrics['loss/total']:.3f}", flush=True)
    seconds = time.monotonic() - started
    # Every seed is tested on the same queries and database.
    test = load_validation_data(config.data, manifest, 0, split="test")
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


def report(results: dict[str, list[dict[str, Any]]]) -> str:
    """Mean and spread over the seeds, by variant."""
    rows = []
    for name, runs in results.items():
        maps = [run["map"] for run in runs]
        spread = f"{min(maps):.1f} to {max(maps):.1f}" if len(maps) > 1 else "one seed"
        levels = [statistics.mean(run["by_level"][str(i)] for run in runs) for i in range(1, 7)]
        by_level = " ".join(f"{level:.1f}" for level in levels)
        passes = f"{runs[0]['passes']:,}"
        rows.append((name, passes, f"{statistics.mean(maps):.2f}", spread, len(maps), by_level))
    return table(("training", "image passes", "mAP", "range", "seeds", "by query BL 1..6"), rows)


def main(config: Config) -> None:
    """Train what is missing, and print and write the table of all that is there."""
    torch.set_num_threads(config.threads)
    every = variants()
    if unknown := sorted(set(config.only) - every.keys()):
        raise InputError(f"There is no variant {unknown}; choose among {list(every)}.")
    config.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in config.seeds:
        for name in config.only or every:
            _run_once(config, name, every[name], seed)
    for name in every:
        found = [f for s in config.seeds if (f := _file(config, name, s)).exists()]
        if found:
            results[name] = [storage.read_json(str(file)) for file in found]
    save(config.out / "recipes.md", report(results), {"results": results})


def _run_once(config: Config, name: str, variant: Variant, seed: int) -> None:
    file = _file(config, name, seed)
    what = _identity(config, variant)
    if file.exists():
        if storage.read_json(str(file))["what"] == what:
            return
        raise InputError(f"{file} is of another study: choose another --out, or delete it.")
    print(f"{name}, seed {seed}", flush=True)
    scores = train(config, variant, seed)
    print(f"{name}, seed {seed}: mAP {scores['map']:.2f} in {scores['seconds']:.0f} s", flush=True)
    storage.write_json(str(file), scores | {"what": what, "seed": seed})


def _identity(config: Config, variant: Variant) -> dict[str, Any]:
    """All that decides a result but the seed, as JSON reads it."""
    recipe = asdict(variant.recipe)
    for unused in ("epochs", "validate_every", "log_every", "seed"):
        del recipe[unused]
    what = {
        "model": asdict(variant.model),
        "recipe": recipe,
        "passes": config.passes * variant.share,
        "data": open_manifest(config.data).content_hash,
    }
    return json.loads(json.dumps(what))


def _file(config: Config, name: str, seed: int) -> Path:
    return config.out / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-{seed}.json"


if __name__ == "__main__":
    cli.main(main, Config, description=__doc__)
