"""One command at a time works in a folder.

On a disk the claim is a lock of the kernel's, which lets go of it when its process ends, however it
ends. On object stores, and on disks without locks, it is a lease: see `lease`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path

from bridge.common import storage
from pipelines.stages.lease import holder_at, in_use, leased, myself

FILE = ".in-use.json"
_TEMPORARY = re.compile(r"(.*\.tmp-|\.write-test-)[0-9a-f]{8}")


@contextmanager
def claimed(folder: str | Path) -> Iterator[str]:
    """Nobody else works in the folder in the block; gives its absolute path.

    It is made where it is missing, and removed at the end where nothing came into it. What killed
    commands were writing when they ended is removed first, and after an interruption what this one
    was writing.

    Raises:
        InputError: another command works there, or it cannot be written to.
    """
    is_new = not storage.exists(storage.absolute(folder))
    path = storage.prepare_output(folder)
    try:
        with _lock(path):
            _sweep(path)
            try:
                yield path
            except KeyboardInterrupt:
                _stop_workers()
                _sweep(path)
                raise
    finally:
        if is_new and not storage.is_uri(path):
            with contextlib.suppress(OSError):
                os.rmdir(path)


def _lock(folder: str) -> AbstractContextManager[None]:
    return leased(folder) if storage.is_uri(folder) else _locked(folder)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    path = os.path.join(folder, FILE)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise in_use(folder, holder_at(path)) from None
        except OSError:
            # A network disk without locks.
            os.close(file)
            with leased(folder):
                yield
            return
        # Its last holder may have removed the file between the two.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                break
        os.close(file)
    try:
        os.truncate(file, 0)
        os.write(file, json.dumps(asdict(myself())).encode())
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(file)


def _stop_workers() -> None:
    """No process of this command's works on when it is told that nothing does."""
    if ray := sys.modules.get("ray"):
        ray.shutdown()
        # The kernel lets go of a killed process's locks a moment later.
        time.sleep(0.1)


def _sweep(folder: str) -> None:
    """Remove what was being written; object stores show nothing before it is whole."""
    if storage.is_uri(folder):
        return
    for place, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            inside = name == FILE and place != folder
            if _TEMPORARY.fullmatch(name) or (inside and _is_left(path)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)


def _is_left(path: str) -> bool:
    """Whether a claim's process has ended."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
