"""Requests that wait are answered together: as many as came while the last ones were answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Batcher(Generic[Request, Answer]):
    """Answers the requests of one event loop in batches, one batch at a time.

    A request that finds nothing going on is answered at once. All others gather until the batch
    before them is done, so batches grow with the load and no request waits for company. (The
    batching of Ray Serve closes a batch some milliseconds after its first request, also where
    none can be started yet.)
    """

    def __init__(self, answer: Callable[[Sequence[Request]], Sequence[Answer]], size: int) -> None:
        """`answer` gives one answer per request, in a thread; a batch has at most `size`."""
        self._answer, self._size = answer, size
        self._waiting: deque[tuple[Request, asyncio.Future[Answer]]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def ask(self, request: Request) -> Answer:
        """The answer to a request; raises what `answer` raised for the batch it was in."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._empty())
        return await future

    async def _empty(self) -> None:
        while batch := self._next():
            requests, futures = zip(*batch, strict=True)
            try:
                answers = await asyncio.to_thread(self._answer, requests)
            except Exception as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
                continue
            for future, answer in zip(futures, answers, strict=True):
                # Whoever asked may have gone meanwhile.
                if not future.done():
                    future.set_result(answer)

    def _next(self) -> list[tuple[Request, asyncio.Future[Answer]]]:
        batch: list[tuple[Request, asyncio.Future[Answer]]] = []
        while self._waiting and len(batch) < self._size:
            request, future = self._waiting.popleft()
            if not future.done():
                batch.append((request, future))
        return batch
