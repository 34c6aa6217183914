"""What the drivers need of Ray: a connection and its size."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
import ray.data
from ray._common.utils import get_ray_address_file

from bridge.common.errors import InputError
from pipelines.stages import local_cluster

TENSORS_ON_CPU = {
    "env_vars": {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    }
}
"""Runtime environment of an actor that runs a network on CPUs: freed memory is kept for the next
tensor. Otherwise glibc asks the kernel anew for every large block, which the kernel fills with
zeros page by page, for a third of the time of a forward pass."""

RESERVED = "reserved-for"
WITHOUT_GPUS = {RESERVED: "!gpu"}
"""Where work without GPUs may go: nodes with the label `reserved-for: gpu` keep their CPUs for what
feeds their GPUs."""

SECONDS_TO_ANSWER = 5.0
"""In which a cluster takes a connection."""

_TALKATIVE = "BRIDGE_WORKER_LOGS" in os.environ
"""What workers and Ray say is for debugging; progress and errors come from the drivers."""


def connect(num_cpus: int | None = None, *, dashboard: bool = False) -> None:
    """Join the cluster this runs on, or start a local one with `num_cpus` (default: all cores).

    Ray frees the workers of a training that was stopped from outside, as a tuner does, only where
    its `dashboard` runs.

    A cluster that is already connected is kept.

    Raises:
        InputError: as `address`.
        Failed: none could be started.
    """
    if join():
        return
    # Workers are told where they run by absolute paths; a changed directory would only hide files.
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    # Threads that wait by spinning starve each other as soon as anything else wants a core.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    local_cluster.start(_init, num_cpus=num_cpus, include_dashboard=dashboard)


def join() -> bool:
    """Join the cluster this runs on; False where there is none. Raises as `address`."""
    _quieten()
    if not ray.is_initialized():
        found = address()
        if found is None:
            return False
        with local_cluster.loopback() if _is_on_loopback(found) else contextlib.nullcontext():
            _init(address=found)
    return True


def address() -> str | None:
    """The cluster that RAY_ADDRESS or this user's own `ray start` on this machine names.

    Other clusters that run here are those of other commands, and end with them.

    Raises:
        InputError: nothing answers at RAY_ADDRESS, or it is no address.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    if given == "local":
        return None
    if given and given != "auto":
        _check_answers(given)
        return given
    started = _started_here()
    if started is None and given:
        raise InputError("RAY_ADDRESS is auto, but no cluster was started with `ray start` here.")
    return started


def _started_here() -> str | None:
    """What this user's last `ray start` left, where it still answers."""
    file = Path(get_ray_address_file(None))
    try:
        if file.stat().st_uid != os.getuid():
            return None
        found = file.read_text().strip()
        _check_answers(found)
    except (OSError, UnicodeDecodeError, InputError):
        return None
    return found


def _is_on_loopback(found: str) -> bool:
    """Whether a cluster listens at the loopback address alone, as those of commands do.

    Ray takes that address for this machine's other one, and would wait for it there.
    """
    host, port = _host_and_port(found)
    if host not in ("localhost", "127.0.0.1", "::1"):
        return False
    try:
        socket.create_connection((ray.util.get_node_ip_address(), port), SECONDS_TO_ANSWER).close()
    except OSError:
        return True
    return False


def _host_and_port(found: str) -> tuple[str, int]:
    try:
        place = urlsplit(found if "://" in found else f"ray://{found}")
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise InputError(f"RAY_ADDRESS is {found!r}, which is not an address such as host:6379.")
    return host, port


def _check_answers(found: str) -> None:
    """InputError where nobody listens at an address."""
    host, port = _host_and_port(found)
    try:
        socket.create_connection((host, port), SECONDS_TO_ANSWER).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"No Ray cluster answers at RAY_ADDRESS {found}: {reason}.") from error


def _init(**options: Any) -> None:
    # Nothing is told to anyone but the user, and Ray Data has a process less to start.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not _TALKATIVE:
        # Ray's core writes into the driver's output, also of what is as it should be, and of this.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with contextlib.nullcontext() if _TALKATIVE else _silent_stderr():
        ray.init(**options, logging_level=logging.WARNING, log_to_driver=_TALKATIVE)


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """What is not written by Python is lost as well; errors are raised all the same."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _quieten() -> None:
    """Drop Ray's running commentary; the drivers have their own progress."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # An error of a worker keeps its type, which decides the exit code.
    context.raise_original_map_exception = True
    if not _TALKATIVE:
        # Of attempts that it makes once more Ray tells in the driver's output in any case.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
    for name in ("ray.data", "ray._private.authentication", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)


def num_cpus() -> float:
    """CPUs of the whole cluster."""
    return float(ray.cluster_resources().get("CPU", 1.0))


def num_gpus() -> float:
    """GPUs of the whole cluster."""
    return float(ray.cluster_resources().get("GPU", 0.0))


def nodes(*, for_gpus: bool = True) -> list[dict[str, float]]:
    """Resources of every node that runs, or of those that also take work without GPUs."""
    return [
        node["Resources"]
        for node in ray.nodes()
        if node["Alive"] and (for_gpus or node["Labels"].get(RESERVED) != "gpu")
    ]


def say_where_all_is_reserved() -> None:
    """Tell why work without GPUs has to wait, where it has nowhere to go yet."""
    if not any(node.get("CPU") for node in nodes(for_gpus=False)) and num_cpus():
        print(
            f"note: all CPUs here are on nodes labelled {RESERVED}=gpu: waiting for other nodes.",
            flush=True,
        )


def cpus_each(
    nodes: Sequence[Mapping[str, float]], processes: int, most: float, *, on_gpu: bool = False
) -> float | None:
    """The most CPUs, up to `most`, that each of so many processes can have at the same time.

    What a process has, with `on_gpu` a GPU as well, is all of one node. More processes than CPUs
    get fractions. None where the nodes have no room for them whatever they get.
    """

    def room(share: float) -> int:
        return sum(_fitting(node, share, float(on_gpu)) for node in nodes)

    fractions = max(processes, math.ceil(1 / most))
    # Rounded down to Ray's resolution, so that all of them fit.
    parts = (math.floor(10_000 / parts) / 10_000 for parts in range(2, fractions + 1))
    for share in itertools.chain(range(int(most), 0, -1), parts):
        if share <= most and room(share) >= processes:
            return share
    return None


def may_grow() -> bool:
    """Whether nodes may join: they do not where this command has started a cluster of its own."""
    return ray.get_runtime_context().gcs_address not in local_cluster.sessions


def room(cpus: float, gpus: float = 0) -> int:
    """How many processes of so many CPUs and GPUs fit on the nodes that run; at least one."""
    return max(1, sum(_fitting(node, cpus, gpus) for node in nodes(for_gpus=gpus > 0)))


def gpu_share(renderer: str) -> float:
    """What a renderer's process of one CPU gets of a GPU, where CPUs share the GPUs evenly.

    0 where the cluster has no GPUs, or the renderer does not use them.
    """
    return min(1.0, math.floor(1e4 * num_gpus() / num_cpus()) / 1e4) if renderer == "gl" else 0.0


def _fitting(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    return int(
        min(
            node.get("CPU", 0.0) / cpus if cpus else math.inf,
            node.get("GPU", 0.0) / gpus if gpus else math.inf,
        )
    )
