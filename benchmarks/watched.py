"""Commands that are watched from outside until they have begun, and ended with all they started.

What a command does is seen in files, answers and its exit alone, so any version of it can be
measured. Needs Linux: a process whose parent has ended is handed to this one, which thus knows the
CPU time of all of them and can end them, those of Ray too.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL = 0.005
"""Seconds between two looks."""
_SET_CHILD_SUBREAPER = 36
_LAST_WORDS = 300


@dataclass(frozen=True)
class Spent:
    """Seconds from the start of a command, and CPU seconds of it and all that it started."""

    wall: float
    cpu: float


def watch(
    command: Sequence[str],
    begun: Callable[[], bool] | None,
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    limit: float = 300.0,
) -> Spent:
    """What a command takes until `begun` says so, or it has ended; then nothing of it is left.

    Args:
        command: program and arguments.
        begun: asked every few milliseconds; None: until the command has ended well.
        environment: all of it.
        folder: working directory.
        log: takes what the command prints.
        limit: seconds.

    Raises:
        RuntimeError: it ended without having begun, or badly, or the limit has passed.
    """
    _adopt_orphans(True)
    others = set(psutil.Process().children())
    with open(log, "wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            while not (begun is not None and begun()):
                code = _exit_code(process.pid)
                if code == 0 and (begun is None or begun()):
                    break
                if code is not None or time.perf_counter() - start > limit:
                    what = "has taken too long" if code is None else f"ended with {code}"
                    raise RuntimeError(f"{' '.join(command)} {what}: {_last_words(log)}")
                time.sleep(POLL)
            wall = time.perf_counter() - start
            return Spent(wall, sum(map(_cpu_seconds, _started_since(others))))
        finally:
            _end(others)
            process.wait()
            _adopt_orphans(False)


def _adopt_orphans(adopt: bool) -> None:
    """Whether processes below this one become its children where their parents end."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def _exit_code(pid: int) -> int | None:
    """Of a child, which stays in the process table with its times; None while it runs."""
    status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return None if status is None else status.si_status


def _started_since(others: set[psutil.Process]) -> list[psutil.Process]:
    """The children of this process that are not among the others, and all below them."""
    found = [child for child in psutil.Process().children() if child not in others]
    for child in list(found):
        try:
            found += child.children(recursive=True)
        except psutil.NoSuchProcess:
            continue
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    """Of a process, and of those of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _end(others: set[psutil.Process]) -> None:
    """Kill what was started, and what that starts meanwhile, until there is nothing left."""
    while started := _started_since(others):
        for process in started:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(started, timeout=5)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-_LAST_WORDS:] if lines else "it said nothing"
