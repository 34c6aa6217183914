"""Which files below a folder count: one rule for meshes, photos and queries."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Protocol

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Of the files in a folder that are taken for pictures."""

_HIDDEN_FOLDERS = ("__MACOSX", "@eaDir")
"""What archives of macOS and network disks put beside the files themselves."""

HIDDEN = "hidden"
UNPRINTABLE = "with a name that cannot be printed"
LINKED_TWICE = "linked folders that are there already"
BROKEN = "unreadable or links to nothing"


class Item(Protocol):
    """What is in a folder, as `os.scandir` tells it."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    def is_dir(self) -> bool: ...
    def is_file(self) -> bool: ...
    def is_symlink(self) -> bool: ...


class Folders:
    """Lists folders, each place once however it is linked, and counts what it passes over.

    Passed over are names that begin with "." (the "._*" of macOS are among them) or cannot be
    printed (those that are not UTF-8 are among them), the folders `__MACOSX` and `@eaDir`, links to
    folders that are listed already or hold the link, and files of other types.

    Attributes:
        root: where it all begins.
        passed_over: how many files and folders, by reason.
        other_types: how many files, by suffix in lower case.
    """

    def __init__(self, root: str | Path, suffixes: Sequence[str]) -> None:
        self.root = str(root)
        self._suffixes = tuple(suffixes)
        self._places = {self.root: os.path.realpath(root)}
        self._listed: dict[str, tuple[list[str], list[str]]] = {}
        self._taken = set(self._places.values())
        self.passed_over: Counter[str] = Counter()
        self.other_types: Counter[str] = Counter()

    def listing(self, folder: str) -> tuple[list[str], list[str]]:
        """Paths of the subfolders and of the files that count, each in order of their names.

        `folder` is the root or one of the subfolders that were returned.
        """
        if folder not in self._listed:
            self._listed[folder] = self._list(folder)
        return self._listed[folder]

    def files(self) -> Iterator[str]:
        """Paths of the files that count, at any depth."""
        waiting = [self.root]
        while waiting:
            subfolders, files = self.listing(waiting.pop())
            yield from files
            waiting += reversed(subfolders)

    def _list(self, folder: str) -> tuple[list[str], list[str]]:
        folders: list[str] = []
        links: list[str] = []
        files: list[str] = []
        for item in self._items(folder):
            if item.name.startswith(".") or item.name in _HIDDEN_FOLDERS:
                self.passed_over[HIDDEN] += 1
            elif not is_printable(item.name):
                self.passed_over[UNPRINTABLE] += 1
            elif item.is_dir():
                (links if item.is_symlink() else folders).append(item.path)
            elif not item.name.lower().endswith(self._suffixes):
                self.other_types[os.path.splitext(item.name)[1].lower()] += 1
            elif item.is_file():
                files.append(item.path)
            else:
                self.passed_over[BROKEN] += 1
        here = self._places[folder]
        for path in folders:
            self._places[path] = os.path.join(here, os.path.basename(path))
        for path in links:
            self._places[path] = os.path.realpath(path)
        # The folder itself comes before a link to it.
        subfolders = [path for path in folders + links if self._take(path, here)]
        return sorted(subfolders), files

    def _items(self, folder: str) -> Sequence[Item]:
        try:
            with os.scandir(folder) as items:
                return sorted(items, key=lambda item: item.name)
        except OSError:
            self.passed_over[BROKEN] += 1
            return []

    def _take(self, path: str, here: str) -> bool:
        place = self._places[path]
        if place in self._taken or os.path.join(here, "").startswith(os.path.join(place, "")):
            self.passed_over[LINKED_TWICE] += 1
            return False
        self._taken.add(place)
        return True

    def has_file(self, path: str) -> bool:
        """Whether there is such a file, whatever its type."""
        return os.path.isfile(path)

    def has_folder(self, path: str) -> bool:
        """Whether there is such a folder."""
        return os.path.isdir(path)

    def summary(self, types: Sequence[str] | None = None) -> str:
        """What was passed over, in words; empty where that was nothing.

        Args:
            types: suffixes of the other files that are told; default: all.
        """
        others = {s: n for s, n in self.other_types.items() if types is None or s in types}
        parts = [f"{n:,} {reason}" for reason, n in sorted(self.passed_over.items()) if n]
        if others:
            names = ", ".join(sorted(name or "no suffix" for name in others))
            parts.append(f"{sum(others.values()):,} of other types ({shown(names)})")
        return ", ".join(parts)


def natural(name: str | PurePath) -> list[tuple[int, int, str]]:
    """A key that sorts names as people do: runs of digits count as numbers, a2 before a10."""
    parts = re.split(r"(\d+)", str(name))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part.casefold()) for part in parts]


def is_printable(name: str) -> bool:
    """Whether a name can be shown, and be part of an id.

    Spaces of every width count: macOS puts one that Python calls unprintable before the "PM" of a
    screenshot's name.
    """
    return all(map(_is_shown, name))


def _is_shown(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"


def shown(name: str | PurePath) -> str:
    """A name as it can be printed anywhere: what cannot be printed is escaped."""
    return "".join(char if _is_shown(char) else _escaped(char) for char in str(name))


def _escaped(char: str) -> str:
    # Bytes that are not UTF-8 come as half surrogates.
    byte = ord(char) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape").decode()
