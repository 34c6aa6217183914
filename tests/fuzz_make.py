"""The sound artefacts, small: a dataset, a model, an index, a run, a search."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

import bridge
from bridge.common import storage
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.training.bliss import BlissConfig
from bridge.training.recipe import Recipe
from pipelines.stages import train_plan
from pipelines.stages.train_options import TrainConfig
from tests.factories import SMALL_NETWORK, make_dataset, write_selections
from tests.searchable import make_index
from tune.options import SearchConfig
from tune.records import Trial, write_trial


def training_config(folder: Path) -> TrainConfig:
    """Of the run: eight steps with a checkpoint after each four, inside the driver."""
    return TrainConfig(
        preset="paper",
        data=str(folder / "train"),
        out=str(folder / "run"),
        num_workers=0,
        weights="none",
        checkpoint_every=4,
        model=SMALL_NETWORK,
        recipe=Recipe(steps=8, batch_size=8, log_every=1, bliss=BlissConfig(num_negatives=2)),
        num_cpus=1,
    )


def search_config(folder: Path) -> SearchConfig:
    """Of the search."""
    return SearchConfig(data="/data", out=str(folder / "search"))


def make(folder: Path) -> None:
    """Write them all below a folder."""
    from pipelines import train
    from pipelines.stages import cluster

    os.environ.setdefault("RAY_ADDRESS", "local")
    cluster.connect(1)
    make_index(folder / "searchable")
    make_dataset(folder / "data", {"train": 3, "validation": 2, "test": 2})
    write_selections(folder / "data", _selected(folder / "data"))
    config = training_config(folder)
    make_dataset(folder / "train", {"train": 6, "validation": 3})
    train.run(config)
    model = bridge.load(folder / "run" / "model")
    torch.save(model.state_dict(), folder / "weights.pt")
    identity = config.identity() | train_plan.data_identity(config)
    (folder / "identity.json").write_text(json.dumps(identity))
    (folder / "search").mkdir()
    storage.write_json(folder / "search" / "search.json", search_config(folder).recorded())
    for number, (blur, outcome) in enumerate(((0.5, "finished"), (1.5, "running"))):
        sampled = {"contrastive_range": 3, "classification": 0.1, "blur": blur, "localisation": 9.0}
        scores = [(1, 0.25), (2, 0.5)]
        trial = Trial(sampled, number, outcome, scores)  # type: ignore[arg-type]
        write_trial(str(folder / "search"), trial)


def _selected(dataset: Path) -> dict[str, list[str]]:
    """Some images for each role."""
    manifest = open_manifest(str(dataset))
    roles: dict[str, list[str]] = {}
    for split, wanted in (
        ("train", ["train"]),
        ("validation", ["query", "database"]),
        ("test", ["query", "database"]),
    ):
        ids = read_labels(str(dataset), manifest, split).image_id.to_pylist()
        for number, role in enumerate(wanted):
            roles.setdefault(role, []).extend(ids[number :: len(wanted)])
    return roles
