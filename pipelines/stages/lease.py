"""Leases: one command at a time in a folder of an object store, or of a disk without locks.

Each command writes a file of its own into the folder, looks for those of others, and writes its own
anew all `RENEWED` seconds for as long as it runs. A file counts for `LEASE` seconds by the clock of
the store. Whoever wrote a file sees all that were written before, so of two commands that come at
one moment at least one sees the other.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from bridge.common import storage
from bridge.common.errors import Failed, InputError, StoreError
from bridge.common.repeated import repeated

RENEWED = 20.0
LEASE = 90.0
_POLL = 0.2
_CLAIM = re.compile(r"\.in-use-[0-9a-f]{32}\.json")


@dataclass(frozen=True)
class Holder:
    """Who works in a folder, or (`holds` is false) is about to, if nobody else does."""

    host: str
    process: int
    command: str
    since: str
    claim: str
    holds: bool = True
    machine: str = ""

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.process} on {self.host}, since {self.since})"

    @property
    def has_ended(self) -> bool:
        """Whether it was killed, as far as that can be known here."""
        return self.machine == _machine() and not os.path.exists(f"/proc/{self.process}")


def myself() -> Holder:
    """This command, with a claim of its own."""
    command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    host, machine = socket.gethostname(), _machine()
    return Holder(host, os.getpid(), command[:200], since, uuid4().hex, machine=machine)


def _machine() -> str:
    """Within which a number stands for one process: since the start, and in one container."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid4().hex


def holder_at(path: str) -> Holder | None:
    """Who wrote the file; None where it is gone, or not written yet."""
    try:
        value: Any = storage.read_json(path)
        return Holder(**value)
    except StoreError:
        raise
    except (InputError, TypeError):
        return None


def in_use(folder: str, holder: Holder | None) -> InputError:
    """What the second of two commands is told."""
    who = "another command" if holder is None else str(holder)
    return InputError(f"{folder} is in use by {who}: wait for its end, or choose another `out`.")


@contextmanager
def leased(folder: str) -> Iterator[None]:
    """Nobody else has a lease of the folder in the block.

    Raises:
        InputError: another command has.
        Failed: this one could not renew its lease in time, and another took over.
    """
    lease = _Lease(folder)
    try:
        lease.take()
        with repeated(lease.renew, RENEWED):
            yield
    except KeyboardInterrupt:
        if not lease.lost.is_set():
            raise
        raise Failed(
            f"{folder}: this command could not renew its claim for {LEASE:.0f} seconds, and "
            "another one has taken over."
        ) from None
    finally:
        with suppress(OSError, InputError):
            storage.delete(lease.path)


class _Lease:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._me = replace(myself(), holds=False)
        self.path = storage.join(folder, f".in-use-{self._me.claim}.json")
        self.lost = threading.Event()

    def take(self) -> None:
        """InputError where others work there, or came first; those who left are cleared away."""
        while others := self._others():
            found = [(path, holder_at(path)) for path in others]
            for path, other in found:
                if other is not None and other.has_ended:
                    storage.delete(path)
                    continue
                if other is None and storage.exists(path):
                    raise in_use(self._folder, None)
                # Of those that are about to, the first by name goes on, once the others are gone.
                if other is not None and (other.holds or other.claim < self._me.claim):
                    raise in_use(self._folder, other)
            time.sleep(_POLL)
        self._me = replace(self._me, holds=True)
        self._write()

    def _others(self) -> list[str]:
        """The claims of others that count still, after this one is written; others are removed."""
        self._write()
        written = {
            storage.join(self._folder, entry.base_name): entry.mtime
            for entry in storage.entries(self._folder)
            if entry.is_file and _CLAIM.fullmatch(entry.base_name)
        }
        now = written.pop(self.path)
        alive = [path for path, at in written.items() if (now - at).total_seconds() < LEASE]
        for path in written.keys() - set(alive):
            storage.delete(path)
        return sorted(alive)

    def _write(self) -> None:
        storage.write_json(self.path, asdict(self._me))

    def renew(self) -> None:
        """Write the file anew; an interrupt, once, where somebody has removed it."""
        if self.lost.is_set():
            return
        # The store may be out of reach for a while.
        with suppress(OSError, InputError):
            if storage.exists(self.path):
                self._write()
                return
            self.lost.set()
            # The main thread may be waiting for something.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
