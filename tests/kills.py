"""Commands started to be killed: their workers, and the ways to strike them."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import psutil

from bridge.training.run_log import MetricsReader
from tests.ray_private import processes_of
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
Kind = Literal["worker", "driver", "everything", "interrupt"]


def start(script: str, options: Sequence[str], **settings: Any) -> subprocess.Popen[str]:
    """Run `script` of this repository in a session of its own."""
    arguments = [sys.executable, str(ROOT / script), *options]
    return subprocess.Popen(arguments, cwd=ROOT, start_new_session=True, text=True, **settings)


def workers(above: int, *titles: str) -> list[psutil.Process]:
    """Ray's processes that do something of `titles`, below the process of a number."""
    found: list[psutil.Process] = []
    for process in tree(above):
        try:
            if any(title in " ".join(process.cmdline()) for title in titles):
                found.append(process)
        except psutil.Error:
            continue
    return found


def tree(above: int) -> list[psutil.Process]:
    """All processes below the process of a number; none where it is gone."""
    try:
        return psutil.Process(above).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to those that are left."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def kill_node(cluster: Any, node: Any) -> None:
    """SIGKILL to all processes of a node of a `ray.cluster_utils.Cluster` at once."""
    above = processes_of(node)
    kill([*map(psutil.Process, above), *(child for pid in above for child in tree(pid))])
    cluster.remove_node(node, allow_graceful=False)


def strike(driver: subprocess.Popen[str], kind: Kind, title: str, rng: random.Random) -> bool:
    """Kill something of a running command; False where it has no such thing (yet)."""
    if kind == "worker":
        victims = workers(driver.pid, title)
        if not victims:
            return False
        rng.choice(victims).kill()
    elif kind == "interrupt":
        driver.send_signal(signal.SIGINT)
    else:
        others = tree(driver.pid) if kind == "everything" else []
        driver.kill()
        kill(others)
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
