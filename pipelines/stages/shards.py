"""Making the shards of a DATASET over the cluster: one stage for simulation and for all imports.

A shard is made by a function `work(unit, *shared) -> ShardResult` that writes it whole. Those that
the manifest names are kept, so that a command that was interrupted continues.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.common.errors import InputError
from bridge.common.manifest_writer import ManifestWriter
from bridge.common.progress import progress
from bridge.dataset.card import write_card
from bridge.dataset.manifest import Manifest, Rejection, ShardResult
from pipelines.stages import engine


@dataclass(frozen=True)
class Losses:
    """How much of the input may come to nothing.

    Attributes:
        total: inputs that are tried.
        most: share of them that may be lost.
        name: of the inputs, in the plural.
        reasons: of the rejections that stand for a lost input each; others are of something else.
        advice: the end of the sentence that refuses more, a question.
    """

    total: int
    most: float
    name: str
    reasons: Container[str]
    advice: str = "."

    def count(self, rejections: Sequence[Rejection]) -> int:
        """How many of some rejections stand for a lost input."""
        return sum(rejection.reason in self.reasons for rejection in rejections)

    def refuse(self, lost: int, example: str = "") -> None:
        """InputError where too many inputs are lost."""
        if lost > self.most * self.total:
            raise InputError(
                f"At least {lost} of {self.total} {self.name} came to nothing, more than "
                f"--max-rejected {self.most} allows{example}{self.advice}"
            )


@dataclass(frozen=True)
class Shards:
    """The shards of a dataset.

    Attributes:
        missing: units of those that the manifest does not name; a list, or a sequence that works
            each of them out when it is asked for.
        number: of all shards.
        images: that all of them would have if nothing were lost.
        missing_images: those of `missing`.
        images_per_input: what a lost input is less.
        losses: what may be lost.
    """

    missing: Sequence[Any]
    number: int
    images: int
    missing_images: int
    losses: Losses
    images_per_input: int = 1


def make_missing(
    title: str,
    folder: str,
    manifest: Manifest,
    shards: Shards,
    work: Callable[..., Any],
    *shared: Any,
    gpus: float = 0,
    actors: engine.Actors | None = None,
) -> Manifest:
    """Make the shards that the manifest does not name, and add them to it as they come.

    Args:
        title: of the progress.
        folder: of the dataset, claimed by this command.
        manifest: what there is of it.
        shards: what there is to make.
        work: makes the shard of a unit: a function or, with `actors`, a class as in `engine.run`
            whose results are `ShardResult`s.
        shared: arguments that all units have in common.
        gpus, actors: as in `engine.run`.

    Raises:
        InputError: as soon as it is certain that too much is lost.
    """
    losses = shards.losses
    lost = losses.count(manifest.all_rejections)
    made = shards.number - len(shards.missing)
    before = shards.images - shards.missing_images
    with (
        progress(title, shards.images, "images", before) as counter,
        ManifestWriter(folder, manifest, Manifest.with_shards, manifest.blank()) as writer,
    ):
        counter.failures = lost
        losses.refuse(lost)
        for result in engine.run(work, shards.missing, *shared, gpus=gpus, actors=actors):
            writer.add(result)
            new = losses.count(result.rejections)
            made, lost = made + 1, lost + new
            counter.failures = lost
            left_out = f", {lost:,} {losses.name} left out" if lost else ""
            note = f"{made:,} of {shards.number:,} shards{left_out}"
            counter.advance(result.record.rows + shards.images_per_input * new, note)
            losses.refuse(lost, _example(result, losses))
    return writer.save()


def _example(result: ShardResult, losses: Losses) -> str:
    """One of the inputs that a shard lost, for a sentence."""
    found = next((r for r in result.rejections if r.reason in losses.reasons), None)
    return "" if found is None else f", e.g. {found.item} ({found.detail or found.reason})"


def finish(folder: str, manifest: Manifest) -> Manifest:
    """Declare a dataset complete, all of whose shards are there, and write its card."""
    write_card(folder, manifest)
    manifest = manifest.finished()
    manifest.save(folder)
    return manifest
