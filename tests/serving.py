"""A live search service for tests, and a client that speaks plain HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Reply:
    """An answer of the service."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """The sentence of a refusal."""
        return str(self.json["detail"])


class Client:
    """Requests to a service, each over a connection of its own."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._place, self._prefix = parts.netloc, parts.path.rstrip("/")

    def head(self, path: str) -> Reply:
        """HEAD of a path."""
        return self._request("HEAD", path, None, {})

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        """GET a path."""
        return self._request("GET", path, None, headers or {})

    def search(self, image: bytes, query: str = "", kind: str = "image/jpeg") -> Reply:
        """Search with a picture as the body."""
        return self._request("POST", f"/api/search{query}", image, {"Content-Type": kind})

    def search_files(self, files: Sequence[tuple[str, bytes]], query: str = "") -> Reply:
        """Search with pictures as the files of a form."""
        mark = uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f"Content-Type: application/octet-stream\r\n\r\n".encode()
            + data
            + b"\r\n"
            for name, data in files
        ]
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        return self._request("POST", f"/api/search{query}", body, {"Content-Type": kind})

    def _request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> Reply:
        connection = HTTPConnection(self._place, timeout=120)
        try:
            connection.request(method, self._prefix + path, body, headers)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, headers, response.read())
        finally:
            connection.close()
