"""What is in the archives of a set: a row of numbers for each of millions of files."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

import numpy as np

from bridge.common.errors import InputError
from bridge.dataset.romb.names import FILES, SLOTS, TRAJECTORY
from bridge.dataset.romb.sources import Catalogue, Zips
from bridge.dataset.romb.zips import MEMBER, MEMBER_BYTES, Entry, entries, refuse_overlap

_INSIDE = re.compile(
    r"(?P<root>(?:.*/)?)(?P<object>[^/]+/[^/]+)/"
    rf"(?P<trajectory>{TRAJECTORY})/(?P<file>\d+_(?:rendered|blurred)\.png)?"
)
_PHOTO = re.compile(r"(?P<root>(?:.*/)?)(?P<path>blur_level_\d+/[^/]+\.png)")
_OTHER = re.compile(r"(?:.*?/)?(stats/.+|all_images\.json)")
_IGNORED = ("__MACOSX/",)
_NO_MEMBER = np.array((-1, 0, 0, 0, 0, 0), MEMBER)


def read_archives(paths: Sequence[str]) -> tuple[Zips, Catalogue]:
    """The files of a synthetic set, from the lists of its archives.

    Raises:
        InputError: an archive cannot be read or is refused, or a picture is there twice.
    """
    numbers: dict[str, int] = {}
    trajectories, slots, members = array("q"), array("b"), _Members()
    others: dict[str, np.ndarray] = {}
    for archive, path in enumerate(paths):
        roots = set()
        for entry in entries(path):
            found = _INSIDE.fullmatch(entry.name)
            if found is None or entry.name.startswith(_IGNORED):
                _take_other(others, archive, entry)
                continue
            root, name, trajectory, file = found.groups()
            slot = SLOTS.get(file, -1) if file else -1
            if file and slot < 0:
                continue
            roots.add(root)
            number = numbers.setdefault(name, len(numbers))
            trajectories.append(number << 32 | int(trajectory))
            slots.append(slot)
            members.add(archive, entry)
        _refuse_several(path, roots)
    rows = members.checked(paths)
    objects = tuple(sorted(numbers))
    order = np.empty(len(objects), np.int64)
    order[[numbers[name] for name in objects]] = np.arange(len(objects))
    raw = np.frombuffer(trajectories, np.int64)
    keys = order[raw >> 32] << 32 | (raw & 0xFFFFFFFF) if len(raw) else raw
    catalogue = _catalogue(objects, keys, np.frombuffer(slots, np.int8), rows)
    return Zips(tuple(paths), others), catalogue


def read_photo_archives(paths: Sequence[str]) -> tuple[Zips, dict[str, np.ndarray]]:
    """The files of the real set, as `read_archives`; photos by their paths in the set."""
    photos: dict[str, np.ndarray] = {}
    others: dict[str, np.ndarray] = {}
    members = _Members()
    for archive, path in enumerate(paths):
        roots = set()
        for entry in entries(path):
            found = _PHOTO.fullmatch(entry.name)
            if found is None or entry.name.startswith(_IGNORED):
                _take_other(others, archive, entry)
                continue
            roots.add(found["root"])
            if found["path"] in photos:
                raise InputError(f"{path} holds {found['path']} a second time.")
            photos[found["path"]] = _member(archive, entry)
            members.add(archive, entry)
        _refuse_several(path, roots)
    members.checked(paths)
    return Zips(tuple(paths), others), photos


class _Members:
    """Rows of `MEMBER`, collected as bytes: millions of tuples would fill the memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, archive: int, entry: Entry) -> None:
        self._bytes += MEMBER_BYTES.pack(archive, *entry[1:])

    def checked(self, paths: Sequence[str]) -> np.ndarray:
        """`MEMBER` [N]; InputError where members of an archive lie over each other."""
        rows = np.frombuffer(self._bytes, MEMBER)
        for archive, path in enumerate(paths):
            # Folders have no bytes, and need no place of their own.
            refuse_overlap(path, rows[(rows["archive"] == archive) & (rows["packed"] > 0)])
        return rows


def _member(archive: int, entry: Entry) -> np.ndarray:
    return np.array((archive, *entry[1:]), MEMBER)


def _take_other(others: dict[str, np.ndarray], archive: int, entry: Entry) -> None:
    found = _OTHER.fullmatch(entry.name)
    if found is not None and not entry.name.endswith("/") and not entry.name.startswith(_IGNORED):
        others.setdefault(found[1], _member(archive, entry))


def _refuse_several(path: str, roots: set[str]) -> None:
    if len(roots) > 1:
        first, second = sorted(roots)[:2]
        raise InputError(
            f"{path} holds several sets, {first or './'} and {second or './'}: give each its own "
            "archive."
        )


def _catalogue(
    objects: tuple[str, ...], keys: np.ndarray, slots: np.ndarray, rows: np.ndarray
) -> Catalogue:
    trajectories, index = np.unique(keys, return_inverse=True)
    files = slots >= 0
    places = index[files] * len(FILES) + slots[files]
    counts = np.bincount(places, minlength=1)
    if counts.max() > 1:
        trajectory, slot = divmod(int(counts.argmax()), len(FILES))
        key = int(trajectories[trajectory])
        name = f"{objects[key >> 32]}/{key & 0xFFFFFFFF:03d}/{FILES[slot]}"
        raise InputError(f"The archives hold {name} twice.")
    members = np.full(len(trajectories) * len(FILES), _NO_MEMBER, MEMBER)
    members[places] = rows[files]
    return Catalogue(
        objects,
        (trajectories >> 32).astype(np.int32),
        (trajectories & 0xFFFFFFFF).astype(np.int32),
        members.reshape(-1, len(FILES)),
    )
