from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipelines.stages.cluster import cpus_each

LAPTOP = [{"CPU": 2.0}]
POOL = [{"CPU": 0.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}]
"""A head without work, and two nodes."""


@pytest.mark.parametrize(
    ("nodes", "processes", "most", "on_gpu", "share"),
    [
        (LAPTOP, 1, 16, False, 2),
        (LAPTOP, 2, 16, False, 1),
        (LAPTOP, 4, 16, False, 0.5),
        (LAPTOP, 1, 1, False, 1),
        (LAPTOP, 1, 0.3, False, 0.25),
        # All CPUs together are 16, but no process can have more than a node's.
        (POOL, 1, 16, False, 8),
        # Two on one node and one on the other, not 16 / 3 each.
        (POOL, 3, 16, False, 4),
        (POOL, 2, 16, True, 8),
        # There are only two GPUs.
        (POOL, 3, 16, True, None),
        ([], 1, 16, False, None),
        # A node of GPUs: they limit how many fit, not only the CPUs.
        ([{"CPU": 64.0, "GPU": 8.0}], 8, 16, True, 8),
    ],
)
def test_every_process_fits_on_a_node(
    nodes: list[dict[str, float]], processes: int, most: float, on_gpu: bool, share: float | None
) -> None:
    assert cpus_each(nodes, processes, most, on_gpu=on_gpu) == share


def test_thirds_are_rounded_down_so_that_all_three_fit() -> None:
    share = cpus_each([{"CPU": 1.0}], 3, 16)
    assert share is not None and 0.333 < share * 1.0 <= 1 / 3 and share * 3 <= 1


SAYS_NOTHING = """
from pipelines.stages import cluster
from pipelines.stages.engine import Actors, run

cluster.connect(1)
assert sorted(run(abs, [-1, -2], actors=Actors())) == [1, 2]
"""


def test_what_ray_says_of_its_own_does_not_reach_the_user() -> None:
    environment = os.environ | {"RAY_ADDRESS": "local"}
    said = subprocess.run(
        [sys.executable, "-c", SAYS_NOTHING], env=environment, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
