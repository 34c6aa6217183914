"""The search service when something goes wrong: damaged indexes, slow clients, too much at once."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray.serve

from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.index.folder import FAISS_FILE
from pipelines import serve
from pipelines.serve import ServeConfig
from pipelines.stages.page import page, serving
from pipelines.stages.serve_deployments import _WatchedIndex, search_model
from tests.serving import Client, free_port
from tests.waiting import wait_until

PICTURE = np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def index(searchable: Path) -> Path:
    return searchable / "index"


def test_an_index_that_is_cut_off_under_the_service_is_told(index: Path, tmp_path: Path) -> None:
    shutil.copytree(index.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / "index"
    options = serve.service_options(ServeConfig(index=str(copy)))
    handle = ray.serve.run(search_model(options, 0.5), name="damaged", route_prefix=None)
    port = free_port()
    with serving(page(options, handle), "127.0.0.1", port, timeout=30, drain=1):
        client = Client(f"http://127.0.0.1:{port}/")
        assert client.get("/healthz").status == 200
        with open(copy / FAISS_FILE, "r+b") as file:
            file.truncate(100)
        for reply in (client.get("/healthz"), client.search(encode(PICTURE))):
            assert reply.status == 503 and "changed or damaged" in reply.detail
            assert str(tmp_path) not in reply.detail
    ray.serve.delete("damaged")


def test_an_index_that_is_not_the_one_that_was_built_is_found_out(
    index: Path, tmp_path: Path
) -> None:
    shutil.copytree(index.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / "index"
    watched = _WatchedIndex(str(copy))
    wait_until(lambda: not watched.comparing)
    watched.check()
    data = bytearray((copy / FAISS_FILE).read_bytes())
    data[-9] ^= 1
    (copy / FAISS_FILE).write_bytes(data)
    damaged = _WatchedIndex(str(copy))
    wait_until(lambda: not damaged.comparing)
    for one in (watched, damaged):
        with pytest.raises(InputError, match="not the file any more"):
            one.check()


class _Nobody:
    """What answers searches where no search is made."""


@pytest.fixture
def impatient(index: Path) -> Iterator[int]:
    """The port of a page that holds 30 kB of pictures, and waits for half a second."""
    config = ServeConfig(index=str(index), timeout=0.5, max_in_flight_mb=0.03)
    port = free_port()
    app = page(serve.service_options(config), _Nobody())  # type: ignore[arg-type]
    with serving(app, "127.0.0.1", port, timeout=0.5, drain=1):
        yield port


def _answer(port: int, sent: bytes) -> bytes:
    """All that a connection gives until it is closed by the other side."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:", b"GET / HT"])
def test_a_client_that_sends_no_request_is_closed(impatient: int, sent: bytes) -> None:
    assert _answer(impatient, sent) == b""


def test_a_client_that_stops_within_a_body_is_told_and_closed(impatient: int) -> None:
    head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\nabc"
    answer = _answer(impatient, head)
    assert answer.startswith(b"HTTP/1.1 408 ") and b"did not come in time" in answer


def test_pictures_in_flight_are_bounded(impatient: int) -> None:
    reply = Client(f"http://127.0.0.1:{impatient}/").search(b"\xff\xd8\xff" + bytes(40_000))
    assert reply.status == 503 and int(reply.headers["retry-after"]) > 0
    # What was refused is not held.
    reply = Client(f"http://127.0.0.1:{impatient}/").search(b"text" * 7_000)
    assert reply.status == 415
