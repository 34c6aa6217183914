"""The engine on a cluster that grows while it works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.cluster_utils import Cluster

from pipelines.stages import cluster
from pipelines.stages.engine import Actors, run
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
