"""The search page as it is served: uvicorn in a thread of the driver, searches in Ray Serve.

Ray Serve's own proxy reads whole requests before it hands them on, however large, and waits without
end for those who send slowly; here both are bounded.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from uvicorn.protocols.http.h11_impl import H11Protocol

from bridge.common.errors import InputError
from bridge.index.catalogue import Catalogue
from bridge.index.folder import open_index_manifest
from bridge.index.searcher import Query
from bridge.web.app import Overloaded, Searched, Unavailable, create_app
from bridge.web.uploads import Uploads
from pipelines.stages.service_options import ServiceOptions


def page(options: ServiceOptions, model: DeploymentHandle) -> FastAPI:
    """The application, whose searches the replicas of `model` answer."""
    manifest = open_index_manifest(options.index)

    async def search(queries: Sequence[Query]) -> Searched:
        try:
            found: Searched = await asyncio.wait_for(model.search.remote(queries), options.timeout)
        except (BackPressureError, TimeoutError) as error:
            raise Overloaded from error
        except InputError as error:
            # What was asked for has been checked before: it is the index that is not as it was.
            raise Unavailable(_DAMAGED) from error
        except (RayActorError, RayServeException) as error:
            raise Unavailable(_ENDED) from error
        return found

    return create_app(
        options.title,
        manifest,
        Catalogue(options.index, manifest),
        search,
        Uploads(options.limits, options.timeout, options.most_bytes),
        local=options.local,
        rerank=options.rerank,
    )


_DAMAGED = (
    "The index was changed or damaged while it was served: build it again where it is damaged, and "
    "start the service anew."
)
_ENDED = "The process that searches has ended and is being started again: try again in a moment."


@contextmanager
def serving(app: FastAPI, host: str, port: int, *, timeout: float, drain: float) -> Iterator[None]:
    """Answer HTTP in the block; at its end the requests in flight have `drain` seconds.

    Raises:
        InputError: nobody can listen there.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        http=_impatient(timeout),
        ws="none",
        lifespan="off",
        timeout_keep_alive=max(5, int(timeout)),
        timeout_graceful_shutdown=max(1, round(drain)),
        server_header=False,
    )
    server = uvicorn.Server(config)
    listener = listen(host, port)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; InputError where nobody can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"Cannot listen at {host}, port {port} ({reason}): choose another `host` or `port`."
        ) from error
    return listener


def _impatient(seconds: float) -> type[H11Protocol]:
    """The protocol, which closes connections that take longer than that to send a request's head.

    uvicorn looks at those alone that have had an answer and send nothing since.
    """

    class Impatient(H11Protocol):
        _patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._patience = self.loop.call_later(seconds, self._give_up)

        def handle_events(self) -> None:
            super().handle_events()
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering and self._patience is not None:
                self._patience.cancel()
                self._patience = None
            elif not answering and self._patience is None:
                self._patience = self.loop.call_later(seconds, self._give_up)

        def on_response_complete(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            super().on_response_complete()

        def _give_up(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Impatient
