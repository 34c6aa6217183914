"""The commands that are struck: how each is called, what it does so far, and what it must leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import contents, inputs

MAPPER, TRAINER, TRIAL = "ray::Map", "ray::RayTrainWorker", "ray::ImplicitFunc"
"""Titles of processes that work: for the engine, in a training, and that lead a trial."""


@dataclass(frozen=True)
class Subject:
    """A command that can be struck.

    Attributes:
        script: what runs.
        options: but for `--out`; those in braces are what `inputs` makes.
        titles: of the processes that work for it.
        done: how much there is in a folder, which grows from 0 to a number that depends on the
            options; None: nothing is seen of it before its end.
        unit: of that, in the plural.
        content: all that a finished run must leave, by name.
        inside: where in the folder of a run it is made, out of sight of the other run.
        leaves_out: kinds of strikes that find nothing to strike.
        fills: whether it is also run on a disk that is too small for it.
    """

    script: str
    options: str
    titles: tuple[str, ...]
    done: Callable[[Path], int] | None
    unit: str
    content: Callable[[Path], dict[str, str]]
    inside: str = "."
    leaves_out: tuple[str, ...] = ()
    fills: bool = True

    def words(self, folder: Path) -> list[str]:
        """The options, with what they work on, which is made in a folder."""
        return [
            str(getattr(inputs, word[1:-1])(folder)) if word[0] == "{" else word
            for word in self.options.split()
        ]


SUBJECTS = {
    "synthesis": Subject(
        "pipelines/synthesize.py",
        "--categories 4 --objects-per-category 7 --trajectories 6 --image-size 60 80 "
        "--trajectories-per-shard 4 --num-cpus 2",
        (MAPPER,),
        contents.shards,
        "shards",
        contents.dataset,
    ),
    "photos": Subject(
        "pipelines/import_photos.py",
        "--photos {photos} --layout objects --model {model} --num-cpus 2",
        (MAPPER,),
        contents.shards,
        "shards",
        contents.dataset,
    ),
    "training": Subject(
        "pipelines/train.py",
        "--preset paper --data {trained} --weights none --backbone test_resnet --image-size 24 32 "
        "--cls-dim 16 --aux-dim 8 --aux-hidden 8 --descriptor-dim 16 --num-negatives 2 "
        "--epochs 30 --batch-size 8 --log-every 1 --checkpoint-every 4 "
        "--num-workers 2 --cpus-per-worker 1 --max-failures 100 --num-cpus 2",
        (TRAINER,),
        contents.steps,
        "steps",
        contents.training,
    ),
    "index": Subject(
        "pipelines/build_index.py",
        "--model {model} --data {searched} --distractors {distractors} --batch-size 16 "
        "--num-cpus 2",
        (MAPPER,),
        contents.parts,
        "parts",
        contents.index,
        inside="index",
    ),
    "evaluation": Subject(
        "pipelines/evaluate.py",
        "--index {index} --rerank none aqe superglobal",
        (MAPPER,),
        None,
        "s",
        contents.report,
        # Alone it is one process, and on nodes its work takes a moment.
        leaves_out=("worker", "everything", "node short of memory"),
    ),
    "search": Subject(
        "tune/search.py",
        "--preset range --data {trained} --weights none --epochs 8 --space.contrastive-range 1 3 "
        "--space.seed 0 --fix log-every=1 batch-size=8 backbone=test_resnet --num-cpus 1",
        (TRAINER, TRIAL),
        contents.trained_steps,
        "steps",
        contents.search,
    ),
    "study": Subject(
        "pipelines/study.py",
        "--grid {grid} --data {trained} --concurrent-runs 2 --num-cpus 2",
        (TRAINER, MAPPER),
        contents.trained_steps,
        "steps and parts",
        contents.study,
    ),
}
