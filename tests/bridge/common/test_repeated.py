from __future__ import annotations

import threading

from bridge.common.repeated import repeated


def test_the_work_is_done_until_the_block_ends() -> None:
    times = threading.Semaphore(0)
    before = threading.active_count()
    with repeated(times.release, 0.001):
        for _ in range(3):
            assert times.acquire(timeout=60)
    assert threading.active_count() == before
