"""Recording finished shards in the manifest while a DATASET or an INDEX is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

SECONDS_BETWEEN_SAVES = 2.0
SHARE_OF_TIME = 0.05


class Growing(Protocol):
    """A manifest that finished shards can be added to."""

    def with_shards(self, results: Sequence[Any], /) -> Self:
        """This manifest and the shards."""

    def save(self, folder: str, /) -> None:
        """Write it into the artefact's folder."""


M = TypeVar("M", bound=Growing)


class ManifestWriter(Generic[M]):
    """Adds shards to an artefact's manifest; leaving the block saves it, whatever ended the block.

    A manifest of many shards takes time to write, so saves come in intervals that keep them
    below a twentieth of the time. Shards that a kill left unrecorded are made again.

    Args:
        folder: of the artefact.
        manifest: what is recorded so far.
    """

    def __init__(self, folder: str, manifest: M) -> None:
        self._folder = folder
        self._manifest = manifest
        self._new: list[Any] = []
        self._next_save = time.monotonic() + SECONDS_BETWEEN_SAVES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.save()

    def add(self, result: Any) -> None:
        """Record a shard that lies in the folder."""
        self._new.append(result)
        if time.monotonic() >= self._next_save:
            self.save()

    def save(self) -> M:
        """Write what is recorded so far; returns the manifest."""
        if self._new:
            started = time.monotonic()
            self._manifest = self._manifest.with_shards(self._new)
            self._new = []
            self._manifest.save(self._folder)
            taken = time.monotonic() - started
            self._next_save = time.monotonic() + max(SECONDS_BETWEEN_SAVES, taken / SHARE_OF_TIME)
        return self._manifest
