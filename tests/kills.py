"""Commands started to be killed: their workers, and the ways to strike them."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from bridge.training.run_log import MetricsReader
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
Kind = Literal["worker", "driver", "everything", "interrupt"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def start(script: str, options: Sequence[str], **settings: Any) -> subprocess.Popen[str]:
    """Run `script` of this repository in a session of its own."""
    arguments = [sys.executable, str(ROOT / script), *options]
    return subprocess.Popen(arguments, cwd=ROOT, start_new_session=True, text=True, **settings)


def workers(driver: subprocess.Popen[str], title: str) -> list[psutil.Process]:
    """Ray's processes below a driver that do `title`."""
    found: list[psutil.Process] = []
    try:
        children = psutil.Process(driver.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return found
    for process in children:
        try:
            if title in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def strike(driver: subprocess.Popen[str], kind: Kind, title: str, rng: random.Random) -> bool:
    """Kill something of a running command; False where it has no such thing (yet)."""
    if kind == "worker":
        victims = workers(driver, title)
        if not victims:
            return False
        rng.choice(victims).kill()
    elif kind == "interrupt":
        driver.send_signal(signal.SIGINT)
    else:
        tree = psutil.Process(driver.pid).children(recursive=True) if kind == "everything" else []
        driver.kill()
        for process in tree:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
    return True


def wait_for_step(out: Path, step: int, driver: subprocess.Popen[str]) -> int:
    """Wait until a training has logged a step; returns the last step that it has logged."""
    reader, last = MetricsReader(str(out)), 0

    def logged() -> bool:
        nonlocal last
        last = max([last, *(line["step"] for line in reader.new_lines())])
        return last >= step

    # Steps take milliseconds.
    wait_until(logged, driver, every=0.002)
    return last
