"""Waiting for what another process or thread does: for as long as a busy machine may need."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

PATIENCE = 600
"""Seconds after which nobody waits any longer; only a failing test takes so long."""


def wait_until(
    condition: Callable[[], object],
    process: subprocess.Popen[str] | None = None,
    *,
    every: float = 0.02,
) -> None:
    """Look for a condition all so many seconds; AssertionError where `process` ends before it."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        assert process is None or process.poll() is None, "the command ended early"
        time.sleep(every)
