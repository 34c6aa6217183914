"""Where a command runs while it is struck, and the ways to strike it there.

A strike returns what was struck, in words, or nothing where there is no such thing (yet).
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from typing import Any, Protocol, cast

from ray.cluster_utils import Cluster

from tests.kills import Kind, kill, kill_node, strike, workers
from tests.ray_private import processes_of
from tests.serving import free_port

ENDING = {"driver", "everything", "interrupt"}
"""What ends the command itself."""
SHORT_OF_MEMORY = {"RAY_memory_usage_threshold": "0.0", "RAY_memory_monitor_refresh_ms": "50"}
"""Of a node whose memory counts as full whatever is free, so that Ray kills what works there."""
PATIENCE = 60.0


class Ground(Protocol):
    """Where commands run."""

    kinds: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Of a command that is started here, which makes the ground ready for it."""

    def strike(
        self, kind: str, driver: subprocess.Popen[str], titles: tuple[str, ...], rng: random.Random
    ) -> str | None:
        """Strike a running command whose workers have some titles."""

    def close(self) -> None:
        """End what is left."""


class Alone:
    """A cluster of the command's own, as on a laptop."""

    kinds: tuple[str, ...] = ("worker", "driver", "everything", "interrupt")

    def environment(self) -> dict[str, str]:
        return {"RAY_ADDRESS": "local"}

    def strike(
        self, kind: str, driver: subprocess.Popen[str], titles: tuple[str, ...], rng: random.Random
    ) -> str | None:
        if kind == "worker":
            return _kill_one(driver.pid, titles, rng)
        assert kind in ENDING
        strike(driver, cast(Kind, kind), "", rng)
        driver.wait(timeout=PATIENCE)
        return kind

    def close(self) -> None:
        """Nothing: the clusters end with their commands."""


class Nodes:
    """A head that does no work and nodes of one CPU each, which die and come."""

    kinds: tuple[str, ...] = (
        "node",
        "worker",
        "driver",
        "everything",
        "node short of memory",
        "node joins",
    )

    def __init__(self, nodes: int = 2) -> None:
        self._number = nodes
        self._cluster: Cluster | None = None
        self._running: list[Any] = []

    def environment(self) -> dict[str, str]:
        if self._cluster is None:
            # What frees the workers of a trial asks the dashboard.
            head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": free_port()}
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
            for _ in range(self._number):
                self._add()
        return {"RAY_ADDRESS": self._cluster.address}

    def strike(
        self, kind: str, driver: subprocess.Popen[str], titles: tuple[str, ...], rng: random.Random
    ) -> str | None:
        if kind == "worker":
            return _kill_one(os.getpid(), titles, rng)
        if kind == "node joins":
            self._add()
        elif kind == "node":
            self._kill_node(rng)
            # The next one may take a while to come.
            _wait(driver, rng.uniform(0, 5))
            self._add()
        elif kind == "node short of memory":
            return self._replace_by_poor(driver, titles, rng)
        else:
            driver.kill()
            driver.wait()
            if kind == "everything":
                self._kill_all()
        return kind

    def close(self) -> None:
        if self._cluster is not None:
            self._kill_all()

    def _add(self, **settings: Any) -> Any:
        assert self._cluster is not None
        node = self._cluster.add_node(num_cpus=1, **settings)
        self._running.append(node)
        return node

    def _kill_node(self, rng: random.Random) -> None:
        self._remove(rng.choice(self._running))

    def _remove(self, node: Any) -> None:
        """Kill all processes of a node at once, and the record of it."""
        assert self._cluster is not None
        kill_node(self._cluster, node)
        self._running.remove(node)

    def _replace_by_poor(
        self, driver: subprocess.Popen[str], titles: tuple[str, ...], rng: random.Random
    ) -> str:
        """A node dies, the one that comes in its place kills a worker and dies, and one comes."""
        self._kill_node(rng)
        poor = self._add(env_vars=SHORT_OF_MEMORY)
        seen: set[int] = set()
        killed = False
        end = time.monotonic() + PATIENCE
        while driver.poll() is None and time.monotonic() < end and not killed:
            now = {w.pid for pid in processes_of(poor) for w in workers(pid, *titles)}
            killed = bool(seen - now)
            seen |= now
            time.sleep(0.02)
        self._remove(poor)
        self._add()
        return "node short of memory" if killed else "node"

    def _kill_all(self) -> None:
        assert self._cluster is not None
        for node in [self._cluster.head_node, *self._running]:
            kill_node(self._cluster, node)
        self._cluster = None
        self._running.clear()


def _kill_one(above: int, titles: tuple[str, ...], rng: random.Random) -> str | None:
    victims = workers(above, *titles)
    if not victims:
        return None
    kill([rng.choice(victims)])
    return "worker"


def _wait(driver: subprocess.Popen[str], seconds: float) -> None:
    end = time.monotonic() + seconds
    while driver.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
