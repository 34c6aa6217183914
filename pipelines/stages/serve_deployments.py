"""The processes of the search service on Ray Serve: those that answer HTTP, those that search."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from pathlib import PurePath

from fastapi import FastAPI
from ray import serve
from ray.serve.config import BackpressureConfig
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

from bridge.index.catalogue import Catalogue
from bridge.index.folder import open_index_manifest
from bridge.index.searcher import Query, Searcher
from bridge.web.app import RETRY_AFTER, Overloaded, Searched, create_app
from bridge.web.batcher import Batcher
from pipelines.stages import cluster
from pipelines.stages.service_options import ServiceOptions

SEARCHING_PER_PAGE = 4
"""Replicas that search for each one that answers HTTP."""
_BURST = 1024
"""Requests that may be on their way to a page: those of one moment, none waits there."""
_QUIET = LoggingConfig(log_level=logging.WARNING, enable_access_log=False)


class SearchModel:
    """Embeds the pictures of several requests together and searches with them."""

    def __init__(self, options: ServiceOptions, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        device = "cuda" if options.gpu else "cpu"
        self._searcher = Searcher(
            options.index, model=options.model, device=device, threads=threads
        )
        # Filters are ready before the first request that has one.
        _ = self._searcher.catalogue.columns
        self._batcher = Batcher(self._answer, options.batch_size)

    async def search(self, queries: Sequence[Query]) -> Searched:
        """Answer a request of one or several pictures, which the page has checked."""
        return await self._batcher.ask(queries)

    def _answer(self, requests: Sequence[Sequence[Query]]) -> list[Searched]:
        answers = self._searcher.answer([query for request in requests for query in request])
        rest = iter(answers)
        return [Searched([next(rest) for _ in request], len(requests)) for request in requests]


class SearchPage:
    """Answers HTTP: the page, the pictures, and searches, which it hands to `SearchModel`."""

    def __init__(self, options: ServiceOptions, model: DeploymentHandle) -> None:
        self._options, self._model = options, model

    def __serve_build_asgi_app__(self) -> FastAPI:
        options = self._options
        manifest = open_index_manifest(options.index)
        return create_app(
            PurePath(options.index).name,
            manifest,
            Catalogue(options.index, manifest),
            self._search,
            options.limits,
            local=options.local,
        )

    async def _search(self, queries: Sequence[Query]) -> Searched:
        try:
            return await asyncio.wait_for(self._model.search.remote(queries), self._options.timeout)
        except (BackPressureError, TimeoutError) as error:
            raise Overloaded from error


def search_application(options: ServiceOptions, cpus: float) -> serve.Application:
    """The service, whose searching replicas have so many CPUs each, and a GPU where asked for."""
    # One batch is worked on while the next one gathers.
    at_once = 2 * options.batch_size
    model = serve.deployment(
        SearchModel,
        num_replicas=options.replicas,
        ray_actor_options={
            "num_cpus": cpus,
            "num_gpus": 1 if options.gpu else 0,
            "runtime_env": {} if options.gpu else cluster.TENSORS_ON_CPU,
        },
        max_ongoing_requests=at_once,
        max_queued_requests=options.max_waiting,
        logging_config=_QUIET,
    )
    pages = math.ceil(options.replicas / SEARCHING_PER_PAGE)
    page = serve.deployment(
        serve.ingress()(SearchPage),
        name="SearchPage",
        num_replicas=pages,
        ray_actor_options={"num_cpus": 0},
        # More than the model takes, so that it is the page that refuses, in JSON.
        max_ongoing_requests=at_once * options.replicas // pages + options.max_waiting + 64,
        max_queued_requests=_BURST,
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER),
        logging_config=_QUIET,
    )
    return page.bind(options, model.bind(options, max(1, int(cpus))))
