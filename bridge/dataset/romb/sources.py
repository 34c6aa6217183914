"""Where a published set lies: a folder of loose files, or zip archives that are never unpacked."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.files import HIDDEN, UNPRINTABLE
from bridge.dataset.romb.names import TRAJECTORY
from bridge.dataset.romb.zips import DamagedMember, read_member

MOST_IMAGE_BYTES = 1 << 26
"""Of a picture; the published ones have about 100 kB."""
MOST_FILE_BYTES = 1 << 31
"""Of a file of the statistics; the largest published one has about 150 MB."""

_STATISTICS = "stats"
_NUMBER = re.compile(TRAJECTORY)


@dataclass(frozen=True)
class Catalogue:
    """The T trajectories of a set, sorted by object and number.

    Attributes:
        objects: sorted `<category>/<model>`; `object` points into it.
        object: int32 [T].
        number: int32 [T].
        members: `MEMBER` [T, 22] for the `FILES` of each trajectory; none for loose files.
    """

    objects: tuple[str, ...]
    object: np.ndarray
    number: np.ndarray
    members: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.object)

    @property
    def key(self) -> np.ndarray:
        """int64 [T], ascending: what identifies a trajectory."""
        return self.object.astype(np.int64) << 32 | self.number


@dataclass(frozen=True)
class Folder:
    """A tree of loose files, local or on an object store."""

    root: str

    def picture(self, path: str, member: np.ndarray | None = None) -> bytes:
        """A picture by its path in the tree.

        Raises:
            OSError: there is none, or it cannot be read.
            DamagedMember: it is a link or too large.
        """
        full = storage.join(self.root, path)
        if storage.is_uri(full):
            return storage.read_bytes(full)
        # A tree from elsewhere could lead anywhere.
        try:
            handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            if os.path.islink(full):
                raise DamagedMember("it is a link") from error
            raise
        with open(handle, "rb") as file:
            if os.fstat(handle).st_size > MOST_IMAGE_BYTES:
                raise DamagedMember("it is too large for a picture")
            return file.read()

    def file(self, path: str) -> bytes | None:
        """Another file of the set by its path in the tree; None where there is none."""
        try:
            return storage.read_bytes(storage.join(self.root, path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{storage.join(self.root, path)} cannot be read: {error}.") from error

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder of the tree, sorted."""
        found = storage.list_folders(storage.join(self.root, path))
        return [folder.rpartition("/")[2] for folder in found]

    def name(self, path: str) -> str:
        """A path of the tree, for messages."""
        return storage.join(self.root, path)


@dataclass(frozen=True)
class Zips:
    """A set in one or more zip archives.

    Attributes:
        paths: of the archives.
        files: `MEMBER`s of its statistics by their paths in the tree.
    """

    paths: tuple[str, ...]
    files: Mapping[str, np.ndarray] = field(default_factory=dict)

    def picture(self, path: str, member: np.ndarray | None = None) -> bytes:
        """A picture by its place in an archive.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
            DamagedMember: it is not what its archive says, or too large.
        """
        if member is None or member["archive"] < 0:
            raise FileNotFoundError(path)
        if member["size"] > MOST_IMAGE_BYTES:
            raise DamagedMember("it is too large for a picture")
        return read_member(self.paths[member["archive"]], member)

    def file(self, path: str) -> bytes | None:
        """Another file of the set by its path in the tree; None where there is none."""
        member = self.files.get(path)
        if member is None:
            return None
        if member["size"] > MOST_FILE_BYTES:
            raise InputError(f"{self.name(path)} is refused: it has {member['size']:,} bytes.")
        try:
            return read_member(self.paths[member["archive"]], member)
        except (DamagedMember, OSError) as error:
            raise InputError(f"{self.name(path)} is damaged: {error}.") from error

    def folders(self, path: str) -> list[str]:
        """Names of the folders of statistics in one of them, sorted."""
        inside = [
            name.removeprefix(f"{path}/") for name in self.files if name.startswith(f"{path}/")
        ]
        return sorted({name.partition("/")[0] for name in inside if "/" in name})

    def name(self, path: str) -> str:
        """A path of the tree, for messages."""
        member = self.files.get(path)
        return f"{self.paths[0 if member is None else member['archive']]}: {path}"


Source = Folder | Zips


def open_source(paths: Sequence[str], usual: Sequence[str]) -> Folder | tuple[str, ...]:
    """A tree, or the archives that a set consists of.

    Args:
        paths: archives, or one folder: the set's, or one that holds it or its archives.
        usual: what the folder of the set is called.

    Raises:
        InputError: there is nothing there, or several folders.
    """
    found = [storage.absolute(path) for path in paths]
    for path in found:
        if not storage.exists(path):
            raise InputError(f"{path} does not exist.")
    archives = [path for path in found if path.lower().endswith(".zip")]
    if len(archives) == len(found):
        return tuple(archives)
    if len(found) > 1:
        raise InputError("A set is one folder, or any number of zip archives.")
    root = found[0]
    if not storage.is_uri(root) and not os.path.isdir(root):
        raise InputError(f"{root} is neither a folder nor a zip archive.")
    inner = [storage.join(root, name) for name in usual]
    root = next((path for path in inner if storage.exists(path)), root)
    inside = [path for path in storage.list_files(root) if path.lower().endswith(".zip")]
    return Folder(root) if storage.list_folders(root) or not inside else tuple(inside)


def categories_of(folder: Folder) -> tuple[list[str], Counter[str]]:
    """The folders at the top of a tree that may be categories, and what is passed over."""
    passed_over: Counter[str] = Counter()
    return _kept([n for n in folder.folders("") if n != _STATISTICS], passed_over), passed_over


def trajectories_of(category: str, folder: Folder) -> tuple[dict[str, np.ndarray], Counter[str]]:
    """Numbers of the trajectories by object of a category, and what is passed over; no file of a
    trajectory is looked at."""
    passed_over: Counter[str] = Counter()
    found = {}
    for model in _kept(folder.folders(category), passed_over):
        names = folder.folders(f"{category}/{model}")
        numbers = [int(name) for name in names if _NUMBER.fullmatch(name)]
        passed_over["folders that are no trajectories"] += len(names) - len(numbers)
        found[f"{category}/{model}"] = np.array(sorted(numbers), np.int32)
    return found, +passed_over


def _kept(names: Iterable[str], passed_over: Counter[str]) -> list[str]:
    kept = []
    for name in names:
        if name.startswith(".") or name in ("__MACOSX", "@eaDir"):
            passed_over[HIDDEN] += 1
        elif not name.isprintable():
            passed_over[UNPRINTABLE] += 1
        else:
            kept.append(name)
    return kept


def catalogue_of(numbers: Mapping[str, np.ndarray]) -> Catalogue:
    """The catalogue of loose files, from the numbers of trajectories by object."""
    objects = tuple(sorted(numbers))
    lengths = [len(numbers[name]) for name in objects]
    return Catalogue(
        objects,
        np.repeat(np.arange(len(objects), dtype=np.int32), lengths),
        np.concatenate([np.zeros(0, np.int32), *(numbers[name] for name in objects)]),
    )
