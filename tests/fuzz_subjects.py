"""What is damaged, and how each of it is read: as the commands read it.

python -m tests.fuzz_subjects FOLDER      makes the sound artefacts, and what reading them gives
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from bridge.common.errors import InputError
from bridge.training.errors import NonFiniteLoss

REFUSALS = (InputError, NonFiniteLoss)
CHECKPOINTS = "run/checkpoints/local"


@dataclass(frozen=True)
class Subject:
    """Files that are damaged, by patterns, the manifest with their hashes, and their reader.

    `read` gives a digest of all that was read.
    """

    files: tuple[str, ...]
    read: Callable[[Path], str]
    manifest: str | None = None


def _digest(*values: Any) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode())
    return digest.hexdigest()


def _dataset(folder: Path) -> str:
    from bridge.dataset.manifest import open_manifest
    from bridge.training.recipe import Recipe
    from bridge.training.selection import select_training_images
    from bridge.training.validation import load_validation_data
    from pipelines.stages.embedding_plan import plan_parts

    os.environ["BRIDGE_CACHE"] = str(folder / "cache")
    data = str(folder / "data")
    manifest = open_manifest(data)
    training = select_training_images(data, manifest, Recipe()).load()
    batch = training.batch(training_rows(len(training.labels)), (24, 32))
    validation = load_validation_data(data, manifest, 0)
    parts = list(plan_parts({data: manifest}, 0, "model", "float32"))
    images = [image for part in parts for image in part.read()[1]]
    return _digest(
        batch.images.numpy(),
        batch.objects.numpy(),
        validation and validation.labels.image_id.to_pylist(),
        [part.record.key for part in parts],
        images,
    )


def training_rows(length: int) -> Any:
    """All rows, as tuples of one."""
    import numpy as np

    return np.arange(length)[:, None]


def _model(folder: Path) -> str:
    import torch

    import bridge

    model = bridge.load(folder / "searchable" / "model")
    images = torch.arange(3 * 24 * 32, dtype=torch.float32).reshape(1, 3, 24, 32) / (3 * 24 * 32)
    return _digest(model.embed(images).numpy())


def _weights_file(folder: Path) -> str:
    from bridge.model.weights import read_tensors

    tensors = read_tensors(folder / "weights.pt")
    return _digest(*[(name, value.numpy()) for name, value in sorted(tensors.items())])


def _index(folder: Path) -> str:
    from bridge.evaluation.protocols import tasks
    from bridge.index.folder import open_index_manifest, read_descriptors
    from bridge.index.search import open_search_index
    from bridge.index.searcher import Searcher

    index, model = str(folder / "searchable" / "index"), str(folder / "searchable" / "model")
    searcher = Searcher(index, model=model, threads=1)
    pictures = [entry.picture() for entry in searcher.catalogue.entries([0, 7])]
    found = searcher.search(pictures, 5)
    objects, levels = searcher.catalogue.objects(), searcher.catalogue.levels
    manifest = open_index_manifest(index)
    open_search_index(index, manifest, verify=True)
    rows = read_descriptors(index, manifest)
    scores = [task.evaluate().map for task in tasks(rows)]
    return _digest(found, objects, levels, scores)


def _run(folder: Path) -> str:
    from pipelines.stages.train_result import finished_run

    run = folder / "run"
    identity = json.loads((folder / "identity.json").read_text())
    return _digest(finished_run(str(run), identity))


def _metrics(folder: Path) -> str:
    from bridge.training.run_log import RunLog, format_line, read_metrics
    from pipelines.stages.training import summary_of

    run = str(folder / "run")
    lines = read_metrics(run)
    summary = summary_of(run)
    with RunLog(run, 8):
        pass
    return _digest([format_line(line) for line in lines], replace(summary, model=""))


def _checkpoint(folder: Path) -> str:
    from pipelines.stages.train_worker import build_trainer, resume_from
    from tests.fuzz_make import training_config

    trainer = build_trainer(training_config(folder), "cpu", 1)
    checkpoints = sorted((folder / CHECKPOINTS).glob("step-*"))
    import ray.train

    resume_from(trainer, [ray.train.Checkpoint.from_directory(str(path)) for path in checkpoints])
    state = trainer.model.state_dict()
    return _digest(trainer.step, *(state[name].numpy() for name in sorted(state)))


def _search(folder: Path) -> str:
    from tests.fuzz_make import search_config
    from tune.records import read_trials
    from tune.search import check_identity

    out = str(folder / "search")
    check_identity(search_config(folder), out)
    return _digest(read_trials(out))


SUBJECTS = {
    "dataset": Subject(("data/manifest.json",), _dataset),
    "shard": Subject(("data/data/*.parquet",), _dataset, "data/manifest.json"),
    "selections": Subject(("data/selections.parquet",), _dataset),
    "cache": Subject(("cache/*.arrow",), _dataset),
    "model": Subject(("searchable/model/config.json",), _model),
    "weights": Subject(("searchable/model/model.safetensors",), _model),
    "weights-file": Subject(("weights.pt",), _weights_file),
    "index": Subject(("searchable/index/manifest.json",), _index),
    "part": Subject(
        ("searchable/index/descriptors/*.parquet",), _index, "searchable/index/manifest.json"
    ),
    "faiss": Subject(("searchable/index/index.faiss",), _index),
    "run": Subject(("run/run.json",), _run),
    "metrics": Subject(("run/metrics.jsonl",), _metrics),
    "checkpoint": Subject((f"{CHECKPOINTS}/*/*",), _checkpoint),
    "search": Subject(("search/search.json", "search/trials/*/trial.json"), _search),
}


def import_all() -> None:
    """Import what readers need, so that each child has it; nothing may start a thread."""
    for name in (
        "bridge.dataset.cache",
        "bridge.evaluation.protocols",
        "bridge.index.search",
        "bridge.index.searcher",
        "bridge.model.checkpoint",
        "bridge.model.embedding",
        "pipelines.stages.embedding_plan",
        "pipelines.stages.train_worker",
        "pipelines.stages.training",
        "tests.fuzz_make",
        "tune.search",
    ):
        import_module(name)


def main(folder: Path) -> None:
    """Make the sound artefacts, and note what reading them gives."""
    from tests.fuzz_make import make

    sound = folder / "sound"
    make(sound)
    os.environ["BRIDGE_CACHE"] = str(sound / "cache")
    for name, subject in SUBJECTS.items():
        (sound / f"{name}.digest").write_text(subject.read(sound))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
