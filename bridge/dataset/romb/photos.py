"""The published real photos: their list, and the shards that they come in.

An object's trajectories stand in the order in which the list first names them: of several with the
fewest photos, the first one is the query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.images import UnreadableImage
from bridge.common.reading import reading
from bridge.dataset.manifest import Rejection, ShardResult
from bridge.dataset.romb.names import photos_of
from bridge.dataset.romb.png import check_png
from bridge.dataset.romb.shard import DAMAGED, MISSING
from bridge.dataset.romb.sources import Folder, Source
from bridge.dataset.romb.statistics import first_of
from bridge.dataset.romb.zips import DamagedMember
from bridge.dataset.schema import REAL_SPLIT, to_table
from bridge.dataset.shards import write_shard

CATEGORY = "real"

_LISTS = ("stats/all_images.json", "all_images.json")


@dataclass(frozen=True)
class Photo:
    """A real photo.

    Attributes:
        path: in the set, `blur_level_<level>/<object>_<trajectory>_<image>.png`.
        object_id: `real/<object>`.
        trajectory: its number.
        level: BL^r, 1..6.
        image_id: `real/<object>/<trajectory>/<level>-<image>`.
        member: its place in the archives; None for a loose file.
    """

    path: str
    object_id: str
    trajectory: int
    level: int
    image_id: str
    member: np.ndarray | None = None


@dataclass(frozen=True)
class PhotoTask:
    """One shard: its file and the photos in it, whole trajectories."""

    path: str
    source: Source
    photos: tuple[Photo, ...]


def list_photos(source: Source, members: Mapping[str, np.ndarray] | None) -> list[Photo]:
    """The photos of the real set: those that its list names, or all there are where it has none.

    Args:
        source: of the set.
        members: photos in its archives; None for loose files.

    Raises:
        InputError: the list cannot be read, names other files or a photo twice, or there are none.
    """
    paths, name = _paths(source, members)
    photos = photos_named(pa.array(paths, pa.string()), name)
    if not photos:
        raise InputError(f"{name} names no photo: blur_level_1/000_000_000.png and so on.")
    if len({photo.image_id for photo in photos}) < len(photos):
        raise InputError(f"{name} names photos twice.")
    order: dict[tuple[str, int], int] = {}
    for photo in photos:
        order.setdefault((photo.object_id, photo.trajectory), len(order))
    photos.sort(key=lambda p: (p.object_id, order[p.object_id, p.trajectory]))
    if members is None:
        return photos
    return [Photo(**{**vars(photo), "member": members.get(photo.path)}) for photo in photos]


def photos_named(paths: pa.Array, source: str) -> list[Photo]:
    """The photos that paths name, in their order; InputError, with `source`, for other files."""
    return [
        Photo(
            f"blur_level_{p['level']}/{p['object']}_{p['trajectory']}_{p['image']}.png",
            f"{CATEGORY}/{p['object']}",
            int(p["trajectory"]),
            int(p["level"]),
            f"{CATEGORY}/{p['object']}/{p['trajectory']}/{p['level']}-{p['image']}",
        )
        for p in photos_of(paths, source).to_pylist()
    ]


def _paths(source: Source, members: Mapping[str, np.ndarray] | None) -> tuple[list[str], str]:
    """Paths of all photos, and what says so."""
    name, data = first_of(source, _LISTS)
    if data is not None:
        with reading(name):
            paths = json.loads(data)
            if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
                raise ValueError("it is no list of paths")
        return paths, name
    if isinstance(source, Folder):
        levels = [n for n in source.folders("") if n.startswith("blur_level_")]
        files = [f for level in levels for f in storage.list_files(f"{source.root}/{level}")]
        pictures = [path for path in files if path.endswith(".png")]
        return [path for path in pictures if "/." not in path], source.root
    return sorted(members or ()), source.name("")


def shards_of(photos: list[Photo], per_shard: int) -> list[tuple[Photo, ...]]:
    """Whole trajectories together until they have `per_shard` photos."""
    shards: list[list[Photo]] = [[]]
    for _, trajectory in groupby(photos, key=lambda p: (p.object_id, p.trajectory)):
        if len(shards[-1]) >= per_shard:
            shards.append([])
        shards[-1] += trajectory
    return [tuple(shard) for shard in shards if shard]


def make_photo_shard(task: PhotoTask, dataset: str) -> ShardResult:
    """Read the photos of a shard and write it (atomically); what is left out is reported."""
    rows: list[dict[str, Any]] = []
    rejections = []
    for photo in task.photos:
        try:
            data = task.source.picture(photo.path, photo.member)
            check_png(data)
        except FileNotFoundError:
            rejections.append(Rejection(MISSING, photo.image_id))
        except (DamagedMember, UnreadableImage, OSError) as error:
            rejections.append(Rejection(DAMAGED, photo.image_id, str(error)))
        else:
            rows.append(_row(photo, data))
    table = to_table(rows)
    return ShardResult.of(write_shard(dataset, task.path, REAL_SPLIT, table), table, rejections)


def _row(photo: Photo, data: bytes) -> dict[str, Any]:
    return {
        "image": {"bytes": data, "path": photo.path},
        "image_id": photo.image_id,
        "object_id": photo.object_id,
        "category": CATEGORY,
        "trajectory": photo.trajectory,
        "window": 0,
        "blur_severity": None,
        "blur_level": photo.level,
        "mean_opacity": None,
        "bbox": None,
        "background_id": None,
    }
