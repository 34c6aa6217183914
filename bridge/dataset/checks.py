"""Whether a DATASET is what its manifest says.

Everything is checked against something independent of the run that made the dataset: hashes of
the files and the definitions of the labels (Eq. 5-6). Findings are sentences; none means that all
is well.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bridge.blur import NUM_LEVELS, NUM_WINDOWS, blur_level
from bridge.common import storage
from bridge.common.chance import rng_for
from bridge.common.images import UnreadableImage, decode
from bridge.dataset.manifest import Manifest, ShardResult
from bridge.dataset.schema import REAL_SPLIT, image_id, is_shard_schema
from bridge.dataset.shards import shard_path

DECODED_PER_SHARD = 8

_SHARD_NAME = re.compile(r"data/(.+)-(\d{5,})-of-(\d{5,})\.parquet")


@dataclass(frozen=True)
class ShardReport:
    """What looking into a shard showed.

    Attributes:
        path: the shard's, as in the manifest.
        rows: images in the file.
        decoded: images of them that were decoded.
        image_ids: uint64 [rows], hashes of the image ids, to find doubles in other shards.
        problems: what is wrong, a sentence each.
    """

    path: str
    rows: int = 0
    decoded: int = 0
    image_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    problems: tuple[str, ...] = ()


def verify_shard(
    result: ShardResult,
    dataset: str,
    image_size: tuple[int, int] | None,
    simulated: bool = True,
) -> ShardReport:
    """Check one shard: file, columns, identifiers, labels, and a sample of its images.

    Args:
        result: what the manifest says of it.
        dataset: its folder.
        image_size: (H, W) that the images should have; None where they may differ.
        simulated: whether names and windows are those of the simulator, but for real images.
    """
    path = result.record.path
    try:
        data = storage.read_bytes(storage.join(dataset, path))
    except OSError as error:
        return ShardReport(path, problems=(f"cannot be read: {error}",))
    problems = _file_problems(result, data)
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        return ShardReport(path, problems=(*problems, f"is not a Parquet file: {error}"))
    if not is_shard_schema(table.schema):
        names = ", ".join(table.schema.names)
        return ShardReport(path, problems=(*problems, f"has other columns or types: {names}"))
    # Real images have names, windows and levels of their own, BL^r.
    is_real = result.record.split == REAL_SPLIT
    named = simulated and not is_real
    images = table["image"].combine_chunks()
    rows = table.drop_columns(["image"]).to_pylist()
    problems += _count_problems(result, rows)
    problems += first_of_each(
        problem for row in rows for problem in _row_problems(row, named, is_real)
    )
    chosen = rng_for(0, path).permutation(len(rows))[:DECODED_PER_SHARD]
    problems += first_of_each(
        problem
        for i in sorted(chosen)
        for problem in _image_problems(images[int(i)].as_py(), rows[i]["image_id"], image_size)
    )
    digests = [hashlib.blake2b(row["image_id"].encode(), digest_size=8).digest() for row in rows]
    return ShardReport(
        path, len(rows), len(chosen), np.frombuffer(b"".join(digests), np.uint64), tuple(problems)
    )


def _file_problems(result: ShardResult, data: bytes) -> list[str]:
    record = result.record
    if len(data) != record.bytes:
        return [f"has {len(data):,} bytes instead of {record.bytes:,}"]
    digest = storage.sha256(data)
    return [] if digest == record.sha256 else [f"has the hash {digest} instead of {record.sha256}"]


def _count_problems(result: ShardResult, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the rows do not add up to what the manifest says."""
    labelled = [row for row in rows if row["object_id"] is not None]
    found: dict[str, Any] = {
        "images": len(rows),
        "objects": sorted({row["object_id"] for row in labelled}),
        "trajectories": len({(row["object_id"], row["trajectory"]) for row in labelled}),
        "images by blur level": dict(Counter(str(row["blur_level"] or 0) for row in rows)),
    }
    stated = {
        "images": result.record.rows,
        "objects": sorted(result.objects),
        "trajectories": result.trajectories,
        "images by blur level": dict(result.by_blur_level),
    }
    wrong = [
        f"has {name} {_short(value)} instead of {_short(stated[name])}"
        for name, value in found.items()
        if value != stated[name]
    ]
    doubles = len(rows) - len({row["image_id"] for row in rows})
    return wrong + ([f"holds {doubles} image ids twice"] if doubles else [])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _row_problems(row: Mapping[str, Any], named: bool, is_real: bool) -> Iterable[str]:
    """Where a row contradicts itself or the definition of its labels, or is not named by them."""
    name, object_id = row["image_id"], row["object_id"]
    severity, level = row["blur_severity"], row["blur_level"]
    if named and object_id is not None:
        if name != image_id(object_id, row["trajectory"], row["window"]):
            yield f"an image id is not that of its object, trajectory and window: {name}"
        if not 0 <= row["window"] <= NUM_WINDOWS:
            yield f"a window lies outside 0..{NUM_WINDOWS}: {row['window']} of {name}"
        if not object_id.startswith(f"{row['category']}/"):
            yield f"an object is not of its category: {object_id}, {row['category']}"
    if level is not None and not 1 <= level <= NUM_LEVELS:
        yield f"a blur level lies outside 1..{NUM_LEVELS}: {level} of {name}"
    if severity is not None and not 0 <= severity <= 1:
        yield f"a blur severity lies outside 0..1: {severity} of {name}"
    elif severity is not None and not is_real and blur_level(severity) != level:
        yield f"a blur level is not that of its blur severity: {level}, {severity} of {name}"
    opacity = row.get("mean_opacity")
    if opacity is not None and not 0 <= opacity <= 1:
        yield f"a mean opacity lies outside 0..1: {opacity} of {name}"
    if row["bbox"] is not None and (None in row["bbox"] or not _inside(row["bbox"])):
        yield f"a box leaves its image: {row['bbox']} of {name}"


def _inside(box: Sequence[float]) -> bool:
    """Whether (cx, cy, w, h) lies in the unit square, to the precision of float32."""
    cx, cy, w, h = box
    edges = (cx - w / 2, cx + w / 2, cy - h / 2, cy + h / 2)
    return w >= 0 and h >= 0 and all(-1e-6 <= edge <= 1 + 1e-6 for edge in edges)


def _image_problems(
    image: Mapping[str, Any] | None, name: str, image_size: tuple[int, int] | None
) -> Iterable[str]:
    try:
        height, width = decode((image or {}).get("bytes") or b"").shape[:2]
    except UnreadableImage as error:
        yield f"an image does not decode: {name}: {error}"
        return
    if image_size is not None and (height, width) != image_size:
        yield f"an image has another size: {name}: {height}x{width}"


def first_of_each(problems: Iterable[str]) -> list[str]:
    """One example of each kind of problem, with the number of its like."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        kinds[problem.split(":")[0]].append(problem)
    return [
        found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
        for found in kinds.values()
    ]


def verify_manifest(manifest: Manifest, stated_counts: Mapping[str, Any]) -> list[str]:
    """Check what concerns the whole dataset: complete, counts, no object in two splits.

    Args:
        manifest: as it was read.
        stated_counts: `counts` of its file, which reading works out anew.
    """
    problems = [] if manifest.complete else ["the dataset is not complete"]
    if manifest.counts() != stated_counts:
        problems.append("the counts are not the sums over the shards")
    if manifest.complete:
        problems += _missing_shards(manifest.shards)
    splits: dict[str, set[str]] = defaultdict(set)
    for result in manifest.shards.values():
        for name in result.objects:
            splits[name].add(result.record.split)
    shared = sorted(name for name, found in splits.items() if len(found) > 1)
    if shared:
        problems.append(f"{len(shared)} objects are in several splits, e.g. {shared[0]}")
    return problems


def _missing_shards(paths: Iterable[str]) -> list[str]:
    """Shards that the names of the others count and that are not among them."""
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for path in paths:
        if name := _SHARD_NAME.fullmatch(path):
            numbers[name[1], int(name[3])].add(int(name[2]))
    return [
        f"{total - len(found)} of {total} {split} shards are missing, e.g. "
        f"{shard_path(split, next(i for i in range(total) if i not in found), total)}"
        for (split, total), found in sorted(numbers.items())
        if len(found) < total
    ]


def doubles_between(reports: Sequence[ShardReport]) -> dict[str, int]:
    """Number of images of a shard that another shard holds too, by path of the shard."""
    names = [np.unique(report.image_ids) for report in reports]
    unique, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *names]), return_counts=True)
    repeated = unique[counts > 1]
    found = {r.path: int(np.isin(n, repeated).sum()) for r, n in zip(reports, names, strict=True)}
    return {path: number for path, number in found.items() if number}
