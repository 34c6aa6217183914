"""Which images train and which are searched: recorded with a DATASET, or drawn from its labels.

<dataset>/selections.parquet      image_id, role: train | validation | query | database |
                                  database_per_level; a row for each role of an image

A dataset that brings this file decides for all of its splits, as the published one does. Without
it everything follows from the labels and a seed (`bridge.dataset.splits`). Distractors are not
selected: all of the benchmark's blur levels are used.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.dataset import splits
from bridge.dataset.labels import Labels, paths_of_split
from bridge.dataset.manifest import Manifest, open_manifest
from bridge.dataset.roles import DATABASE, DATABASE_PER_LEVEL, QUERY, TRAIN, VALIDATION
from bridge.dataset.schema import REAL_SPLIT, TEST_SPLIT, TRAIN_SPLIT, VALIDATION_SPLIT
from bridge.dataset.shards import open_shard
from bridge.dataset.splits import QueriesAndDatabase

SELECTIONS = "selections.parquet"
SELECTIONS_SCHEMA = pa.schema([("image_id", pa.string()), ("role", pa.string())])

_SEARCHED_SPLITS = (TEST_SPLIT, REAL_SPLIT, VALIDATION_SPLIT)
_SPLITS_OF_ROLES = {
    TRAIN: (TRAIN_SPLIT,),
    VALIDATION: (VALIDATION_SPLIT,),
    QUERY: _SEARCHED_SPLITS,
    DATABASE: _SEARCHED_SPLITS,
    DATABASE_PER_LEVEL: _SEARCHED_SPLITS,
}
"""Where the images of a role may be: nothing is evaluated on what trained."""


@dataclass(frozen=True)
class Selections:
    """What chooses the images of a dataset.

    Attributes:
        path: where its file is, or would be.
        seed: of what is drawn.
        recorded: image ids by role, as the file has them; None where there is none.
        sha256: of the file.
    """

    path: str
    seed: int
    recorded: Mapping[str, pa.Array] | None = None
    sha256: str = ""

    @property
    def used(self) -> dict[str, Any]:
        """What a RUN or an INDEX records: the file's hash, or the seed."""
        if self.recorded is None:
            return {"source": "computed", "seed": self.seed}
        return {"source": "recorded", "sha256": self.sha256}

    def training_rows(self, labels: Labels, *, sharp_only: bool = False) -> np.ndarray:
        """Training images among the labels of the train split, int64 [rows], sorted.

        With `sharp_only`, the sharp image of each trajectory that has one of them.

        Raises:
            InputError: the file selects none.
        """
        if self.recorded is None:
            return splits.training_rows(labels, self.seed, sharp_only=sharp_only)
        rows = self._needed(labels, TRAIN_SPLIT, TRAIN)
        rows = rows[labels.has_level[rows]]
        if not sharp_only:
            return rows
        trajectories = labels.object.astype(np.int64) << 32 | labels.trajectory
        return np.flatnonzero((labels.window == 0) & np.isin(trajectories, trajectories[rows]))

    def queries_and_database(self, labels: Labels, split: str) -> QueriesAndDatabase:
        """The sides of the benchmark among the labels of a whole split: test, real or validation.

        In the validation split, where the file has neither queries nor a database, they are drawn
        from the images whose role is `validation`. Unlabelled images are no queries, and a file
        without the role `query` makes no evaluation possible.

        Raises:
            InputError: the file selects queries but none of this split, or no database.
        """
        if self.recorded is None:
            return self._drawn(labels, split)
        sides = [self._rows(labels, role) for role in (QUERY, DATABASE, DATABASE_PER_LEVEL)]
        if split == VALIDATION_SPLIT and not any(map(len, sides)):
            rows = self._needed(labels, split, VALIDATION)
            drawn = self._drawn(labels.take(rows), split)
            return QueriesAndDatabase(*(rows[side] for side in vars(drawn).values()))
        queries = self._needed(labels, split, QUERY) if len(self.recorded[QUERY]) else sides[0]
        labelled = labels.object[queries] >= 0
        return QueriesAndDatabase(
            queries[labelled], self._needed(labels, split, DATABASE), sides[2]
        )

    def _drawn(self, labels: Labels, split: str) -> QueriesAndDatabase:
        if split == REAL_SPLIT:
            return splits.real_queries_and_database(labels)
        return splits.queries_and_database(labels, self.seed)

    def _rows(self, labels: Labels, role: str) -> np.ndarray:
        assert self.recorded is not None
        return np.flatnonzero(pc.is_in(labels.image_id, self.recorded[role]).to_numpy(False))

    def _needed(self, labels: Labels, split: str, role: str) -> np.ndarray:
        rows = self._rows(labels, role)
        if len(labels) and not len(rows):
            raise InputError(f"{self.path} gives no image of the split {split} the role {role}.")
        return rows


def open_selections(dataset: str, manifest: Manifest, seed: int) -> Selections:
    """What chooses the images of a dataset, its file checked against all of them.

    Raises:
        InputError: the file cannot be read, or has an unknown role or an image that is in no split
            for its role.
    """
    path = storage.join(dataset, SELECTIONS)
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError:
        return Selections(path, seed)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    table = _parsed(data, path)
    recorded = {role: _ids_of_role(table, role) for role in _SPLITS_OF_ROLES}
    _check_images(path, recorded, dataset, manifest)
    return Selections(path, seed, recorded, storage.sha256(data))


def selections_of(dataset: str, seed: int) -> dict[str, Any]:
    """What chooses the images of a dataset, for the record; InputError as `open_selections`."""
    return open_selections(dataset, open_manifest(dataset), seed).used


def _parsed(data: bytes, path: str) -> pa.Table:
    with reading(path, "it must be a Parquet file with the texts image_id and role"):
        table = pq.read_table(io.BytesIO(data)).select(SELECTIONS_SCHEMA.names)
        table = table.cast(SELECTIONS_SCHEMA)
        if any(column.null_count for column in table.columns):
            raise ValueError("it lacks values")
    known = pc.is_in(table["role"], pa.array([*_SPLITS_OF_ROLES]))
    if len(unknown := table.filter(pc.invert(known))):
        row = unknown.slice(0, 1).to_pylist()[0]
        raise InputError(
            f"{path} gives {row['image_id']} the unknown role {row['role']!r}: roles are "
            f"{', '.join(_SPLITS_OF_ROLES)}."
        )
    return table


def _ids_of_role(table: pa.Table, role: str) -> pa.Array:
    return table["image_id"].filter(pc.equal(table["role"], role)).combine_chunks()


def _check_images(
    path: str, recorded: Mapping[str, pa.Array], dataset: str, manifest: Manifest
) -> None:
    roles_by_place: dict[tuple[str, ...], list[str]] = {}
    for role, places in _SPLITS_OF_ROLES.items():
        if len(recorded[role]):
            roles_by_place.setdefault(places, []).append(role)
    for places, roles in roles_by_place.items():
        there = _image_ids(dataset, manifest, places)
        for role in roles:
            missing = recorded[role].filter(pc.invert(pc.is_in(recorded[role], there)))
            if len(missing):
                where = " and ".join(places) if len(places) < 3 else ", ".join(places)
                raise InputError(
                    f"{path} gives the role {role} to {len(missing)} images that are not in the "
                    f"split {where}, e.g. {missing[0]}."
                )


def _image_ids(dataset: str, manifest: Manifest, wanted: Iterable[str]) -> pa.Array:
    paths = paths_of_split(manifest, *wanted)

    def read(path: str) -> pa.ChunkedArray:
        with open_shard(dataset, path) as shard:
            return shard.read(columns=["image_id"])["image_id"]

    with ThreadPoolExecutor(8) as pool:
        chunks = [chunk for column in pool.map(read, paths) for chunk in column.chunks]
    return pa.chunked_array(chunks, pa.string()).combine_chunks()
