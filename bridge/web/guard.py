"""What holds for every request, whatever it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_SECURITY_HEADERS = {
    # The page loads from its own server only, and runs no script of a page around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Adds the headers that keep the page to itself, and refuses requests that name another host.

    A request that another site makes through a browser of this machine names that site. HEAD is
    answered as GET is, without the body. Whoever does not take an answer in time gets no more.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], timeout: float) -> None:
        """`hosts` may be named; none means any. `timeout` is in seconds for each piece."""
        self._app, self._hosts, self._timeout = app, hosts, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            elif is_head:
                message = {**message, "body": b""}
            await asyncio.wait_for(send(message), self._timeout)

        app: ASGIApp = self._app
        if self._hosts and _host(scope) not in self._hosts:
            detail = "This service answers on this machine alone: call it by the name localhost."
            app = JSONResponse({"detail": detail}, 400)
        await app({**scope, "method": "GET"} if is_head else scope, receive, guarded)


def _host(scope: Scope) -> str:
    """The host that a request names, without its port."""
    named = Headers(scope=scope).get("host", "")
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return named.partition(":")[0]
