"""What a test asks on the head of a cluster, as JSON.

python -m tests.clusters.on_head nodes 3    wait until there are three nodes
python -m tests.clusters.on_head work       which nodes have worked, by the kind of worker
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict

import ray
from ray.util.state import list_tasks

from tests.waiting import wait_until

ANSWER = "answer: "


def alive() -> int:
    return sum(node["Alive"] for node in ray.nodes())


def work() -> dict[str, list[str]]:
    """Addresses of the nodes on which tasks have ended well, by the name of their actor."""
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    found: defaultdict[str, set[str]] = defaultdict(set)
    tasks = list_tasks(
        filters=[("state", "=", "FINISHED")], limit=10_000, raise_on_missing_output=False
    )
    for task in tasks:
        if task["type"] == "ACTOR_TASK" and task["node_id"] in addresses:
            found[task["name"].split("(")[0].split(".")[0]].add(addresses[task["node_id"]])
    return {name: sorted(nodes) for name, nodes in found.items()}


def main() -> None:
    """Print one line behind what Ray may say."""
    ray.init("auto", log_to_driver=False, logging_level="ERROR")
    question, *arguments = sys.argv[1:]
    if question == "nodes":
        wait_until(lambda: alive() == int(arguments[0]), every=0.5)
    print(ANSWER + json.dumps(work() if question == "work" else alive()))


if __name__ == "__main__":
    main()
