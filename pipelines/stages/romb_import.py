"""Importing the published sets: what is there is listed, and the shards are laid out over Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.progress import progress
from bridge.dataset.manifest import Manifest
from bridge.dataset.romb.archives import read_archives, read_photo_archives
from bridge.dataset.romb.plan import Part, Plan, make_romb_shard
from bridge.dataset.romb.roles import Published, write_selections
from bridge.dataset.romb.sets import (
    USUAL_FOLDERS,
    PublishedSet,
    SetName,
    distractor_set,
    real_set,
    refuse_shared,
    synthetic_set,
)
from bridge.dataset.romb.shard import DAMAGED, EMPTY, MISSING
from bridge.dataset.romb.sources import (
    Catalogue,
    Folder,
    Source,
    catalogue_of,
    categories_of,
    open_source,
    trajectories_of,
)
from pipelines.stages import cluster, engine
from pipelines.stages.dataset_request import CATALOGUE
from pipelines.stages.romb_options import ImportRombConfig
from pipelines.stages.running import running
from pipelines.stages.shards import Losses, Shards, finish, make_missing

KIND = "romb"

Places = Mapping[SetName, Folder | tuple[str, ...]]
"""Where the sets are that were asked for: a tree or archives each."""


def places_of(config: ImportRombConfig) -> dict[SetName, Folder | tuple[str, ...]]:
    """What the options name; InputError where it is not there."""
    asked: dict[SetName, tuple[str, ...]] = {
        "synthetic": config.synthetic,
        "distractors": config.distractors,
        "real": config.real,
    }
    return {name: open_source(paths, USUAL_FOLDERS[name]) for name, paths in asked.items() if paths}


def import_romb(config: ImportRombConfig, found: Manifest | None, places: Places) -> Manifest:
    """Make the dataset, or what is missing of it.

    Args:
        config: the options.
        found: what an earlier run left.
        places: as `places_of` gives them.

    Raises:
        InputError: the sets cannot be read, have changed since the import was begun, or too much of
            them is missing or damaged.
    """
    with running("import-romb", config.folder, config.watch):
        cluster.connect(config.num_cpus)
        sets = look_into(config, places)
        fingerprint = storage.sha256_json({name: each.fingerprint for name, each in sets.items()})
        if found is None:
            rejections = [r for each in sets.values() for r in each.rejections]
            adjustments = [a for each in sets.values() for a in each.adjustments]
            identity = config.identity() | {CATALOGUE: fingerprint}
            found = Manifest(KIND, identity, {}, tuple(rejections), tuple(adjustments))
            found.save(config.folder)
        elif found.config.get(CATALOGUE) != fingerprint:
            raise InputError(f"What is imported has changed since {config.folder} was begun.")
        manifest = _make_shards(config, found, [p for each in sets.values() for p in each.parts])
        return finish(config.folder, _with_selections(config, manifest, sets))


def look_into(config: ImportRombConfig, places: Places) -> dict[SetName, PublishedSet]:
    """What is in the sets; says so. InputError as `import_romb`."""
    sets: dict[SetName, PublishedSet] = {}
    for name, place in places.items():
        if name == "real":
            photos = (place, None) if isinstance(place, Folder) else read_photo_archives(place)
            sets[name] = real_set(*photos)
        else:
            source, catalogue = _trajectories(name, place)
            per_shard = config.trajectories_per_shard
            sets[name] = (
                synthetic_set(source, catalogue, config.seed, per_shard)
                if name == "synthetic"
                else distractor_set(source, catalogue, per_shard)
            )
        for note in sets[name].notes:
            print(f"{name}: {shown(note)}")
    if "synthetic" in sets and "distractors" in sets:
        refuse_shared(sets["synthetic"], sets["distractors"])
    return sets


def _trajectories(name: str, place: Folder | tuple[str, ...]) -> tuple[Source, Catalogue]:
    """The trajectories of a set: a tree is listed category by category over the cluster."""
    if not isinstance(place, Folder):
        return read_archives(place)
    categories, passed_over = categories_of(place)
    numbers: dict[str, np.ndarray] = {}
    with progress(f"list {name}", len(categories), "categories") as counter:
        for found, passed in engine.run(trajectories_of, categories, place):
            numbers |= found
            passed_over += passed
            counter.advance()
    if passed_over:
        parts = ", ".join(f"{n:,} {reason}" for reason, n in sorted(passed_over.items()))
        print(f"note: {shown(place.root)}: passed over: {parts}.")
    return place, catalogue_of(numbers)


def _make_shards(config: ImportRombConfig, manifest: Manifest, parts: Sequence[Part]) -> Manifest:
    whole, missing = Plan.of(parts), Plan.of(parts, manifest.shards)
    losses = Losses(
        whole.images, config.max_rejected, "images", (MISSING, DAMAGED, EMPTY), ": is it all there?"
    )
    shards = Shards(missing, len(whole), whole.images, missing.images, losses)
    return make_missing(
        "import", config.folder, manifest, shards, make_romb_shard, config.folder, config.alpha
    )


def _with_selections(
    config: ImportRombConfig, manifest: Manifest, sets: Mapping[SetName, PublishedSet]
) -> Manifest:
    """With the published selections, where there are any; the manifest names what they lack."""
    published: dict[tuple[str, str], Published] = {}
    for each in sets.values():
        published |= each.selections
    if not published:
        return manifest
    missing = write_selections(config.folder, manifest, published, config.seed)
    return replace(manifest, rejections=(*manifest.rejections, *missing))


def dry_run(config: ImportRombConfig, found: Manifest | None, places: Places) -> None:
    """Print what is there and what would be imported; writes nothing."""
    cluster.connect(config.num_cpus)
    sets = look_into(config, places)
    for each in sets.values():
        for part in each.parts:
            plan = Plan.of([part], found.shards if found else ())
            done = len(part) - len(plan)
            finished = f", {done:,} of them finished" if done else ""
            print(f"{_split(part)}: {plan.images:,} images, {len(part):,} shards{finished}")
        counts = Counter(rejection.reason for rejection in each.rejections)
        for reason, count in sorted(counts.items()):
            print(f"not there: {count:,} {reason}")


def _split(part: Part) -> str:
    return part.path(0).removeprefix("data/").partition("-")[0]
