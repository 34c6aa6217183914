"""What the processes of `test_cache.py` do; a module of its own, which they import quickly."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from bridge.common.errors import Failed
from bridge.dataset import cache, cache_folder
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import open_manifest

SECONDS = 600


def opened(dataset: str) -> tuple[Labels, cache.ImageCache]:
    """The training images of a dataset, out of the node's cache."""
    manifest = open_manifest(dataset)
    labels = read_labels(dataset, manifest, "train")
    return labels, cache.open_cache(labels, manifest.content_hash)


def caches(folder: Path) -> list[Path]:
    """What is in the folder besides its lock."""
    return sorted(path for path in folder.iterdir() if path.name != cache_folder.LOCK)


def open_checked(dataset: str, at_the_lock: Callable[[], object]) -> None:
    """Opens the cache and compares it with the shards; calls `at_the_lock` before it waits there.

    Whoever waits there has found no cache.
    """
    wait = cache_folder._wait_for

    def arrive(lock: int, folder: Path) -> None:
        at_the_lock()
        wait(lock, folder)

    cache_folder._wait_for = arrive
    labels, images = opened(dataset)
    assert [images[i] for i in range(len(images))] == labels.read_images()


def open_after(dataset: str, ready: Event) -> None:
    """The same, and tells when it is there."""
    open_checked(dataset, ready.set)


def open_together(dataset: str, barrier: Barrier, inodes: Queue[int]) -> None:
    """The same, with all of them there before one goes on."""
    open_checked(dataset, lambda: barrier.wait(SECONDS))
    (path,) = caches(cache_folder.cache_folder())
    inodes.put(path.stat().st_ino)


def open_stuck(dataset: str) -> None:
    """Writes half of the cache and never ends."""
    read_images = Labels.read_images
    cache.ROWS_PER_BATCH, cache.THREADS = 50, 1
    seen = []

    def stuck(part: Labels) -> list[bytes]:
        seen.append(part)
        if len(seen) == 4:
            threading.Event().wait()
        return read_images(part)

    Labels.read_images = stuck  # type: ignore[method-assign]
    opened(dataset)


def open_with_small_files(dataset: str, messages: Queue[str]) -> None:
    """Opens the cache where no file may be as large as it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    try:
        opened(dataset)
    except Failed as error:
        messages.put(str(error))
