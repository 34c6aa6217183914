"""Batches grow while one is being answered, and nobody loses an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from bridge.web.batcher import Batcher


class Held:
    """Doubles numbers, one batch at a time, each when it is let go; raises for a batch with -1."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []
        self.go = threading.Semaphore(0)

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(tuple(numbers))
        assert self.go.acquire(timeout=60)
        if -1 in numbers:
            raise ValueError("no")
        return [2 * number for number in numbers]


async def _started(batcher: Batcher[int, int], numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batcher.ask(number)) for number in numbers]
    # One turn of the loop for them to ask, one for an idle batcher to take what waits.
    for _ in range(2):
        await asyncio.sleep(0)
    return tasks


def test_what_comes_during_a_batch_makes_the_next_ones() -> None:
    held = Held()

    async def scenario() -> list[int]:
        batcher = Batcher(held, 3)
        tasks = await _started(batcher, [0])
        tasks += await _started(batcher, [1, 2])
        tasks += await _started(batcher, [3, 4])
        held.go.release(10)
        return await asyncio.gather(*tasks)

    assert asyncio.run(scenario()) == [0, 2, 4, 6, 8]
    assert held.batches == [(0,), (1, 2, 3), (4,)]


def test_whoever_gave_up_is_left_out_and_the_others_are_answered() -> None:
    held = Held()

    async def scenario() -> list[int | BaseException]:
        batcher = Batcher(held, 3)
        tasks = await _started(batcher, [0])
        tasks += await _started(batcher, [1, 2])
        # One whose batch is under way, and one that waits.
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.sleep(0)
        held.go.release(10)
        return await asyncio.gather(*tasks, return_exceptions=True)

    gone, waiting, answered = asyncio.run(scenario())
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(waiting, asyncio.CancelledError)
    assert answered == 4
    assert held.batches == [(0,), (2,)]


def test_a_batch_that_fails_tells_its_requests_and_stops_no_other() -> None:
    held = Held()
    held.go.release(10)

    async def scenario() -> int:
        batcher = Batcher(held, 3)
        with pytest.raises(ValueError, match="no"):
            await batcher.ask(-1)
        return await batcher.ask(5)

    assert asyncio.run(scenario()) == 10
