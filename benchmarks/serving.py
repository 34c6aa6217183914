"""How many searches a service answers, and how fast, for many clients at once.

python pipelines/serve.py --index indexes/bridge      # in another terminal
python benchmarks/serving.py --index indexes/bridge --clients 64 --seconds 60

Every client asks again as soon as it has its answer. The pictures are queries of the index.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.report import Table, save
from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.index.catalogue import Catalogue
from bridge.index.folder import open_index_manifest

PICTURES = 64
_TIMEOUT = 120.0

TABLE = Table(
    "clients | seconds | requests | failed | per second | p50 ms | p95 ms | p99 ms "
    "| batch, median (most)",
    "{clients} | {seconds:.0f} | {requests:,} | {failed} | {rate:.1f} | {latency_ms[p50]:.0f} "
    "| {latency_ms[p95]:.0f} | {latency_ms[p99]:.0f} | {median_batch:.0f} ({largest_batch})",
)


@dataclass(frozen=True)
class Config:
    """Which service, and how hard."""

    address: str = "http://127.0.0.1:8000/"
    """Of the service."""
    index: str = "indexes/bridge"
    """The index that it serves, whose queries are the pictures."""
    clients: int = 64
    """That ask at the same time."""
    seconds: float = 60.0
    """For so long."""
    top: int = 20
    """Results per picture."""
    out: Path | None = None
    """Markdown file for the table; the figures go beside it as JSON."""


@dataclass(frozen=True)
class Load:
    """What happened: `latencies` are the seconds of each answered request, `failures` counts the
    others by their status or error; `batches` counts answers by how many were embedded together."""

    seconds: float
    latencies: tuple[float, ...]
    failures: dict[str, int]
    batches: dict[int, int]

    @property
    def requests(self) -> int:
        """All that were made."""
        return len(self.latencies) + sum(self.failures.values())

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share (0..100) of the answers came."""
        return 1000 * float(np.percentile(self.latencies, share))


def load(
    address: str, pictures: Sequence[bytes], *, clients: int, seconds: float, top: int = 20
) -> Load:
    """Ask a service with so many clients at once, for so long."""
    latencies: list[float] = []
    failures: Counter[str] = Counter()
    batches: Counter[int] = Counter()
    start = time.monotonic()

    def ask(client: int) -> None:
        # Each client keeps its connection, as browsers do.
        connection = HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT)
        number = client
        while time.monotonic() < start + seconds:
            picture = pictures[number % len(pictures)]
            number += 1
            began = time.monotonic()
            problem, batch = _ask(connection, picture, top)
            if problem:
                failures[problem] += 1
                continue
            latencies.append(time.monotonic() - began)
            batches[batch] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(
        time.monotonic() - start, tuple(latencies), dict(failures), dict(sorted(batches.items()))
    )


def _ask(connection: HTTPConnection, picture: bytes, top: int) -> tuple[str, int]:
    """What went wrong ("" for nothing), and how many requests were embedded together."""
    try:
        connection.request("POST", f"/api/search?top={top}", picture)
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as error:
        connection.close()
        return type(error).__name__, 0
    if response.status != 200:
        return str(response.status), 0
    results = json.loads(body)["queries"][0]["results"]
    return "" if results else "no results", int(response.headers["X-Batch-Size"])


def run(config: Config) -> None:
    """Load the service and print what came of it."""
    pictures = _pictures(storage.absolute(config.index))
    _warm(config.address, pictures[0])
    result = load(
        config.address, pictures, clients=config.clients, seconds=config.seconds, top=config.top
    )
    sizes = np.repeat(list(result.batches), list(result.batches.values()))
    figures = {
        "clients": config.clients,
        "seconds": result.seconds,
        "requests": result.requests,
        "failed": sum(result.failures.values()),
        "failures": result.failures,
        "rate": len(result.latencies) / result.seconds,
        "latency_ms": {f"p{share}": result.percentile(share) for share in (50, 95, 99)},
        "median_batch": np.median(sizes),
        "largest_batch": sizes.max(),
        "answers_by_batch_size": result.batches,
    }
    save(config.out, [TABLE.text([figures])], figures)


def _pictures(index: str) -> list[bytes]:
    examples = Catalogue(index, open_index_manifest(index)).examples(PICTURES)
    if not examples:
        raise InputError(f"The pictures of {index} are gone.")
    return [example.picture() for example in examples]


def _warm(address: str, picture: bytes) -> None:
    result = load(address, [picture], clients=1, seconds=1.0, top=1)
    if not result.latencies:
        raise InputError(f"No search service answers at {address}: {result.failures}.")


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
