"""Which images an INDEX has, in units of work: planned by numbers, the rest read where it is done.

A driver of 10^8 distractors holds 10^5 parts of some 800 bytes and nothing else: it reads the blur
levels of one shard after another. Of a split with queries it holds the labels, some 170 bytes an
image, while it draws from them.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bridge.common import storage
from bridge.dataset.labels import (
    Labels,
    digests_of,
    paths_of_split,
    read_labels,
    read_labels_and_images,
)
from bridge.dataset.manifest import Manifest
from bridge.dataset.roles import DATABASE, DATABASE_PER_LEVEL, DISTRACTOR, QUERY
from bridge.dataset.schema import DISTRACTOR_SPLIT, REAL_SPLIT, TEST_SPLIT
from bridge.dataset.selections import Selections, open_selections
from bridge.dataset.shards import check_shard, open_shard
from bridge.dataset.splits import distractor_rows
from bridge.index.folder import PartRecord

ROWS_PER_PART = 1024
"""Images per unit of work: what an interruption can cost each actor."""
_READERS = 8
_AHEAD = 64
"""Shards whose blur levels are in memory."""

Places = NDArray[np.int64]
"""[2, N]: the number of the shard in its split, and the row in it."""


@dataclass(frozen=True)
class Part:
    """One unit of work: N images of one split that have one role.

    Attributes:
        record: of its file, as yet without rows and hash.
        dataset: its folder.
        split: of the dataset.
        shards: paths in the dataset, those that images of the part are in.
        digests: SHA-256 of the shards; none where they are to be trusted.
        images: N.
        packed: which rows of which of `shards`, as `_pack` makes it.
    """

    record: PartRecord
    dataset: str
    split: str
    shards: tuple[str, ...]
    images: int
    packed: bytes
    digests: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.images

    @property
    def places(self) -> Places:
        """Numbers in `shards`, ascending, and rows there."""
        steps = np.frombuffer(zlib.decompress(self.packed), np.int64)
        return np.cumsum(steps.reshape(2, -1), axis=1)

    def read(self) -> tuple[Labels, list[bytes]]:
        """Labels and encoded images; InputError where a shard is missing or damaged."""
        for path, digest in zip(self.shards, self.digests, strict=False):
            check_shard(self.dataset, path, digest)
        return read_labels_and_images(self.dataset, self.shards, *self.places)


def part_of(
    record: PartRecord, dataset: str, split: str, paths: Sequence[str], places: Places
) -> Part:
    """The part of the images at some places, ascending, in the shards at `paths`."""
    used, numbers = np.unique(places[0], return_inverse=True)
    shards = tuple(paths[number] for number in used)
    packed = _pack(np.stack([numbers, places[1]]))
    return Part(record, dataset, split, shards, places.shape[1], packed)


def _pack(places: Places) -> bytes:
    """A few bytes where rows follow each other: steps are alike, and compress."""
    return zlib.compress(np.diff(places, axis=1, prepend=0).astype(np.int64).tobytes())


def plan_parts(
    manifests: Mapping[str, Manifest],
    seed: int,
    model_hash: str,
    precision: str,
    *,
    thumbnails: bool = False,
    check: bool = True,
) -> Iterator[Part]:
    """The images to embed, in units of work that follow from datasets, seed and model alone.

    Args:
        manifests: of the datasets, by their folders.
        seed: of what is drawn of them.
        model_hash: of the MODEL.
        precision: in which the network computes.
        thumbnails: whether parts have small pictures.
        check: compare each shard with the hash in its manifest where it is read.

    Raises:
        InputError: a shard is missing or damaged, or a dataset's selections cannot be used.
    """
    for path, manifest in manifests.items():
        content = manifest.content_hash
        for split, role, blocks in _roles(path, manifest, seed):
            paths = paths_of_split(manifest, split)
            for number, places in enumerate(_cut(blocks)):
                images = storage.sha256(places.tobytes())
                content_of = [model_hash, precision, content, split, role, images]
                key = storage.sha256_json(content_of + ["thumbnails"] * thumbnails)
                name = f"descriptors/{split}-{role}-{content[:8]}-{number:05d}.parquet"
                part = part_of(PartRecord(name, role, 0, "", key), path, split, paths, places)
                yield replace(part, digests=digests_of(manifest, part.shards)) if check else part


def _roles(path: str, manifest: Manifest, seed: int) -> Iterator[tuple[str, str, Iterable[Places]]]:
    """The images of a dataset by what they are in the evaluation (Sec. 5)."""
    selections = open_selections(path, manifest, seed)
    for split in (TEST_SPLIT, REAL_SPLIT):
        for role, places in _searched(path, manifest, selections, split).items():
            yield split, role, [places]
    yield DISTRACTOR_SPLIT, DISTRACTOR, _distractors(path, manifest)


def _searched(
    path: str, manifest: Manifest, selections: Selections, split: str
) -> dict[str, Places]:
    labels = read_labels(path, manifest, split)
    sides = selections.queries_and_database(labels, split)
    rows = {QUERY: sides.queries, DATABASE: sides.database, DATABASE_PER_LEVEL: sides.per_level}
    return {role: np.stack([labels.shard[r], labels.row[r]]) for role, r in rows.items()}


def _distractors(path: str, manifest: Manifest) -> Iterator[Places]:
    paths = paths_of_split(manifest, DISTRACTOR_SPLIT)

    def read(number: int) -> Places:
        with open_shard(path, paths[number]) as shard:
            levels = shard.read(columns=["blur_level"])["blur_level"].fill_null(0).to_numpy()
        rows = distractor_rows(levels)
        return np.stack([np.full(len(rows), number), rows])

    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(paths), _AHEAD):
            yield from pool.map(read, range(start, min(start + _AHEAD, len(paths))))


def _cut(blocks: Iterable[Places]) -> Iterator[Places]:
    """The same places in blocks of `ROWS_PER_PART`, of which the last may be shorter."""
    rest = np.zeros((2, 0), np.int64)
    for block in blocks:
        rest = np.concatenate([rest, block], axis=1)
        whole = rest.shape[1] // ROWS_PER_PART * ROWS_PER_PART
        bounds = range(0, whole + 1, ROWS_PER_PART)
        yield from (rest[:, start:stop] for start, stop in itertools.pairwise(bounds))
        rest = rest[:, whole:]
    if rest.shape[1]:
        yield rest
