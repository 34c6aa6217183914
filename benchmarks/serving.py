"""How many searches a service answers, and how fast, for many clients at once.

python pipelines/serve.py --index indexes/bridge      # in another terminal
python benchmarks/serving.py --index indexes/bridge --clients 64 --seconds 60

Every client asks again as soon as it has its answer. The pictures are queries of the index.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from urllib.parse import urlsplit

import numpy as np

from benchmarks.report import Options, Table, save
from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.record import Count, Positive
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


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """Which service, and how hard."""

    address: str = "http://127.0.0.1:8000/"
    """Of the service."""
    index: str = "indexes/bridge"
    """The index that it serves, whose queries are the pictures."""
    clients: Count = 64
    """That ask at the same time."""
    seconds: Positive = 60.0
    """For so long."""
    top: Count = 20
    """Results per picture."""


@dataclass
class Load:
    """Seconds of each answer, failures by kind, answers by how many were embedded together."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    batches: Counter[int] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """All that were made."""
        return len(self.latencies) + self.failures.total()


def load(
    address: str, pictures: Sequence[bytes], *, clients: int, seconds: float, top: int = 20
) -> Load:
    """Ask a service with so many clients at once, for so long."""
    found, start = Load(), time.monotonic()

    def ask(client: int) -> None:
        # Each client keeps its connection, as browsers do.
        connection = HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT)
        for number in count(client):
            began = time.monotonic()
            if began >= start + seconds:
                return connection.close()
            problem, batch = _ask(connection, pictures[number % len(pictures)], top)
            if problem:
                found.failures[problem] += 1
            else:
                found.latencies.append(time.monotonic() - began)
                found.batches[batch] += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
    found.seconds = time.monotonic() - start
    return found


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
    index = storage.absolute(config.index)
    examples = Catalogue(index, open_index_manifest(index)).examples(PICTURES)
    if not examples:
        raise InputError(f"The pictures of {index} are gone.")
    pictures = [example.picture() for example in examples]
    warm = load(config.address, pictures[:1], clients=1, seconds=1.0, top=1)
    if not warm.latencies:
        raise InputError(f"No search service answers at {config.address}: {dict(warm.failures)}.")
    found = load(
        config.address, pictures, clients=config.clients, seconds=config.seconds, top=config.top
    )
    p50, p95, p99 = 1000 * np.percentile(found.latencies, (50, 95, 99))
    sizes = list(found.batches.elements())
    figures = {
        "clients": config.clients,
        "seconds": found.seconds,
        "requests": found.requests,
        "failed": found.failures.total(),
        "failures": found.failures,
        "rate": len(found.latencies) / found.seconds,
        "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
        "median_batch": np.median(sizes),
        "largest_batch": max(sizes),
        "answers_by_batch_size": dict(sorted(found.batches.items())),
    }
    save(config.out, [TABLE.text([figures])], figures)


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
