"""Keeping `status.json` while a stage works, and stopping it where it has cost enough.

    with watched("train", out, limit=10.0):
        ...

A thread writes it every few seconds, whatever the stage is busy with, and nothing that goes wrong
in that is the stage's concern. Counters of `progress` in the block, in the same thread, are those
of the stage.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

from bridge.common import log, storage
from bridge.common.errors import InputError, Stopped
from bridge.common.status import ENDED, FILE, State, Status, read_status, write_status

SECONDS_BETWEEN_WRITES = 5.0
PATIENCE = 300.0
"""Seconds in which those that work elsewhere are to stop by themselves."""
_open: list[Watch] = []
"""The stages that work in this process, one in the other."""

Size = Callable[[], tuple[float, float]]
"""Cores and GPUs that are being paid for."""


def this_machine() -> tuple[float, float]:
    """The cores of this machine."""
    return float(os.cpu_count() or 1), 0.0


class Watch:
    """A stage that is watched; `watched` makes it."""

    def __init__(
        self,
        stage: str,
        folder: str,
        limit: float | None,
        size: Size,
        publish: Callable[[Status], None],
    ) -> None:
        self.limit = limit
        self.thread = threading.get_ident()
        self._folder, self._size, self._publish = folder, size, publish
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._since = time.monotonic()
        self._resources = this_machine()
        self._over_since: float | None = None
        self._values: Callable[[], dict[str, Any]] | None = None
        now = datetime.now(UTC)
        self.status = Status(
            stage=stage,
            state="waiting",
            run_id=f"{PurePosixPath(folder).name[:40]}-{uuid4().hex[:6]}",
            command=" ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])[:500],
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            updated=now,
        )
        # What an earlier command left may be damaged, or unreadable just now.
        with suppress(Exception):
            before = read_status(folder)
            self.status = replace(
                self.status,
                run_id=before.run_id,
                core_hours=before.core_hours,
                gpu_hours=before.gpu_hours,
            )

    def begin(self) -> None:
        """Say that it has begun, and go on saying so."""
        log.note("started", command=self.status.command)
        self._tell()
        threading.Thread(target=self._beat, daemon=True).start()

    def follow(self, values: Callable[[], dict[str, Any]]) -> None:
        """Have the arguments of `count` worked out anew whenever they are told."""
        self._values = values
        self.count(**values())

    def count(self, part: str, done: int, total: int, unit: str, **values: Any) -> None:
        """Note how far the stage is; `values` are other fields of its status."""
        rate = values.get("rate", 0.0)
        left = max(0.0, (total - done) / rate) if rate > 0 else None
        self._change(part=part, done=done, total=total, unit=unit, seconds_left=left, **values)

    @property
    def excess(self) -> Stopped | None:
        """That the limit is reached, where it is."""
        if self.limit is None or (spent := self._now().spent) < self.limit:
            return None
        kind = "GPU-hours" if self.status.gpu_hours else "core-hours"
        return Stopped(
            f"`max_cost_hours` {self.limit:g} is reached: {spent:.2f} {kind} were spent on "
            f"{self._folder}. The same command with more of them continues."
        )

    @property
    def is_overdue(self) -> bool:
        """Whether the limit was reached so long ago that nobody stops for it."""
        if self.excess and self._over_since is None:
            self._over_since = time.monotonic()
        return self._over_since is not None and time.monotonic() - self._over_since > PATIENCE

    def end(self, state: State, message: str = "") -> None:
        """Say how it ended."""
        if self._ended.is_set():
            return
        if self._values is not None:
            self.count(**self._values())
        left = 0.0 if state == "done" else self.status.seconds_left
        self._change(state=state, message=message, seconds_left=left)
        self._tell(is_last=True)
        log.note(state, message=message, **self._numbers())

    def forget(self) -> None:
        """Take the status away where the folder holds nothing else: nothing was made."""
        with suppress(Exception):
            names = [entry.base_name for entry in storage.entries(self._folder)]
            # The command's claim is there still.
            if all(name == FILE or name.startswith(".in-use") for name in names):
                storage.delete(storage.join(self._folder, FILE))

    def _numbers(self) -> dict[str, Any]:
        names = ("done", "total", "unit", "failures", "core_hours", "gpu_hours")
        return {name: getattr(self.status, name) for name in names}

    def _change(self, **values: Any) -> None:
        with self._lock:
            if self.status.state in ENDED:
                return
            self.status = replace(self.status, **{"state": "running", **values})

    def _now(self) -> Status:
        """The status with what was spent since it was last told."""
        # `_tell` changes it last, so that hours which are in it are not added again.
        status = self.status
        hours = (time.monotonic() - self._since) / 3600
        cores, gpus = self._resources
        return replace(
            status,
            updated=datetime.now(UTC),
            core_hours=status.core_hours + cores * hours,
            gpu_hours=status.gpu_hours + gpus * hours,
        )

    def _tell(self, *, is_last: bool = False) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            with suppress(Exception):
                self._resources = self._size()
            # In this order nothing is counted twice by whoever looks in between.
            self._since, self.status = time.monotonic(), self._now()
            told = self.status
            if is_last:
                self._ended.set()
            elif is_stopping():
                told = replace(told, state="stopping")
            with suppress(Exception):
                write_status(self._folder, told)
            with suppress(Exception):
                self._publish(told)

    def _beat(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_WRITES):
            if self._values is not None:
                self.count(**self._values())
            self._tell()


@contextmanager
def watched(
    stage: str,
    folder: str,
    limit: float | None = None,
    size: Size = this_machine,
    publish: Callable[[Status], None] = lambda status: None,
) -> Iterator[Watch]:
    """Keep the status of a stage that works in the block.

    Args:
        stage: its command.
        folder: where `status.json` is kept.
        limit: of what may be spent on the folder, as `Status.spent`.
        size: what is being paid for.
        publish: is told every status too.

    Raises:
        Stopped: as much was spent by earlier commands.
    """
    watch = Watch(stage, folder, limit, size, publish)
    _open.append(watch)
    try:
        watch.begin()
        with _signals():
            check()
            yield watch
        watch.end("done")
    except BaseException as error:
        # Stages that work in threads are not told of what ends the whole command.
        for each in _open[::-1] if watch is _open[0] else [watch]:
            each.end(_state(error), _message(error))
        if isinstance(error, InputError):
            watch.forget()
        raise
    finally:
        _open.remove(watch)


def current() -> Watch | None:
    """The innermost stage that this thread works at."""
    here = threading.get_ident()
    return next((watch for watch in reversed(_open) if watch.thread == here), None)


def anyones() -> Watch | None:
    """`current`, or the outermost stage of the process, which other threads work for."""
    return current() or next(iter(_open), None)


def has_limit() -> bool:
    """Whether any stage of this process may be stopped for its cost."""
    return any(watch.limit is not None for watch in _open)


def is_stopping() -> bool:
    """Whether the stages of this process are to come to an end."""
    return any(watch.excess for watch in _open)


def check() -> None:
    """Raises Stopped where any stage of this process has cost enough."""
    for watch in _open:
        if excess := watch.excess:
            raise excess


def check_overdue() -> None:
    """Raises Stopped where a stage should have stopped by itself by now."""
    for watch in _open:
        if watch.is_overdue and (excess := watch.excess):
            raise excess


def _state(error: BaseException) -> State:
    if isinstance(error, Stopped):
        return "stopped"
    return "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "a signal ended the command"
    text = str(getattr(error, "cause", error)).strip() or type(error).__name__
    return text.splitlines()[0][:500]


@contextmanager
def _signals() -> Iterator[None]:
    """What would end the process without a word ends it as an exception in the block."""

    def leave(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    kept: list[int] = []
    if threading.current_thread() is threading.main_thread():
        kept = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in kept:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in kept:
            # Ray sets one of its own.
            if signal.getsignal(number) is leave:
                signal.signal(number, signal.SIG_DFL)


def _labels() -> dict[str, Any]:
    watch = anyones()
    return {} if watch is None else {"run_id": watch.status.run_id, "stage": watch.status.stage}


log.labels = _labels
