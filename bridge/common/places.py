"""Files and folders that are read by their paths, wherever they lie: meshes, photos, queries."""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from bridge.common import storage
from bridge.common.files import Folders
from bridge.common.uris import STORES

_STORE = re.compile(rf"({'|'.join(STORES)}):/")


class StoredPath(PurePosixPath):
    """A place on an object store, with what readers of meshes and photos use of `Path`.

    What is in a folder is asked once by each process.
    """

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition(":/")
        return f"{scheme}://{posixpath.normpath(rest)}"

    def exists(self) -> bool:
        """Whether a file or a folder is there."""
        return storage.exists(str(self))

    def is_dir(self) -> bool:
        """Whether a folder is there."""
        return storage.is_folder(str(self))

    def is_file(self) -> bool:
        """Whether a file is there."""
        folder, _, name = str(self).rpartition("/")
        return name in _files(folder)

    def iterdir(self) -> Iterator[StoredPath]:
        """The files in a folder; folders are left out."""
        return (self / name for name in _files(str(self)))

    def read_bytes(self) -> bytes:
        """The whole file."""
        return storage.read_bytes(str(self))


Place = Path | StoredPath


def place(path: str | Path | StoredPath) -> Place:
    """A path on this machine's disks or on an object store, also where `Path` has read its URI."""
    return StoredPath(path) if _STORE.match(str(path)) else Path(path)


@lru_cache(maxsize=256)
def _files(folder: str) -> frozenset[str]:
    return frozenset(path.rpartition("/")[2] for path in storage.list_files(folder))


def folders_in(root: str | Path | StoredPath, suffixes: Sequence[str]) -> Folders:
    """The folders of a disk or of an object store, as `Folders` lists them."""
    where = place(root)
    return Folders(where, suffixes) if isinstance(where, Path) else _StoredFolders(where, suffixes)


def files_below(root: str) -> dict[str, tuple[int, int]]:
    """Bytes and time (ns since 1970) of every file of an object store's folder, by its path in it.

    One request tells of a thousand files.
    """
    _, inner = storage.filesystem(root)
    found = storage.entries(root, deep=True)
    return {
        entry.path[len(inner) :].lstrip("/"): (entry.size, entry.mtime_ns)
        for entry in found
        if entry.is_file
    }


def sizes_of(paths: Sequence[str]) -> list[int]:
    """Bytes of files, all on disks or all in one bucket.

    Raises:
        OSError: one is not there.
    """
    if not any(map(storage.is_uri, paths)):
        return [os.path.getsize(path) for path in paths]
    shared = os.path.commonprefix([f"{path.rpartition('/')[0]}/" for path in paths])
    root = shared.rpartition("/")[0]
    known = files_below(root)
    names = [path[len(root) + 1 :] for path in paths]
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{root}/{missing}")
    return [known[name][0] for name in names]


@dataclass(frozen=True)
class _Stored:
    name: str
    path: str
    folder: bool

    def is_dir(self) -> bool:
        return self.folder

    def is_file(self) -> bool:
        return not self.folder

    def is_symlink(self) -> bool:
        return False


class _StoredFolders(Folders):
    """All is listed at once: asking for each folder would take a request each."""

    def __init__(self, root: StoredPath, suffixes: Sequence[str]) -> None:
        super().__init__(str(root), suffixes)
        self._found: dict[str, dict[str, _Stored]] = {}
        for path in files_below(self.root):
            folder = self.root
            *above, _ = names = path.split("/")
            for depth, name in enumerate(names):
                item = _Stored(name, f"{folder}/{name}", depth < len(above))
                self._found.setdefault(folder, {}).setdefault(name, item)
                folder = item.path

    def has_file(self, path: str) -> bool:
        return self._has(path, folder=False)

    def has_folder(self, path: str) -> bool:
        return self._has(path, folder=True)

    def _has(self, path: str, *, folder: bool) -> bool:
        parent, _, name = path.rpartition("/")
        item = self._found.get(parent, {}).get(name)
        return item is not None and item.folder == folder

    def _items(self, folder: str) -> list[_Stored]:
        items = self._found.get(folder, {}).values()
        return sorted(items, key=lambda item: item.name)
