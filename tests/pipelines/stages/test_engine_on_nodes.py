"""The engine on clusters that change while it works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import AutoscalingCluster, Cluster

from pipelines.stages import cluster
from pipelines.stages.engine import Actors, run

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


def add_later(nodes: Cluster, folder: Path) -> None:
    """Add a node when work has begun."""
    while not list(folder.iterdir()):
        time.sleep(0.1)
    nodes.add_node(num_cpus=1)


@pytest.mark.parametrize("actors", [None, Actors()])
def test_a_node_that_joins_late_gets_work(tmp_path: Path, actors: Actors | None) -> None:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        ray.init(nodes.address, log_to_driver=False)
        cluster.connect()
        with ThreadPoolExecutor() as thread:
            joined = thread.submit(add_later, nodes, tmp_path)
            assert len(set(run(node_of, list(range(12)), tmp_path, 2, actors=actors))) == 2
        joined.result()
    finally:
        ray.shutdown()
        nodes.shutdown()


@pytest.mark.parametrize("actors", [None, Actors()])
def test_a_cluster_that_grows_on_demand_sees_it(tmp_path: Path, actors: Actors | None) -> None:
    worker = {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1}
    nodes = AutoscalingCluster(
        head_resources={"CPU": 1}, worker_node_types={"worker": worker}, idle_timeout_minutes=5
    )
    nodes.start()
    try:
        ray.init("auto", log_to_driver=False)
        cluster.connect()
        assert len(set(run(node_of, list(range(12)), tmp_path, 2, actors=actors))) == 2
    finally:
        ray.shutdown()
        nodes.shutdown()
