"""The engine on clusters of several nodes: which of them work, and what is in their memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.cluster_utils import Cluster

from pipelines.stages import cluster
from pipelines.stages.engine import Actors, run
from pipelines.stages.spilling import spilled_bytes
from tests.kills import kill_node
from tests.waiting import wait_until

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def no_other_cluster() -> Iterator[None]:
    ray.shutdown()
    yield
    ray.shutdown()


def node_of(unit: int, folder: Path, nodes: int) -> str:
    """The node that it runs on; waits until units ran on so many nodes, two minutes at most."""
    node: str = ray.get_runtime_context().get_node_id()
    (folder / node).touch()
    end = time.monotonic() + 120
    while len(list(folder.iterdir())) < nodes and time.monotonic() < end:
        time.sleep(0.1)
    return node


def demand(address: str) -> list[object]:
    """What waits for nodes, as an autoscaler sees it."""
    waiting: list[object] = get_cluster_status(address).resource_demands.ray_task_actor_demand
    return waiting


@pytest.mark.parametrize("actors", [None, Actors()])
def test_a_node_that_joins_late_gets_work(tmp_path: Path, actors: Actors | None) -> None:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        ray.init(nodes.address, log_to_driver=False)
        cluster.connect()
        with ThreadPoolExecutor() as thread:
            units = list(range(12))
            results = thread.submit(lambda: set(run(node_of, units, tmp_path, 2, actors=actors)))
            wait_until(lambda: list(tmp_path.iterdir()) or results.done())
            if actors is not None:
                # What an autoscaler adds nodes for.
                wait_until(lambda: demand(nodes.address) or results.done())
            nodes.add_node(num_cpus=1)
            assert len(results.result()) == 2
    finally:
        ray.shutdown()
        nodes.shutdown()


def here(unit: int) -> str:
    """The node that it runs on."""
    node: str = ray.get_runtime_context().get_node_id()
    return node


def test_work_without_gpus_keeps_off_nodes_that_are_reserved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        reserved = nodes.add_node(num_cpus=4, num_gpus=1, labels={cluster.RESERVED: "gpu"}).node_id
        ray.init(nodes.address, log_to_driver=False)
        cluster.connect()
        cluster.say_where_all_is_reserved()
        assert "on nodes labelled reserved-for=gpu: waiting" in capsys.readouterr().out
        plain = nodes.add_node(num_cpus=1).node_id
        units = list(range(8))
        assert {*run(here, units)} == {*run(here, units, actors=Actors())} == {plain}
        assert {*run(here, units, gpus=1)} == {reserved}
        assert capsys.readouterr().out == ""
        assert cluster.room(1) == 1 and cluster.room(0, 1) == 1
        assert len(cluster.nodes()) == 3 and len(cluster.nodes(for_gpus=False)) == 2
    finally:
        ray.shutdown()
        nodes.shutdown()


def a_lot(unit: int) -> bytes:
    return bytes(4_000_000)


def test_results_in_flight_fit_in_memory_and_what_does_not_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100_000_000}
    )
    try:
        ray.init(nodes.address, log_to_driver=False)
        cluster.connect()
        assert sum(map(len, run(a_lot, list(range(60))))) == 60 * 4_000_000
        assert spilled_bytes() == 0 and capsys.readouterr().out == ""
        held = []
        for _ in run(here, list(range(4))):
            held.append(ray.put(np.ones(40_000_000, np.uint8)))
        written = spilled_bytes()
        assert 40_000_000 <= written <= 160_000_000
        assert f"object store was full and wrote {written / 1e6:,.0f} MB" in capsys.readouterr().out
    finally:
        ray.shutdown()
        nodes.shutdown()


def until_told(unit: int, folder: Path) -> int:
    """Unit 0 waits for a file at its first attempt."""
    begun = folder / f"{unit}-{ray.get_runtime_context().get_node_id()}"
    if unit == 0 and not list(folder.glob("0-*")):
        begun.touch()
        wait_until(lambda: (folder / "never").exists())
    return unit


def test_a_node_whose_death_is_noticed_late_is_one_death(tmp_path: Path) -> None:
    """Meanwhile Ray counts ten attempts and more, none of which finds a process."""
    slow = {"health_check_failure_threshold": 10}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": slow})
    try:
        doomed = nodes.add_node(num_cpus=1)
        ray.init(nodes.address, log_to_driver=False)
        cluster.connect()
        with ThreadPoolExecutor() as thread:
            units = list(range(4))
            results = thread.submit(
                lambda: sorted(run(until_told, units, tmp_path, actors=Actors()))
            )
            wait_until(lambda: list(tmp_path.glob("0-*")) or results.done())
            kill_node(nodes, doomed)
            nodes.add_node(num_cpus=1)
            assert results.result() == units
    finally:
        ray.shutdown()
        nodes.shutdown()
