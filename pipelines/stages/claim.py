"""One command at a time works in a folder.

On a disk the claim is a lock of the kernel's, which lets go of it when its process ends, however it
ends. On object stores, and on disks without locks, it is a file that is written anew all
`RENEWED` seconds for as long as the command runs, and counts for `LEASE` seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from bridge.common import storage
from bridge.common.errors import InputError

FILE = ".in-use.json"
RENEWED = 20.0
LEASE = 90.0
_TEMPORARY = re.compile(r"(.*\.tmp-|\.write-test-)[0-9a-f]{8}")


@dataclass(frozen=True)
class Holder:
    """Who works in a folder; `renewed` is in seconds since 1970."""

    host: str
    process: int
    command: str
    since: str
    claim: str
    renewed: float = 0.0

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.process} on {self.host}, since {self.since})"


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
    return _leased(folder) if storage.is_uri(folder) else _locked(folder)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    path = os.path.join(folder, FILE)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise _in_use(folder, _holder(path)) from None
        except OSError:
            # A network disk without locks.
            os.close(file)
            with _leased(folder):
                yield
            return
        # Its last holder may have removed the file between the two.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(file).st_ino:
                break
        os.close(file)
    try:
        os.truncate(file, 0)
        os.write(file, json.dumps(asdict(_myself())).encode())
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(file)


@contextmanager
def _leased(folder: str) -> Iterator[None]:
    path = storage.join(folder, FILE)
    other = _holder(path)
    if other is not None and time.time() - other.renewed < LEASE:
        raise _in_use(folder, other)
    mine = _myself()
    _renew(path, mine)
    # Of two that come at one moment, the file keeps the one that wrote last.
    if (kept := _holder(path)) is not None and kept.claim != mine.claim:
        raise _in_use(folder, kept)
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEWED):
            # The store may be out of reach for a while.
            with contextlib.suppress(OSError):
                _renew(path, mine)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(OSError):
            filesystem, inner = storage.filesystem(path)
            filesystem.delete_file(inner)


def _renew(path: str, holder: Holder) -> None:
    storage.write_json(path, asdict(holder) | {"renewed": time.time()})


def _myself() -> Holder:
    command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    return Holder(socket.gethostname(), os.getpid(), command[:200], since, uuid4().hex)


def _holder(path: str) -> Holder | None:
    """Who wrote the file; None where it is gone, or not written yet."""
    try:
        value: Any = storage.read_json(path)
        return Holder(**value)
    except (InputError, TypeError):
        return None


def _in_use(folder: str, holder: Holder | None) -> InputError:
    who = "another command" if holder is None else str(holder)
    return InputError(f"{folder} is in use by {who}: wait for its end, or choose another `out`.")


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
