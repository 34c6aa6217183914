"""What the tests use of Ray's private names is there; see tests/ray_private.py."""

from __future__ import annotations

import pytest

from tests.ray_private import SNAPSHOT, private


def test_what_is_used_is_there() -> None:
    assert callable(private("ray._raylet", "InnerGcsClient").drain_node)
    assert private("ray.core.generated.autoscaler_pb2", "DrainNodeReason").Value(
        "DRAIN_NODE_REASON_PREEMPTION"
    )
    constants = "ray.train.v2._internal.constants"
    assert private(constants, "CHECKPOINT_MANAGER_SNAPSHOT_FILENAME") == SNAPSHOT


def test_what_is_gone_is_said() -> None:
    with pytest.raises(AssertionError, match="ray_private.py"):
        private("ray._raylet", "Nonsense")
