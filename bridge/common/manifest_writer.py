"""Recording what is finished in the manifest while a DATASET or an INDEX is made."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

SECONDS_BETWEEN_SAVES = 2.0
SHARE_OF_TIME = 0.05


class Growing(Protocol):
    """A manifest that is saved again and again while its artefact is made."""

    def save(self, folder: str, /) -> None:
        """Write it into the artefact's folder."""


M = TypeVar("M", bound=Growing)


class ManifestWriter(Generic[M]):
    """Adds shards or parts to a manifest; leaving the block saves it, whatever ended the block.

    A manifest of many of them takes time to write, so saves come in intervals that keep them
    below a twentieth of the time. Those that a kill left unrecorded are made again.

    Args:
        folder: of the artefact.
        manifest: what is recorded so far.
        extended: the manifest and some more shards or parts, as a new manifest.
    """

    def __init__(self, folder: str, manifest: M, extended: Callable[[M, list[Any]], M]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._extended = extended
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
        """Record a shard or a part that lies in the folder."""
        self._new.append(result)
        if time.monotonic() >= self._next_save:
            self.save()

    def save(self) -> M:
        """Write what is recorded so far; returns the manifest."""
        if self._new:
            started = time.monotonic()
            self._manifest = self._extended(self._manifest, self._new)
            self._new = []
            self._manifest.save(self._folder)
            taken = time.monotonic() - started
            self._next_save = time.monotonic() + max(SECONDS_BETWEEN_SAVES, taken / SHARE_OF_TIME)
        return self._manifest
