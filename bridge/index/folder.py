"""The INDEX artefact: descriptors of queries, database and distractors with what made them.

<index>/manifest.json             model hash, dataset hashes, counts, dimension
<index>/descriptors/*.parquet     image_id, object_id, blur_level, role, descriptor, ...
<index>/index.faiss               search index of the database and the distractors

The parts have an order, that of the manifest; a row's number in `index.faiss` counts the rows of
those parts whose role is searched, in this order.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.manifest_writer import MANIFEST, notes
from bridge.common.reading import reading
from bridge.common.record import (
    Count,
    NonNegative,
    Share,
    WholeNumber,
    from_json,
    to_json,
)
from bridge.dataset.labels import boxes_of
from bridge.dataset.roles import DATABASE, DISTRACTOR
from bridge.dataset.schema import IMAGE
from bridge.dataset.shards import encode_parquet
from bridge.model.folder import model_sha256

INDEX_VERSION = 2
FAISS_FILE = "index.faiss"

SEARCHED = (DATABASE, DISTRACTOR)
"""Roles of the rows in `index.faiss`."""

_NULLABLE = (
    "object_id", "blur_level", "blur_severity", "predicted_blur_severity", "bbox", "predicted_bbox"
)  # fmt: skip
_REMEDY = "delete it and run build_index.py again"

ROWS_PER_GROUP = 4096


def descriptor_schema(dimension: int, thumbnails: bool = False) -> pa.Schema:
    """Columns of the descriptor parts, for descriptors of `dimension` numbers.

    `object_id` and `blur_level` are null where unknown; `split` is that of the dataset; `shard` and
    `row` say where the image can be read again; `predicted_*` are what the blur head and the
    localisation head say, null without them; `thumbnail` is a small picture, for programs that
    show the rows.
    """
    pictures = [pa.field("thumbnail", IMAGE)] if thumbnails else []
    box = pa.list_(pa.float32(), 4)
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("object_id", pa.string()),
            ("blur_level", pa.int8()),
            ("role", pa.string()),
            ("split", pa.string()),
            ("descriptor", pa.list_(pa.float32(), dimension)),
            ("blur_severity", pa.float32()),
            ("predicted_blur_severity", pa.float32()),
            ("bbox", box),
            ("predicted_bbox", box),
            ("shard", pa.string()),
            ("row", pa.int64()),
            *pictures,
        ]
    )


@dataclass(frozen=True)
class PartRecord:
    """A finished descriptor part."""

    path: str
    role: str
    rows: WholeNumber
    sha256: str
    key: str
    """Hash of the model and of the images in the part: parts of one key have the same content."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Why, by image_id, for images that could not be decoded."""


@dataclass(frozen=True)
class IndexManifest:
    """`manifest.json` of an index."""

    model: str
    """Where the model was; its hash decides."""
    model_hash: str
    dimension: Count
    datasets: Mapping[str, str]
    """Content hash by path, of the dataset and of the distractors."""
    seed: int
    """Of the selection of queries and database, where it is drawn."""
    thumbnails: bool = False
    """Whether its parts have small pictures."""
    precision: Literal["float32", "bfloat16", ""] = "float32"
    """In which the network computed; empty until it is known where it computes."""
    selections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What selected the queries and the database, by content hash of the dataset they are of."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by role."""
    parts: Sequence[PartRecord] = ()
    search: Mapping[str, Any] = field(default_factory=dict)
    """What `index.faiss` is: its type, parameters, rows, and recall where it is approximate."""
    complete: bool = False

    def identity(self) -> dict[str, Any]:
        """What must be equal for two indexes to be the same."""
        hashes = sorted(self.datasets.values())
        model = {"model": self.model_hash, "precision": self.precision}
        return model | {"datasets": hashes, "seed": self.seed} | self._recorded()

    def _recorded(self) -> dict[str, Any]:
        """What not every index has: hashes of selections that datasets bring, and thumbnails."""
        hashes = {
            content: used["sha256"] for content, used in self.selections.items() if "sha256" in used
        }
        recorded: dict[str, Any] = {"selections": dict(sorted(hashes.items()))} if hashes else {}
        return recorded | ({"thumbnails": True} if self.thumbnails else {})

    def same_images(self, other: IndexManifest) -> bool:
        """Whether two indexes hold the same images in the same roles."""
        names = ("datasets", "seed", "selections")
        return all(self.identity().get(name) == other.identity().get(name) for name in names)

    def with_parts(self, parts: Sequence[PartRecord]) -> IndexManifest:
        """This manifest and more finished parts."""
        return replace(self, parts=[*self.parts, *parts])

    @property
    def searched_parts(self) -> list[PartRecord]:
        """The parts whose rows are in `index.faiss`, in their order there."""
        return [part for part in self.parts if part.role in SEARCHED]

    @property
    def unreadable(self) -> dict[str, str]:
        """All images that could not be decoded."""
        return {name: why for part in self.parts for name, why in part.unreadable.items()}

    def blank(self) -> IndexManifest:
        """This manifest without its parts."""
        return replace(self, parts=())

    def save(self, index: str, file: str = MANIFEST) -> None:
        """Write `manifest.json`, or another file, atomically."""
        value = {"index_version": INDEX_VERSION} | to_json(self)
        value |= {"rejected": len(self.unreadable)}
        storage.write_json(storage.join(index, file), value)


@dataclass(frozen=True)
class _SearchRecord:
    """`search` of a manifest: what `index.faiss` is."""

    type: str
    layout: dict[str, Any]
    effort: WholeNumber
    rows: WholeNumber
    bytes: WholeNumber
    sha256: str
    latency_ms: NonNegative
    options: dict[str, Any]
    part_count: WholeNumber
    parts: str
    trained_parts: WholeNumber
    recall_at_100: Share | None = None


def load_index_manifest(index: str) -> IndexManifest:
    """Read an index's manifest, complete or not; InputError where there is none of this version."""
    path = storage.join(index, MANIFEST)
    if not storage.exists(path):
        raise InputError(f"{index} is not an index: it has no {MANIFEST}.")
    manifest = _read(path)
    if manifest.complete:
        return manifest
    known = {part.key for part in manifest.parts}
    noted = [note for note in map(_read, notes(index)) if note.datasets == manifest.datasets]
    return manifest.with_parts([p for note in noted for p in note.parts if p.key not in known])


def _read(path: str) -> IndexManifest:
    value = storage.read_json(path)
    if not isinstance(value, dict) or value.get("index_version") != INDEX_VERSION:
        raise InputError(
            f"{path} is not an index manifest of version {INDEX_VERSION}: remove the folder, or "
            "build into another one."
        )
    manifest = from_json(IndexManifest, value, path)
    if manifest.search:
        from_json(_SearchRecord, manifest.search, f"{path}: search")
    return manifest


def open_index_manifest(index: str) -> IndexManifest:
    """Read the manifest of a finished index; InputError where it is still being built."""
    manifest = load_index_manifest(index)
    if not manifest.complete:
        raise InputError(f"{index} is not complete: run build_index.py again to finish it.")
    return manifest


def finished_parts(folder: str) -> dict[str, tuple[str, PartRecord]]:
    """Parts of all indexes in a folder, by key: where they are and their records."""
    found: dict[str, tuple[str, PartRecord]] = {}
    for index in storage.list_folders(folder):
        try:
            manifest = load_index_manifest(index)
        except InputError:
            continue
        found |= {part.key: (index, part) for part in manifest.parts}
    return found


def copy_part(
    source: tuple[str, PartRecord], index: str, path: str, dataset: str
) -> PartRecord | None:
    """Bring a part of another index into this one; None where it is damaged or gone.

    `dataset` is where its images are now.
    """
    folder, record = source
    try:
        data = part_bytes(folder, record)
    except InputError:
        return None
    table = pq.read_table(io.BytesIO(data))
    files = (shard.rpartition("/")[2] for shard in table["shard"].to_pylist())
    shards = pa.chunked_array(
        [[storage.join(dataset, "data", file) for file in files]], pa.string()
    )
    moved = replace(record, path=path)
    if not shards.equals(table["shard"]):
        place = table.schema.get_field_index("shard")
        return write_part(index, moved, table.set_column(place, "shard", shards))
    storage.write_bytes(storage.join(index, path), data)
    return moved


def write_part(index: str, record: PartRecord, table: pa.Table) -> PartRecord:
    """Write one descriptor part atomically; its record with rows and hash filled in."""
    data = encode_parquet(table, rows_per_group=ROWS_PER_GROUP)
    storage.write_bytes(storage.join(index, record.path), data)
    return replace(record, rows=table.num_rows, sha256=storage.sha256(data))


@dataclass(frozen=True)
class Descriptors:
    """Rows of an index: N images with descriptors float32 [N, d] and what is known of them.

    `object_ids` has None for unlabelled images, `blur_levels` 0 where unknown.
    `blur_severities` and `predicted_blur_severities` are float32 [N] in 0..1, `boxes` and
    `predicted_boxes` float32 [N, 4] (cx, cy, w, h in 0..1); NaN where unknown.
    """

    descriptors: np.ndarray
    object_ids: np.ndarray
    blur_levels: np.ndarray
    image_ids: pa.Array
    roles: np.ndarray
    splits: np.ndarray
    blur_severities: np.ndarray
    predicted_blur_severities: np.ndarray
    boxes: np.ndarray
    predicted_boxes: np.ndarray
    shards: pa.Array
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.descriptors)

    def take(self, places: np.ndarray) -> Descriptors:
        """Some of the rows, in the order given: numbers int [n], or bool [N]."""
        numbers = np.flatnonzero(places) if places.dtype == bool else places
        taken = {
            name: value.take(pa.array(numbers)) if isinstance(value, pa.Array) else value[numbers]
            for name, value in vars(self).items()
        }
        return Descriptors(**taken)

    def only(self, *roles: str, split: str | None = None) -> Descriptors:
        """The rows of some roles, in order of the roles given, then of the rows.

        With `split`, those of that split and all distractors.
        """
        wanted = np.ones(len(self), bool) if split is None else self.splits == split
        wanted |= self.roles == DISTRACTOR
        places = [np.flatnonzero(wanted & (self.roles == role)) for role in roles]
        return self.take(np.concatenate(places))


def part_bytes(index: str, part: PartRecord) -> bytes:
    """The file of a part; InputError where it is missing or not the one that the manifest names."""
    path = storage.join(index, part.path)
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing although its manifest names it.") from error
    if storage.sha256(data) != part.sha256:
        raise InputError(f"{path} is not the file that its manifest names: {_REMEDY}.")
    return data


def read_part(index: str, part: PartRecord, columns: Sequence[str] | None = None) -> pa.Table:
    """One part of an index, or some of its columns; InputError as `part_bytes`."""
    data = part_bytes(index, part)
    with reading(storage.join(index, part.path), _REMEDY):
        return checked(pq.read_table(io.BytesIO(data), columns=columns))


@contextmanager
def open_part(index: str, part: PartRecord, dimension: int) -> Iterator[pq.ParquetFile]:
    """A part for reading a little of it in the block, its hash not compared.

    Raises:
        InputError: it is missing or damaged, also where that shows in the block, or has other rows
            or columns than its manifest says.
    """
    path = storage.join(index, part.path)
    filesystem, inner = storage.filesystem(path)
    with (
        reading(path, _REMEDY),
        filesystem.open_input_file(inner) as file,
        pq.ParquetFile(file, pre_buffer=storage.is_uri(path)) as parquet,
    ):
        shape = parquet.metadata.num_rows, parquet.schema_arrow.remove_metadata()
        if shape not in [(part.rows, descriptor_schema(dimension, t)) for t in (False, True)]:
            raise ValueError("other rows or columns than its manifest says")
        yield parquet


def checked(table: pa.Table) -> pa.Table:
    """A part, or some of its columns; ValueError where what must be there is null."""
    for name in table.column_names:
        if name not in _NULLABLE and table[name].null_count:
            raise ValueError(f"it lacks values in its column {name}")
    return table


def descriptor_matrix(table: pa.Table) -> np.ndarray:
    """The descriptors float32 [N, d] of a part."""
    dimension = table.schema.field("descriptor").type.list_size
    return pc.list_flatten(table["descriptor"]).to_numpy().reshape(-1, dimension)


def read_descriptors(index: str, manifest: IndexManifest) -> Descriptors:
    """All rows of an index, in the order of its parts; InputError as `read_part`."""
    tables = [descriptor_schema(manifest.dimension).empty_table()]
    tables += [read_part(index, part, tables[0].column_names) for part in manifest.parts]
    for part, table in zip(manifest.parts, tables[1:], strict=True):
        if table.schema != tables[0].schema:
            path = storage.join(index, part.path)
            raise InputError(f"{path} has not the columns of {manifest.dimension} dimensions.")
    table = pa.concat_tables(tables)
    return Descriptors(
        descriptors=descriptor_matrix(table),
        object_ids=table["object_id"].to_numpy(),
        blur_levels=table["blur_level"].fill_null(0).to_numpy().astype(np.int32),
        image_ids=table["image_id"].combine_chunks(),
        roles=table["role"].to_numpy(),
        splits=table["split"].to_numpy(),
        blur_severities=table["blur_severity"].to_numpy(),
        predicted_blur_severities=table["predicted_blur_severity"].to_numpy(),
        boxes=boxes_of(table["bbox"]),
        predicted_boxes=boxes_of(table["predicted_bbox"]),
        shards=table["shard"].combine_chunks(),
        rows=table["row"].to_numpy(),
    )


def model_of(manifest: IndexManifest, override: str | None = None) -> str:
    """The model that an index was built with; InputError where it is not that one any more."""
    model = storage.absolute(override or manifest.model)
    if not storage.exists(model):
        raise InputError(f"{model}, which built the index, is gone: name it as `model`.")
    if model_sha256(model) != manifest.model_hash:
        raise InputError(f"{model} is not the model that built the index: build the index again.")
    return model
