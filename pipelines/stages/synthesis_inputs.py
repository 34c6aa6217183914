"""What the options of `synthesize.py` name: an earlier run, objects to choose from, photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.places import sizes_of
from bridge.dataset.manifest import Manifest, open_manifest
from bridge.dataset.schema import TEST_SPLIT, TRAIN_SPLIT, VALIDATION_SPLIT
from bridge.dataset.splits import split_objects
from bridge.simulator.background import Backgrounds, PhotoBackgrounds, ProceduralBackgrounds
from bridge.simulator.objects.catalogue import (
    ObjectEntry,
    procedural_objects,
    read_collection,
    select_categories,
)
from bridge.synthesis.plan import select_objects
from pipelines.stages.dataset_request import earlier_manifest
from pipelines.stages.synthesis_options import LATER_OPTIONS, PRESETS, SynthesizeConfig

DISTRACTOR_INSTANCES_FROM = 1_000_000
"""Built-in distractor objects are instances that no dataset reaches."""


def existing_manifest(config: SynthesizeConfig) -> Manifest | None:
    """What an earlier run left; InputError where it was made with other options."""
    return earlier_manifest(config.folder, config.identity(), LATER_OPTIONS)


def all_objects(config: SynthesizeConfig) -> list[ObjectEntry]:
    """Every object that there is to choose from."""
    return _collection(config)[0]


def _collection(config: SynthesizeConfig) -> tuple[list[ObjectEntry], str]:
    """Every object that there is to choose from, and in words what else a mesh folder holds."""
    if config.meshes is not None:
        collection = read_collection(storage.absolute(config.meshes))
        entries = [replace(entry, rule=config.objects) for entry in collection.entries]
        return entries, collection.passed_over
    first = 0 if config.kind == "dataset" else DISTRACTOR_INSTANCES_FROM
    return procedural_objects(config.objects_per_category or 10, config.seed, first), ""


def object_pool(config: SynthesizeConfig) -> list[ObjectEntry]:
    """The objects of the chosen categories that are not excluded; tells what was passed over.

    Categories are chosen before objects are excluded, so that distractors have the categories of
    the dataset that they exclude.
    """
    entries, passed_over = _collection(config)
    if passed_over:
        print(f"note: {shown(config.meshes or '')}: passed over: {passed_over}.")
    if config.categories is not None:
        entries = select_categories(entries, config.categories)
    if config.exclude is not None:
        excluded = open_manifest(storage.absolute(config.exclude)).objects
        entries = [entry for entry in entries if entry.object_id not in excluded]
        if not entries:
            source = config.meshes or "the built-in objects"
            raise InputError(f"{config.exclude} uses every object of {source}.")
    return entries


def choose_objects(
    config: SynthesizeConfig, pool: Sequence[ObjectEntry], unusable: Container[str] = ()
) -> list[ObjectEntry]:
    """The objects to use of a pool, given the ids of those that are known to be unusable."""
    return select_objects(pool, config.objects_per_category, config.seed, config.kind, unusable)


def require_training_objects(config: SynthesizeConfig, pool: Sequence[ObjectEntry]) -> None:
    """Raise InputError for a dataset whose mesh folder has no category of two objects or more.

    Of a single object nothing goes into train; who asks for one per category wants that.
    """
    if config.kind != "dataset" or config.objects_per_category == 1 or config.meshes is None:
        return
    sizes = Counter(entry.category for entry in pool)
    if max(sizes.values(), default=0) < 2:
        raise InputError(
            f"Each of the {len(sizes)} categories of {config.meshes} has one object, so that none "
            "would be left to train on: a category is a folder of several objects."
        )


def _empty_splits(config: SynthesizeConfig, entries: Sequence[ObjectEntry]) -> list[str]:
    """A sentence on the splits of a dataset that no object falls into."""
    if config.kind != "dataset":
        return []
    members: dict[str, list[str]] = {}
    for entry in entries:
        members.setdefault(entry.category, []).append(entry.object_id)
    filled = set(split_objects(members, config.seed).values())
    empty = [s for s in (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT) if s not in filled]
    if not empty:
        return []
    largest = max(map(len, members.values()), default=0)
    return [
        f"No object falls into {' and '.join(empty)}: the largest category has {largest}, and "
        "each is divided 70/15/15, rounded down but for test (7 are enough for all three)."
    ]


def shortage(config: SynthesizeConfig, entries: Sequence[ObjectEntry]) -> list[str]:
    """Sentences on what the mesh folder is too small for, given the objects to use."""
    notes = _empty_splits(config, entries)
    sizes = Counter(entry.category for entry in entries)
    wanted = config.objects_per_category
    if wanted is not None:
        categories = config.categories or len(sizes)
        few = categories - sum(size >= wanted for size in sizes.values())
        if few:
            notes.append(f"{few} of {categories} categories have fewer than {wanted} objects left.")
    if config.kind == "distractors" and config.meshes is not None and config.exclude is None:
        notes += _overlap(config, all_objects(config), set(sizes))
    return notes


def _overlap(
    config: SynthesizeConfig, entries: Sequence[ObjectEntry], categories: set[str]
) -> list[str]:
    """Whether distractors would share objects with a dataset of the same preset and folder."""
    by_dataset = PRESETS["dataset"][config.preset].objects_per_category
    if config.objects_per_category is None or by_dataset is None:
        few = len(categories)
        needed = "every object"
    else:
        sizes = Counter(entry.category for entry in entries if entry.category in categories)
        together = by_dataset + config.objects_per_category
        few = sum(size < together for size in sizes.values())
        needed = f"{together} objects"
    if not few:
        return []
    return [
        f"In {few} of {len(categories)} categories a dataset and these distractors need {needed} "
        "and may share some: name the dataset with --exclude."
    ]


def open_backgrounds(config: SynthesizeConfig) -> Backgrounds:
    """Photos, or generated backgrounds where no folder is given."""
    if config.backgrounds is None:
        return ProceduralBackgrounds()
    return PhotoBackgrounds(
        storage.absolute(config.backgrounds), config.kind, config.background_crop
    )


def catalogue_hash(entries: Sequence[ObjectEntry], backgrounds: Backgrounds) -> str:
    """Changes when an object or a photo is added or removed, or its file changes in size.

    Textures and other files beside a mesh are not looked at.
    """
    paths = [entry.path for entry in entries if entry.path]
    sizes = dict(zip(paths, sizes_of(paths), strict=True))
    objects = [(e.object_id, sizes[e.path] if e.path else 0) for e in entries]
    return storage.sha256_json([objects, backgrounds.sizes()])
