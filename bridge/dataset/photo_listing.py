"""Which photos a folder holds and what its folders say of them: a table, one row for each.

Layouts, where TRAJECTORY stands for any folders further in:

    objects       <object>/[TRAJECTORY/]*.jpg
    categories    <category>/<object>/[TRAJECTORY/]*.jpg
    flat          *.jpg at any depth, unlabelled
    auto          objects or categories where all photos lie one or two folders deep, else flat
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bridge.common import storage
from bridge.common.chance import rng_for
from bridge.common.errors import InputError
from bridge.common.files import PICTURE_SUFFIXES, shown
from bridge.common.picture_options import PhotoLayout
from bridge.common.places import files_below, folders_in
from bridge.dataset.manifest import Rejection
from bridge.dataset.roles import DATABASE, QUERY
from bridge.dataset.schema import REAL_SPLIT

PHOTO_SUFFIXES = (*PICTURE_SUFFIXES, ".avif", ".heic", ".heif", ".jp2", ".jfif")
"""HEIC needs a plugin of Pillow; without it such photos are counted as unreadable."""

DUPLICATE, MISSING = "duplicate", "missing"

LISTING = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified_ns", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("object_id", pa.string()),
        pa.field("category", pa.string()),
        pa.field("trajectory", pa.int32()),
        pa.field("blur_level", pa.int8()),
        pa.field("bbox", pa.list_(pa.float32(), 4)),
    ]
)
"""Paths are below the folder of the photos, with `/`."""

_HASHERS = 8


@dataclass(frozen=True)
class Listing:
    """Photos to import.

    Attributes:
        table: of `LISTING`, sorted by split and path.
        layout: what the folders were taken for; `table` where a table says what there is.
        rejections: photos that are left out.
        passed_over: number of files that are no photos or hidden, by reason.
    """

    table: pa.Table
    layout: str
    rejections: tuple[Rejection, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)


def list_photos(root: str, layout: PhotoLayout) -> Listing:
    """The photos below a folder, labelled by the folders that they are in.

    Raises:
        InputError: there is no such folder, or no photo in it.
    """
    if not storage.is_folder(root):
        raise InputError(f"The folder of photos {shown(root)} does not exist.")
    folders = folders_in(root, PHOTO_SUFFIXES)
    found = [os.path.relpath(path, root) for path in folders.files()]
    if not found:
        others = folders.summary()
        raise InputError(
            f"{shown(root)} holds no photo ({', '.join(PHOTO_SUFFIXES)})"
            f"{'; passed over: ' + others if others else ''}."
        )
    paths = pa.array(found, pa.string())
    parts = pc.split_pattern(paths, "/")
    chosen = _layout(parts) if layout == "auto" else layout
    passed_over = {**folders.passed_over}
    if others_found := sum(folders.other_types.values()):
        passed_over["of other types"] = others_found
    listing = listed(root, {"path": paths, **_labels_of_folders(parts, chosen)})
    return Listing(listing.table, chosen, listing.rejections, passed_over)


def _layout(parts: pa.Array) -> PhotoLayout:
    depths = np.unique(pc.list_value_length(parts).to_numpy())
    by_depth: dict[int, PhotoLayout] = {2: "objects", 3: "categories"}
    return by_depth.get(int(depths[0]), "flat") if len(depths) == 1 else "flat"


def _labels_of_folders(parts: pa.Array, layout: PhotoLayout) -> dict[str, pa.Array]:
    """Objects, categories and the names of trajectories; null where a photo is not deep enough."""
    own = {"flat": 0, "objects": 1, "categories": 2}[layout]
    if not own:
        return {}
    folders = [path[:-1] for path in parts.to_pylist()]
    deep = [names if len(names) >= own else None for names in folders]
    columns = {
        "object_id": ["/".join(names[:own]) if names else None for names in deep],
        "trajectory": ["/".join(names[own:]) or None if names else None for names in deep],
    }
    if own == 2:
        columns["category"] = [names[0] if names else None for names in deep]
    return {name: pa.array(values, pa.string()) for name, values in columns.items()}


def listed(root: str, columns: Mapping[str, pa.Array]) -> Listing:
    """Photos with their files' sizes; those that are not there are left out and named.

    Args:
        root: the folder of the photos.
        columns: `path` and any of `LISTING`; `trajectory` may be any names.
    """
    rows = pa.table(dict(columns))
    found = np.empty((len(rows), 2), np.int64)
    stored = files_below(root) if storage.is_uri(root) else None
    for place, path in enumerate(rows["path"].to_pylist()):
        known = _file(os.path.join(root, path)) if stored is None else stored.get(path)
        found[place] = known or (-1, -1)
    there = found[:, 0] >= 0
    rejections = tuple(
        Rejection(MISSING, path) for path in rows["path"].filter(pa.array(~there)).to_pylist()
    )
    rows, found = rows.filter(pa.array(there)), found[there]
    rows = rows.append_column("size", pa.array(found[:, 0]))
    rows = rows.append_column("modified_ns", pa.array(found[:, 1]))
    if "split" not in rows.column_names:
        rows = rows.append_column("split", pa.array([REAL_SPLIT] * len(rows), pa.string()))
    for name in LISTING.names:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(len(rows), LISTING.field(name).type))
    rows = rows.sort_by([("split", "ascending"), ("path", "ascending")])
    numbered = pa.array(_trajectories(rows), pa.int32(), from_pandas=True)
    rows = rows.set_column(rows.column_names.index("trajectory"), "trajectory", numbered)
    return Listing(rows.select(LISTING.names).cast(LISTING), "table", rejections)


def _file(path: str) -> tuple[int, int] | None:
    """Size and time of a file; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _trajectories(rows: pa.Table) -> list[int | None]:
    """Numbers of the trajectories within each object; a photo of no named one is one by itself."""
    if rows["object_id"].null_count == len(rows):
        return [None] * len(rows)
    numbers: dict[str, dict[object, int]] = {}
    found: list[int | None] = []
    names = zip(
        rows["object_id"].to_pylist(),
        rows["trajectory"].to_pylist(),
        rows["path"].to_pylist(),
        strict=True,
    )
    for object_id, trajectory, path in names:
        if object_id is None:
            found.append(None)
            continue
        known = numbers.setdefault(object_id, {})
        key = ("photo", path) if trajectory is None else trajectory
        found.append(known.setdefault(key, len(known)))
    return found


def without_duplicates(root: str, listing: Listing, earlier: pa.Table | None = None) -> Listing:
    """The first photo of each content; the others are left out and named.

    Only files of one size can be equal, so no others are read, nor earlier ones among themselves.

    Args:
        root: the folder of the photos.
        listing: of the photos.
        earlier: of `LISTING`, photos in the same folder that come before all of them.
    """
    before = LISTING.empty_table() if earlier is None else earlier
    table = pa.concat_tables([before, listing.table])
    sizes = table["size"].to_numpy()
    _, group, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    has_new = np.bincount(group[len(before) :], minlength=len(counts)) > 0
    places = np.flatnonzero((counts[group] > 1) & has_new[group])
    paths = table["path"].take(pa.array(places)).to_pylist()
    first: dict[str, str] = {}
    doubles: dict[int, str] = {}
    with ThreadPoolExecutor(_HASHERS) as pool:
        digests = pool.map(lambda path: _digest(storage.join(root, path)), paths)
        for place, path, digest in zip(places.tolist(), paths, digests, strict=True):
            if digest is not None and first.setdefault(digest, path) != path:
                doubles[place - len(before)] = first[digest]
    kept = np.ones(len(listing), bool)
    kept[[place for place in doubles if place >= 0]] = False
    rejections = [
        Rejection(DUPLICATE, listing.table["path"][place].as_py(), f"the same as {other}")
        for place, other in doubles.items()
        if place >= 0
    ]
    return Listing(
        listing.table.filter(pa.array(kept)),
        listing.layout,
        (*listing.rejections, *rejections),
        listing.passed_over,
    )


def _digest(path: str) -> str | None:
    """Hash of a file's content; None where it cannot be read, which is for later to say."""
    try:
        return storage.sha256_file(path)
    except OSError:
        return None


def roles_of(table: pa.Table, share: float, seed: int) -> list[str]:
    """Of each object, a share of its trajectories are queries; the others are the database.

    Of several trajectories one at least is on each side; of one, none is a query.

    Args:
        table: of `LISTING`, all of whose photos are searched for or in.
        share: of the trajectories, 0..1.
        seed: of the choice.

    Returns:
        `QUERY` or `DATABASE` for each photo.
    """
    objects = np.array(table["object_id"].fill_null("").to_pylist(), object)
    trajectories = table["trajectory"].fill_null(-1).to_numpy()
    roles = np.full(len(table), DATABASE, object)
    order = np.argsort(objects, kind="stable")
    names, starts = np.unique(objects[order], return_index=True)
    for name, rows in zip(names, np.split(order, starts[1:]), strict=True):
        numbers = np.unique(trajectories[rows])
        if not name or len(numbers) < 2 or not share:
            continue
        count = min(max(1, round(share * len(numbers))), len(numbers) - 1)
        chosen = rng_for(seed, "queries", name).permutation(numbers)[:count]
        roles[rows[np.isin(trajectories[rows], chosen)]] = QUERY
    return roles.tolist()
