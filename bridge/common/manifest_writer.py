"""Recording what is finished in the manifest while a DATASET or an INDEX is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from bridge.common import storage

MANIFEST = "manifest.json"
SECONDS_BETWEEN_SAVES = 2.0
SHARE_OF_TIME = 0.05


class Growing(Protocol):
    """A manifest that is saved again and again while its artefact is made."""

    def save(self, folder: str, file: str = MANIFEST, /) -> None:
        """Write it into a file of the artefact's folder."""


M = TypeVar("M", bound=Growing)


def notes(folder: str) -> Iterator[str]:
    """The files in which finished shards or parts are noted that the manifest may not name yet."""
    for number in count(1):
        path = storage.join(folder, _note_file(number))
        if not storage.exists(path):
            return
        yield path


def _note_file(number: int) -> str:
    return f".manifest-{number:06d}.json"


class ManifestWriter(Generic[M]):
    """Adds shards or parts to a manifest; leaving the block saves it, whatever ended the block.

    A manifest of many of them takes time to write (28 s for a million), so saves come in intervals
    that keep them below a twentieth of the time. Between them, what is new goes into notes: small
    manifests of their own, which are read with an unfinished manifest (`notes`) and removed once
    it has what they say. What a kill left unrecorded, some seconds' work, is made again.

    Args:
        folder: of the artefact.
        manifest: what is recorded so far.
        extended: a manifest and some more shards or parts, as a new manifest.
        blank: the manifest without any, which notes extend.
    """

    def __init__(
        self, folder: str, manifest: M, extended: Callable[[M, list[Any]], M], blank: M
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._extended = extended
        self._blank = blank
        self._new: list[Any] = []
        self._noted = self._notes = 0
        self._next_save = self._next_note = time.monotonic() + SECONDS_BETWEEN_SAVES

    def __enter__(self) -> Self:
        self._notes = sum(1 for _ in notes(self._folder))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.save()

    def add(self, result: Any) -> None:
        """Record a shard or a part that lies in the folder."""
        self._new.append(result)
        now = time.monotonic()
        if now >= self._next_save:
            self.save()
        elif now >= self._next_note:
            self._note()

    def save(self) -> M:
        """Write what is recorded so far; returns the manifest."""
        if self._new or self._notes:
            started = time.monotonic()
            self._manifest = self._extended(self._manifest, self._new)
            self._manifest.save(self._folder)
            # The last first, so that a kill leaves none behind a gap, where nobody would look.
            for number in range(self._notes, 0, -1):
                storage.delete(storage.join(self._folder, _note_file(number)))
            self._new, self._noted, self._notes = [], 0, 0
            ended = time.monotonic()
            self._next_note = ended + SECONDS_BETWEEN_SAVES
            self._next_save = ended + max(SECONDS_BETWEEN_SAVES, (ended - started) / SHARE_OF_TIME)
        return self._manifest

    def _note(self) -> None:
        self._notes += 1
        note = self._extended(self._blank, self._new[self._noted :])
        note.save(self._folder, _note_file(self._notes))
        self._noted = len(self._new)
        self._next_note = time.monotonic() + SECONDS_BETWEEN_SAVES
