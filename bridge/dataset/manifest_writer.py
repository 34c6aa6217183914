"""Recording finished shards in the manifest while a DATASET is made."""

from __future__ import annotations

import time
from types import TracebackType

from bridge.dataset.manifest import Manifest, ShardResult

SECONDS_BETWEEN_SAVES = 2.0
SHARE_OF_TIME = 0.05


class ManifestWriter:
    """Adds shards to a dataset's manifest; leaving the block saves it, whatever ended the block.

    A manifest of many shards takes time to write, so saves come in intervals that keep them
    below a twentieth of the time. Shards that a kill left unrecorded are made again.

    Args:
        dataset: folder of the dataset.
        manifest: what is recorded so far.
    """

    def __init__(self, dataset: str, manifest: Manifest) -> None:
        self._dataset = dataset
        self._manifest = manifest
        self._new: list[ShardResult] = []
        self._next_save = time.monotonic() + SECONDS_BETWEEN_SAVES

    def __enter__(self) -> ManifestWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.save()

    def add(self, result: ShardResult) -> None:
        """Record a shard that lies in the dataset."""
        self._new.append(result)
        if time.monotonic() >= self._next_save:
            self.save()

    def save(self) -> Manifest:
        """Write what is recorded so far; returns the manifest."""
        if self._new:
            started = time.monotonic()
            self._manifest = self._manifest.with_shards(self._new)
            self._new = []
            self._manifest.save(self._dataset)
            taken = time.monotonic() - started
            self._next_save = time.monotonic() + max(SECONDS_BETWEEN_SAVES, taken / SHARE_OF_TIME)
        return self._manifest
