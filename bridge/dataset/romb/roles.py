"""The published selections: which pictures train, and which are queries and database.

What was not published is drawn by the rules of the published software (`bridge.dataset.splits`), so
that `selections.parquet`, which decides for all splits of a dataset, leaves nothing open.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import Manifest, Rejection
from bridge.dataset.roles import DATABASE, DATABASE_PER_LEVEL, QUERY, TRAIN, VALIDATION
from bridge.dataset.romb.names import pictures_of
from bridge.dataset.romb.npy import read_npy
from bridge.dataset.romb.photos import photos_named
from bridge.dataset.romb.sources import Source
from bridge.dataset.romb.statistics import first_of
from bridge.dataset.schema import REAL_SPLIT, TEST_SPLIT, TRAIN_SPLIT, VALIDATION_SPLIT
from bridge.dataset.selections import SELECTIONS, SELECTIONS_SCHEMA
from bridge.dataset.splits import (
    queries_and_database,
    real_queries_and_database,
    training_rows,
)

NOT_THERE = "selected_image_missing"
"""Reason of rejections: pictures that a published selection names and the dataset has not."""

_LOADER = "stats/loader"
_QUERIES = ("instance_images_q_mixed.npy",)
_DATABASE = ("instance_images_db_mixed.npy",)
_PER_LEVEL = ("instance_images_perBL_db.npy", "instance_images_db_v2_mixed.npy")
_IMAGES = ("instance_images_mixed.npy",)
_PUBLISHED: Mapping[tuple[str, str], tuple[str, Sequence[str]]] = {
    (TRAIN_SPLIT, TRAIN): ("train", _IMAGES),
    (VALIDATION_SPLIT, VALIDATION): ("val", _IMAGES),
    (VALIDATION_SPLIT, QUERY): ("val_dbq", _QUERIES),
    (VALIDATION_SPLIT, DATABASE): ("val_dbq", _DATABASE),
    (VALIDATION_SPLIT, DATABASE_PER_LEVEL): ("val_dbq", _PER_LEVEL),
    (TEST_SPLIT, QUERY): ("test", _QUERIES),
    (TEST_SPLIT, DATABASE): ("test", _DATABASE),
    (TEST_SPLIT, DATABASE_PER_LEVEL): ("test", _PER_LEVEL),
}
"""By split and role, the folder in `stats/loader` and the names of the file in both generations.
The earlier one has another folder within, named after the blur levels."""
_REAL: Mapping[tuple[str, str], str] = {
    (REAL_SPLIT, QUERY): "stats/queries.npy",
    (REAL_SPLIT, DATABASE): "stats/database.npy",
}


@dataclass(frozen=True)
class Published:
    """A published selection: the file that it was read from, and image ids."""

    source: str
    image_ids: pa.Array


Selections = Mapping[tuple[str, str], Published]
"""By split and role."""


def published_selections(source: Source) -> dict[tuple[str, str], Published]:
    """Those of the synthetic set, as far as they were published.

    Raises:
        InputError: a file cannot be read, or names other things than pictures.
    """
    found = {}
    for key, (folder, names) in _PUBLISHED.items():
        inner = source.folders(f"{_LOADER}/{folder}")
        places = [f"{_LOADER}/{folder}", *(f"{_LOADER}/{folder}/{name}" for name in inner)]
        name, data = first_of(source, [f"{place}/{file}" for place in places for file in names])
        if data is not None:
            paths = _texts(list(_paths_by_object(read_npy(data, name), name)), name)
            found[key] = Published(name, pictures_of(paths, name).image_id)
    return found


def published_real_selections(source: Source) -> dict[tuple[str, str], Published]:
    """Those of the real set, as `published_selections`."""
    found = {}
    for key, path in _REAL.items():
        name, data = first_of(source, [path])
        if data is None:
            continue
        with reading(name):
            rows = np.asarray(read_npy(data, name)).tolist()
            paths = pa.array([row[0] for row in rows], pa.string())
        ids = [photo.image_id for photo in photos_named(paths, name)]
        found[key] = Published(name, pa.array(ids, pa.string()))
    return found if len(found) == len(_REAL) else {}


def _paths_by_object(value: Any, source: str) -> Iterator[Any]:
    """The paths in a dictionary of lists: alone, or with value, level and class."""
    if not isinstance(value, dict) or not all(isinstance(v, list | tuple) for v in value.values()):
        raise InputError(f"{source} must hold a list of pictures for each object.")
    for pictures in value.values():
        for picture in pictures:
            yield picture[0] if isinstance(picture, list | tuple) and picture else picture


def _texts(values: list[Any], source: str) -> pa.Array:
    if not all(isinstance(value, str) for value in values):
        raise InputError(f"{source} must name pictures by their paths.")
    return pa.array(values, pa.string())


def write_selections(
    dataset: str, manifest: Manifest, published: Selections, seed: int
) -> list[Rejection]:
    """Write `selections.parquet` of a dataset whose shards are all there.

    Args:
        dataset: its folder.
        manifest: its manifest.
        published: what was published; what was not is drawn.
        seed: of what is drawn.

    Returns:
        The pictures that were selected and are not in the dataset.
    """
    ids: list[pa.Array] = []
    roles: list[pa.Array] = []
    missing: list[Rejection] = []
    for split in (TRAIN_SPLIT, VALIDATION_SPLIT, TEST_SPLIT, REAL_SPLIT):
        labels = read_labels(dataset, manifest, split)
        if not len(labels):
            continue
        known = {role: published[key] for key in published for role in key[1:] if key[0] == split}
        for role, chosen in _chosen(labels, split, known, seed).items():
            there = pc.is_in(chosen, labels.image_id)
            gone = chosen.filter(pc.invert(there)).to_pylist()
            missing += [Rejection(NOT_THERE, name, f"{role} of {split}") for name in gone]
            ids.append(chosen.filter(there))
            roles.append(pa.array([role] * len(ids[-1]), pa.string()))
    table = pa.table([pa.chunked_array(ids), pa.chunked_array(roles)], schema=SELECTIONS_SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="ZSTD")
    storage.write_bytes(storage.join(dataset, SELECTIONS), buffer.getbuffer())
    return missing


def _chosen(
    labels: Labels, split: str, known: Mapping[str, Published], seed: int
) -> dict[str, pa.Array]:
    """Image ids of a split by role: those that were published, and drawn ones."""
    chosen: dict[str, pa.Array] = {}
    training = {TRAIN_SPLIT: TRAIN, VALIDATION_SPLIT: VALIDATION}.get(split, "")
    if training in known:
        chosen[training] = known[training].image_ids
    elif training:
        chosen[training] = labels.image_id.take(pa.array(training_rows(labels, seed)))
    # Drawn queries could be of trajectories in a published database.
    if {QUERY, DATABASE} <= known.keys():
        sides = (QUERY, DATABASE, DATABASE_PER_LEVEL)
        chosen |= {role: known[role].image_ids for role in sides if role in known}
    elif split != TRAIN_SPLIT:
        real = split == REAL_SPLIT
        drawn = real_queries_and_database(labels) if real else queries_and_database(labels, seed)
        rows = {QUERY: drawn.queries, DATABASE: drawn.database, DATABASE_PER_LEVEL: drawn.per_level}
        chosen |= {role: labels.image_id.take(pa.array(side)) for role, side in rows.items()}
    return chosen
