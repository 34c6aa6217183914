"""All that the tests use of Ray that is not public, so that a change of Ray breaks one file.

No public call announces to a cluster that a node will be taken away, as a cloud does, and none
tells when a checkpoint has been taken note of, or which processes are a node's.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Where Ray Train notes its checkpoints, in the run's folder of checkpoints."""


def private(module: str, name: str) -> Any:
    """A private name of Ray; AssertionError, saying where it is used, where it is gone."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise AssertionError(f"Ray has no {module}.{name} any more: mend {__file__}.") from error


def announce_preemption(address: str, node: str, seconds: float) -> None:
    """Tell Ray that a node will be taken away in so many seconds."""
    client = private("ray._raylet", "GcsClient")(address=address)
    reasons = private("ray.core.generated.autoscaler_pb2", "DrainNodeReason")
    reason = reasons.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline = int((time.time() + seconds) * 1000)
    accepted, why = client.drain_node(node, reason, "test", deadline)
    assert accepted, why


def has_noted_a_checkpoint(checkpoints: Path) -> bool:
    """Whether Ray Train would continue from a checkpoint in a run's folder of checkpoints."""
    return (checkpoints / SNAPSHOT).exists()


def processes_of(node: Any) -> list[int]:
    """Numbers of the processes that `Cluster.add_node` started for a node and that are running."""
    infos = [info for kind in node.all_processes.values() for info in kind]
    return [info.process.pid for info in infos if info.process.poll() is None]
