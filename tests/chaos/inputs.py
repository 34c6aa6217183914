"""What the subjects work on: drawn pictures and small networks, made once in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.factories import make_dataset, write_photos
from tests.kills import start
from tests.searchable import make_model

SMALL = {"backbone": "test_resnet", "image_size": [24, 32]}
BRIDGE = {**SMALL, "cls_dim": 16, "aux_dim": 8, "aux_hidden": 8, "descriptor_dim": 16}
STUDY = {
    "title": "A study to be struck",
    "passes": 1600,
    "seeds": [0, 1],
    "reference": "BRIDGE",
    "configurations": [
        {
            "name": "BRIDGE",
            "preset": "paper",
            "weights": "none",
            "options": {**BRIDGE, "batch_size": 8, "num_negatives": 2, "log_every": 1},
        },
        {"name": "colours", "method": "histogram", "options": {"image_size": [24, 32]}},
    ],
}
PHOTOS = 6 * 1024
"""Of which a shard takes 1024."""


def _made(path: Path, make: Callable[[Path], Any]) -> Path:
    """Make it, unless it is there; what was being made when a command ended does not count."""
    if not path.exists():
        unfinished = path.with_name(f"{path.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(path)
    return path


def trained(folder: Path) -> Path:
    """A dataset to train on and to search in."""
    return _made(
        folder / "trained",
        lambda path: make_dataset(path, {"train": 6, "validation": 3, "test": 4}),
    )


def searched(folder: Path) -> Path:
    """A dataset of queries and what they are searched in."""
    return _made(folder / "searched", lambda path: make_dataset(path, {"test": 24}))


def distractors(folder: Path) -> Path:
    """Images of other objects."""
    return _made(
        folder / "distractors", lambda path: make_dataset(path, {"distractor": 60}, first=100)
    )


def model(folder: Path) -> Path:
    """An untrained network."""
    return _made(folder / "model", make_model)


def photos(folder: Path) -> Path:
    """A folder per object."""
    names = [f"{number % 256:03d}/{number:05d}.jpg" for number in range(PHOTOS)]
    return _made(folder / "photos", lambda path: write_photos(path, *names))


def grid(folder: Path) -> Path:
    """A study of four runs."""
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


def index(folder: Path) -> Path:
    """An index of all these images."""
    options = ["--model", str(model(folder)), "--data", str(searched(folder))]
    options += ["--distractors", str(distractors(folder)), "--num-cpus", "2"]

    def build(path: Path) -> None:
        command = start("pipelines/build_index.py", [*options, "--out", str(path / "index")])
        assert command.wait() == 0

    return _made(folder / "index", build) / "index"
