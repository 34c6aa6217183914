"""The INDEX artefact: descriptors of queries, database and distractors with what made them.

<index>/manifest.json             model hash, dataset hashes, counts, dimension
<index>/descriptors/*.parquet     image_id, object_id, blur_level, role, descriptor
<index>/index.faiss               exact index of the database and the distractors, in row order
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bridge import storage
from bridge.dataset.shards import encode_parquet
from bridge.errors import InputError

INDEX_VERSION = 1
MANIFEST = "manifest.json"
FAISS_FILE = "index.faiss"

QUERY, DATABASE, DISTRACTOR = "query", "database", "distractor"


def descriptor_schema(dimension: int) -> pa.Schema:
    """Columns of the descriptor shards, and `source`, where an image can be read again."""
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("object_id", pa.string()),
            ("blur_level", pa.int8()),
            ("role", pa.string()),
            ("descriptor", pa.list_(pa.float32(), dimension)),
            ("shard", pa.string()),
            ("row", pa.int64()),
        ]
    )


@dataclass(frozen=True)
class PartRecord:
    """A finished descriptor shard."""

    path: str
    rows: int
    sha256: str
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Why, by image_id, for images that could not be decoded."""


@dataclass(frozen=True)
class IndexManifest:
    """`manifest.json` of an index."""

    model: str
    """Where the model was; its hash decides."""
    model_hash: str
    dimension: int
    datasets: Mapping[str, str]
    """Content hash by path, of the dataset and of the distractors."""
    seed: int
    """Of the selection of queries and database."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by role."""
    parts: Sequence[PartRecord] = ()
    complete: bool = False

    def identity(self) -> dict[str, Any]:
        """What must be equal for two indexes to be the same."""
        hashes = sorted(self.datasets.values())
        return {"model": self.model_hash, "datasets": hashes, "seed": self.seed}

    @property
    def unreadable(self) -> dict[str, str]:
        """All images that could not be decoded."""
        return {name: why for part in self.parts for name, why in part.unreadable.items()}

    def save(self, index: str) -> None:
        """Write `manifest.json` atomically."""
        value = {"index_version": INDEX_VERSION} | asdict(self)
        value |= {"parts": [asdict(part) for part in self.parts], "rejected": len(self.unreadable)}
        storage.write_json(storage.join(index, MANIFEST), value)


def load_index_manifest(index: str) -> IndexManifest:
    """Read an index's manifest, complete or not; InputError where there is none."""
    path = storage.join(index, MANIFEST)
    if not storage.exists(path):
        raise InputError(f"{index} is not an index: it has no {MANIFEST}.")
    value = storage.read_json(path)
    if not isinstance(value, dict) or value.pop("index_version", None) != INDEX_VERSION:
        raise InputError(f"{path} is not an index manifest of version {INDEX_VERSION}.")
    value.pop("rejected", None)
    value["parts"] = [PartRecord(**part) for part in value["parts"]]
    return IndexManifest(**value)


def open_index_manifest(index: str) -> IndexManifest:
    """Read the manifest of a finished index; InputError where it is still being built."""
    manifest = load_index_manifest(index)
    if not manifest.complete:
        raise InputError(f"{index} is not complete: run build_index.py again to finish it.")
    return manifest


def write_part(index: str, path: str, table: pa.Table, unreadable: dict[str, str]) -> PartRecord:
    """Write one descriptor shard atomically."""
    data = encode_parquet(table, rows_per_group=4096)
    storage.write_bytes(storage.join(index, path), data)
    return PartRecord(path, table.num_rows, storage.sha256(data), unreadable)


@dataclass(frozen=True)
class Descriptors:
    """Rows of an index: N images with descriptors float32 [N, d] and what is known of them."""

    descriptors: np.ndarray
    object_ids: np.ndarray
    blur_levels: np.ndarray
    image_ids: pa.Array
    roles: np.ndarray
    shards: pa.Array
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.descriptors)

    def only(self, *roles: str) -> Descriptors:
        """The rows of some roles, in order of the roles given, then of the rows."""
        places = np.concatenate([np.flatnonzero(self.roles == role) for role in roles])
        taken = {
            name: value.take(pa.array(places)) if isinstance(value, pa.Array) else value[places]
            for name, value in vars(self).items()
        }
        return Descriptors(**taken)


def read_descriptors(index: str, manifest: IndexManifest) -> Descriptors:
    """All rows of an index, in the order of its parts.

    Raises:
        InputError: a part is missing or is not the one that the manifest names.
    """
    tables = [descriptor_schema(manifest.dimension).empty_table()]
    for part in manifest.parts:
        path = storage.join(index, part.path)
        try:
            data = storage.read_bytes(path)
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing although its manifest names it.") from error
        if storage.sha256(data) != part.sha256:
            raise InputError(f"{path} is not the file that its manifest names: build it again.")
        tables.append(pq.read_table(io.BytesIO(data)))
    table = pa.concat_tables(tables)
    flat = pc.list_flatten(table["descriptor"]).to_numpy()
    return Descriptors(
        descriptors=flat.reshape(-1, manifest.dimension).astype(np.float32, copy=False),
        object_ids=table["object_id"].to_numpy(),
        blur_levels=table["blur_level"].to_numpy().astype(np.int32),
        image_ids=table["image_id"].combine_chunks(),
        roles=table["role"].to_numpy(),
        shards=table["shard"].combine_chunks(),
        rows=table["row"].to_numpy(),
    )
