"""The three published sets: what is in each of them, and which shards it becomes."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.dataset.manifest import Adjustment, Rejection
from bridge.dataset.romb.names import FILES, WINDOWS, objects_of
from bridge.dataset.romb.photos import list_photos, shards_of
from bridge.dataset.romb.plan import Part, PhotoShards, TrajectoryShards
from bridge.dataset.romb.roles import (
    Published,
    published_real_selections,
    published_selections,
)
from bridge.dataset.romb.sources import Catalogue, Source
from bridge.dataset.romb.statistics import (
    Statistics,
    distractor_statistics,
    first_of,
    marks_of,
    synthetic_statistics,
)
from bridge.dataset.romb.zips import DamagedMember
from bridge.dataset.schema import DISTRACTOR_SPLIT, TEST_SPLIT, TRAIN_SPLIT, VALIDATION_SPLIT
from bridge.dataset.splits import split_objects

SetName = Literal["synthetic", "distractors", "real"]
USUAL_FOLDERS: Mapping[SetName, tuple[str, ...]] = {
    "synthetic": ("synthetic_data",),
    "distractors": ("synthetic_data_distractors", "synthetic_data_distractor"),
    "real": ("real_data",),
}
"""What the folder of a set is called once its archive has been unpacked."""

PHOTOS_PER_SHARD = 1000

_SPLIT_INFO = ("stats/loader/data_split_info.json",)
_SPLIT_KEYS = {
    TRAIN_SPLIT: "train_instance_folders",
    VALIDATION_SPLIT: "val_instance_folders",
    TEST_SPLIT: "test_instance_folders",
}


@dataclass(frozen=True)
class PublishedSet:
    """A published set, ready to be imported.

    Attributes:
        parts: its shards, split by split.
        notes: what was found, in words.
        fingerprint: of all that its rows follow from but the pictures themselves.
        rejections: what is named and not there, or there and not used.
        adjustments: labels that contradicted each other.
        selections: those that were published, by split and role.
    """

    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    fingerprint: str
    rejections: tuple[Rejection, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    selections: Mapping[tuple[str, str], Published] = field(default_factory=dict)

    @property
    def objects(self) -> frozenset[str]:
        """Those of its trajectories."""
        parts = [part for part in self.parts if isinstance(part, TrajectoryShards)]
        return frozenset(name for part in parts for name in part.catalogue.objects)


def synthetic_set(source: Source, catalogue: Catalogue, seed: int, per_shard: int) -> PublishedSet:
    """The set that is trained and evaluated on.

    Args:
        source: where it lies.
        catalogue: the trajectories that are there.
        seed: of the division of objects among the splits, where it was not published.
        per_shard: trajectories.

    Raises:
        InputError: statistics or selections cannot be read, or there are no trajectories.
    """
    statistics = synthetic_statistics(source)
    splits, how, unused = _splits_of(source, catalogue, seed)
    selections = published_selections(source)
    notes = [how, *(f"selections of {published.source}" for published in selections.values())]
    return _set_of(source, catalogue, statistics, splits, per_shard, notes, unused, selections)


def distractor_set(source: Source, catalogue: Catalogue, per_shard: int) -> PublishedSet:
    """The distractors, as `synthetic_set`."""
    splits = dict.fromkeys(catalogue.objects, DISTRACTOR_SPLIT)
    statistics = distractor_statistics(source)
    return _set_of(source, catalogue, statistics, splits, per_shard, [], [], {})


def real_set(source: Source, members: Mapping[str, np.ndarray] | None) -> PublishedSet:
    """The real photos; `members` as in `list_photos`. InputError as in `synthetic_set`."""
    photos = list_photos(source, members)
    shards = shards_of(photos, PHOTOS_PER_SHARD)
    selections = published_real_selections(source)
    ids = [photo.image_id for photo in photos]
    crcs = [] if members is None else [int(p.member["crc"]) for p in photos if p.member is not None]
    return PublishedSet(
        (PhotoShards(source, tuple(shards)),),
        (
            f"{len(photos):,} photos",
            *(f"selections of {published.source}" for published in selections.values()),
        ),
        _fingerprint([ids, crcs], *_arrays_of(selections)),
        selections=selections,
    )


def _set_of(
    source: Source,
    catalogue: Catalogue,
    statistics: Statistics | None,
    splits: Mapping[str, str],
    per_shard: int,
    notes: list[str],
    unused: list[Rejection],
    selections: Mapping[tuple[str, str], Published],
) -> PublishedSet:
    if not len(catalogue):
        raise InputError(
            f"{source.name('')} holds no trajectories: <category>/<model>/000/0_rendered.png and "
            "so on."
        )
    marks = marks_of(catalogue, statistics)
    split_of = np.array([splits.get(name, "") for name in catalogue.objects])[catalogue.object]
    parts = [
        TrajectoryShards(
            split, source, catalogue, marks, np.flatnonzero(split_of == split), per_shard
        )
        for split in (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT, DISTRACTOR_SPLIT)
        if (split_of == split).any()
    ]
    labels = "no statistics" if statistics is None else f"labels of {statistics.source}"
    found = f"{len(catalogue.objects):,} objects, {len(catalogue):,} trajectories"
    places = [] if catalogue.members is None else [catalogue.members]
    return PublishedSet(
        tuple(parts),
        (found, labels, _opacity_of(source, catalogue), *notes),
        _fingerprint(
            [catalogue.objects, sorted(splits.items())],
            *(catalogue.object, catalogue.number, marks.level, marks.severity, *places),
            *_arrays_of(selections),
        ),
        (*marks.missing, *unused),
        marks.adjusted,
        selections,
    )


def _opacity_of(source: Source, catalogue: Catalogue) -> str:
    """Whether there are pictures of the objects alone, judged by the first trajectory."""
    name = f"{catalogue.objects[catalogue.object[0]]}/{catalogue.number[0]:03d}/{FILES[WINDOWS]}"
    member = None if catalogue.members is None else catalogue.members[0, WINDOWS]
    try:
        source.picture(name, member)
    except (OSError, DamagedMember):
        return f"no {name}: boxes are not known"
    return "boxes of <k>_blurred.png"


def _splits_of(
    source: Source, catalogue: Catalogue, seed: int
) -> tuple[dict[str, str], str, list[Rejection]]:
    """The split of each object, where that is known from, and objects in none."""
    name, data = first_of(source, _SPLIT_INFO)
    if data is None:
        by_category: dict[str, list[str]] = defaultdict(list)
        for object_id in catalogue.objects:
            by_category[object_id.partition("/")[0]].append(object_id)
        return split_objects(by_category, seed), f"objects divided by the seed {seed}", []
    splits: dict[str, str] = {}
    with reading(name):
        info = json.loads(data)
        for split, key in _SPLIT_KEYS.items():
            for object_id in objects_of(pa.array(info[key], pa.string()), name):
                if splits.setdefault(object_id, split) != split:
                    raise ValueError(f"{object_id} is in {splits[object_id]} and in {split}")
    unused = [Rejection("object_in_no_split", o) for o in catalogue.objects if o not in splits]
    return splits, f"objects divided as in {name}", unused


def _arrays_of(selections: Mapping[tuple[str, str], Published]) -> list[np.ndarray]:
    """All that selections say, as bytes."""
    texts = [
        "\n".join([*key, *published.image_ids.to_pylist()])
        for key, published in sorted(selections.items())
    ]
    return [np.frombuffer(text.encode(), np.uint8) for text in texts]


def _fingerprint(names: object, *arrays: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps(names).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def refuse_shared(synthetic: PublishedSet, distractors: PublishedSet) -> None:
    """InputError where objects are in both sets, so that they could not be distractors."""
    shared = synthetic.objects & distractors.objects
    if shared:
        raise InputError(
            f"The distractors share {len(shared)} objects with the synthetic set, e.g. "
            f"{min(shared)}."
        )
