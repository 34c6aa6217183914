"""The engine of every stage that maps over data: units of work as a Ray Dataset.

    for result in run(work, units, folder):          # work(unit, folder) in tasks
    for result in run(Worker, units, folder, actors=Actors()):   # Worker(folder)(unit) in actors

`units` is a list, or a plan that computes its units from their numbers. It is put into the cluster
once, and numbers become units where they run, so a job of 100,000 units costs the driver no more
than some thousand small blocks of numbers.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray._private.worker import global_worker
from ray.data import ActorPoolStrategy, Dataset
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from pipelines.stages import cluster
from pipelines.stages.spilling import spilling

MOST_BLOCKS = 4096
"""Of numbers, as the driver keeps a record of each; with more units, blocks have several."""
MOST_WAITING = 1024
"""Actors that are asked for at the beginning, whatever there is room for, where nodes may join."""
MANY_UNITS = 16
"""For a process, above which one more waits behind each that it works at: Ray Data takes 0.2 s to
see that one is done. With fewer, it weighs more that the last may wait beside an idle process."""
MOST_ATTEMPTS = 6
"""At a unit whose process dies, be it by the unit's fault or because its node is gone."""
_DEATHS = "bridge-deaths"
"""Where the cluster keeps, for units that are repeated, how many processes died at them."""


@dataclass(frozen=True)
class Actors:
    """Long-lived processes that keep from unit to unit what is costly to have.

    Attributes:
        most: processes; None: as many as the cluster has room for, also on nodes that join later.
        calls: units that a process works at, at the same time.
        environment: `runtime_env` of the processes.
    """

    most: int | None = None
    calls: int = 1
    environment: Mapping[str, Any] | None = None


def run(
    work: Callable[..., Any],
    units: Sequence[Any],
    *shared: Any,
    cpus: float = 1,
    gpus: float = 0,
    actors: Actors | None = None,
) -> Iterator[Any]:
    """The result of every unit as it is finished, in any order.

    A single unit for tasks is done here, where the cluster is this machine alone. What needs no GPU
    keeps off nodes that are reserved for GPUs (`cluster.WITHOUT_GPUS`).

    Args:
        work: a function `work(unit, *shared)` or, with `actors`, a class whose instances
            `work(*shared)` are called with a unit each. Ray repeats units whose process or node
            died, so work must do no harm when it is done again.
        units: what to work at.
        shared: arguments that all units have in common; they travel once.
        cpus, gpus: of each task or actor.
        actors: the processes that do the work; None: tasks.

    Raises:
        RuntimeError: a unit ended its process `MOST_ATTEMPTS` times.
        the exception of the first unit that fails.
    """
    if not len(units):
        return
    if actors is None and len(units) == 1 and len(cluster.nodes()) == 1:
        # There is nothing to lay out.
        yield work(units[0], *shared)
        return
    numbers = _numbers(len(units))
    # Each result is handed on by itself, and a pool grows as soon as there is room.
    numbers.context.target_max_block_size = 1
    numbers.context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    arguments = _put(units, shared)
    options = _resources(len(units), cpus, gpus, actors)
    if actors is None:
        results = numbers.map(_task, fn_args=(work, arguments), **options)
    else:
        results = numbers.map(_Actor, fn_constructor_args=(work, arguments), **options)
    with spilling():
        for row in results.iter_rows():
            result, error = pickle.loads(row["outcome"])
            if error is not None:
                raise error
            yield result


def tables(
    work: Callable[..., Any], units: Sequence[Any], *shared: Any, cpus: float = 1, gpus: float = 0
) -> Dataset:
    """A Ray Dataset of the rows that units come to, worked out in actors where they are used.

    Args:
        work: a function or a class as in `run`, whose results are `pa.Table`s.
        units, shared, cpus, gpus: as in `run`.
    """
    return _numbers(len(units)).map_batches(
        _TableActor,
        fn_constructor_args=(work, _put(units, shared)),
        batch_size=None,
        batch_format="pyarrow",
        **_resources(len(units), cpus, gpus, Actors()),
    )


def _numbers(length: int) -> Dataset:
    bounds = np.linspace(0, length, min(length, MOST_BLOCKS) + 1).astype(np.int64)
    numbers = np.arange(length)
    return ray.data.from_blocks(
        [pa.table({"unit": part}) for part in np.split(numbers, bounds[1:-1])]
    )


def _resources(length: int, cpus: float, gpus: float, actors: Actors | None) -> dict[str, Any]:
    """How Ray Data is to lay units over the cluster."""
    options: dict[str, Any] = {"num_cpus": cpus or None, "num_gpus": gpus or None}
    if not gpus:
        options["label_selector"] = cluster.WITHOUT_GPUS
        cluster.say_where_all_is_reserved()
    if actors is None:
        return options
    most = min(length, actors.most or length)
    # Those that wait for room are what an autoscaler sees, and what nodes that join later get.
    first = min(most, MOST_WAITING if cluster.may_grow() else cluster.room(cpus, gpus))
    options["compute"] = ActorPoolStrategy(
        min_size=1,
        max_size=most,
        initial_size=first,
        max_tasks_in_flight_per_actor=actors.calls + (length > MANY_UNITS * first),
        max_concurrent_calls_per_actor=actors.calls,
        enable_true_multi_threading=True,
    )
    return options | {"runtime_env": dict(actors.environment) if actors.environment else None}


class _Packed(Sequence[Any]):
    """A list whose bytes are in a node's memory once, however many processes read it."""

    def __init__(self, items: Sequence[Any]) -> None:
        parts = [pickle.dumps(item) for item in items]
        self._ends = np.cumsum([len(part) for part in parts])
        self._bytes = np.frombuffer(b"".join(parts), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, position: Any) -> Any:
        start = self._ends[position - 1] if position else 0
        return pickle.loads(self._bytes[start : self._ends[position]].data)


def _put(units: Sequence[Any], shared: Sequence[Any]) -> list[ray.ObjectRef]:
    held = _Packed(units) if isinstance(units, list | tuple) else units
    return [ray.put(value) for value in (held, *shared)]


class _Actor:
    """Does units one by one in a process of its own."""

    def __init__(self, work: Callable[..., Any], arguments: Sequence[ray.ObjectRef]) -> None:
        self._units, *shared = ray.get(arguments)
        self._run = arguments[0].hex()
        self._error: Exception | None = None
        try:
            self._work = _with(work, shared)
        except Exception as error:
            self._error = error

    def __call__(self, row: dict[str, Any]) -> dict[str, bytes]:
        if self._error is not None:
            return _outcome(None, self._error)
        return _done(self._work, self._units[row["unit"]], f"{self._run}:{row['unit']}")


def _task(
    row: dict[str, Any], work: Callable[..., Any], arguments: Sequence[ray.ObjectRef]
) -> dict[str, bytes]:
    units, *shared = ray.get(arguments)
    name = f"{arguments[0].hex()}:{row['unit']}"
    return _done(_with(work, shared), units[row["unit"]], name)


def _with(work: Callable[..., Any], shared: Sequence[Any]) -> Callable[[Any], Any]:
    """What is called with a unit: an instance of a class, or a function that has the arguments."""
    return work(*shared) if isinstance(work, type) else lambda unit: work(unit, *shared)


def _done(work: Callable[[Any], Any], unit: Any, name: str) -> dict[str, bytes]:
    try:
        _refuse_to_die_again(unit, name)
        return _outcome(work(unit))
    except Exception as error:
        return _outcome(None, error)


def _outcome(result: Any, error: Exception | None = None) -> dict[str, bytes]:
    """A result or an error as a row: Ray Data would make columns of tuples, and add to messages."""
    if error is not None:
        error.add_note("".join(traceback.format_exception(error)))
    return {"outcome": pickle.dumps((result, error))}


class _TableActor:
    """Makes a table of each unit."""

    def __init__(self, work: Callable[..., Any], arguments: Sequence[ray.ObjectRef]) -> None:
        self._units, *shared = ray.get(arguments)
        self._work = _with(work, shared)

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for number in batch["unit"].to_pylist():
            yield self._work(self._units[number])


def _refuse_to_die_again(unit: Any, name: str) -> None:
    """RuntimeError where too many processes have died at a unit, which has a name of its own."""
    # Ray repeats without end, and only its core knows that this is no first attempt. Its count is
    # no use: until a dead node is missed, it also counts attempts that found nobody to make them.
    if not global_worker.core_worker.get_current_task_attempt_number():
        return
    deaths = int(_internal_kv_get(name, namespace=_DEATHS) or 0) + 1
    _internal_kv_put(name, str(deaths), namespace=_DEATHS)
    if deaths >= MOST_ATTEMPTS:
        raise RuntimeError(f"Worker processes died {deaths} times at {str(unit)[:500]}.")
