"""The processes that search, on Ray Serve."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence

from ray import serve
from ray.serve.schema import LoggingConfig

from bridge.common import storage
from bridge.common.errors import InputError, StoreError
from bridge.index.folder import FAISS_FILE, open_index_manifest
from bridge.index.searcher import Query, Searcher
from bridge.web.app import Searched
from bridge.web.batcher import Batcher
from pipelines.stages import cluster
from pipelines.stages.service_options import ServiceOptions

_QUIET = LoggingConfig(log_level=logging.WARNING, enable_access_log=False)


class SearchModel:
    """Embeds the pictures of several requests together and searches with them."""

    def __init__(self, options: ServiceOptions, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        device = "cuda" if options.gpu else "cpu"
        self._index = _WatchedIndex(options.index)
        self._searcher = Searcher(
            options.index,
            model=options.model,
            device=device,
            threads=threads,
            rerank=options.rerank,
        )
        # Filters are ready before the first request that has one.
        _ = self._searcher.catalogue.columns
        self._batcher = Batcher(self._answer, options.batch_size)

    async def search(self, queries: Sequence[Query]) -> Searched:
        """Answer a request of one or several pictures, which the page has checked.

        Raises:
            InputError: the index is not any more what it was.
        """
        return await self._batcher.ask(queries)

    def _answer(self, requests: Sequence[Sequence[Query]]) -> list[Searched]:
        self._index.check()
        answers = self._searcher.answer([query for request in requests for query in request])
        rest = iter(answers)
        return [Searched([next(rest) for _ in request], len(requests)) for request in requests]


class _WatchedIndex:
    """Whether `index.faiss` is still the file that was opened, and the one that was built.

    A mapped file that is cut off ends the process that reads on.

    Attributes:
        comparing: whether its hash is not known yet.
    """

    def __init__(self, index: str) -> None:
        self._path = storage.join(index, FAISS_FILE)
        self._sha256 = str(open_index_manifest(index).search["sha256"])
        self._is_local = not storage.is_uri(index)
        self._opened = self._state()
        self._differs = False
        self.comparing = True
        # It takes a second for each gigabyte or two.
        threading.Thread(target=self._compare, daemon=True).start()

    def check(self) -> None:
        """InputError where it is not."""
        if self._differs or self._state() != self._opened:
            raise InputError(f"{self._path} is not the file any more that was opened.")

    def _state(self) -> tuple[int, ...]:
        # What is elsewhere was read into memory.
        if not self._is_local:
            return ()
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return (0,)
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _compare(self) -> None:
        try:
            self._differs = storage.sha256_file(self._path) != self._sha256
        except OSError:
            self._differs = True
        except StoreError:
            # What was read into memory was sound.
            pass
        self.comparing = False


def search_model(options: ServiceOptions, cpus: float) -> serve.Application:
    """The replicas that search, with so many CPUs each, and a GPU where asked for."""
    model = serve.deployment(
        SearchModel,
        num_replicas=options.replicas,
        ray_actor_options={
            "num_cpus": cpus,
            "num_gpus": 1 if options.gpu else 0,
            "runtime_env": {} if options.gpu else cluster.TENSORS_ON_CPU,
        },
        # One batch is worked on while the next one gathers.
        max_ongoing_requests=2 * options.batch_size,
        max_queued_requests=options.max_waiting,
        logging_config=_QUIET,
    )
    return model.bind(options, max(1, int(cpus)))
