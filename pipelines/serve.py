"""Serve a page and a REST interface that search an index with pictures, until Ctrl-C.

python pipelines/serve.py --index indexes/bridge
python pipelines/serve.py --index indexes/bridge --port 8080 --replicas 4 --gpu
python pipelines/serve.py --photos PHOTOS --model runs/bridge/model

With --photos a folder of photos is imported and indexed first, or what was added to it since.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Annotated
from urllib.request import ProxyHandler, build_opener

from annotated_types import Ge, Le

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.record import Count, NonNegative, Positive, check
from bridge.index.config import AlphaQE, RerankName, SuperGlobal, rerank_of
from bridge.web.limits import Limits
from pipelines.stages.service_options import ServiceOptions

NAME = "bridge-search"
"""Of the application in Ray Serve."""
MOST_CPUS = 4.0
"""CPUs of a replica by default; one forward pass gains little from more."""


@dataclass(frozen=True)
class ServeConfig:
    """What to serve, where, and for how many."""

    index: str = "indexes/bridge"
    """The index to search."""
    photos: str | None = None
    """Search a folder of photos instead, whatever lies in it at the start."""
    library: str | None = None
    """Where copies and index of --photos are kept; default: a folder of the user's cache."""
    model: str | None = None
    """The model that built the index, where it is no longer where it was then; with --photos, the
    model to embed them with."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, without any authentication."""
    port: Annotated[int, Ge(1), Le(65535)] = 8000
    """Port to listen on."""
    replicas: Count = 1
    """Processes that embed and search, each with the model and the index."""
    gpu: bool = False
    """Give each of them a GPU."""
    cpus_per_replica: Positive | None = None
    """CPUs of each; default: an even share, up to 4."""
    batch_size: Count = 32
    """Most requests that are embedded together."""
    max_waiting: Count = 256
    """Requests that may wait; more are answered with 503."""
    timeout: Positive = 30.0
    """Seconds after which a waiting request is answered with 503, and a slow client is given up."""
    max_in_flight_mb: Positive = 256.0
    """Megabytes of the pictures of all requests at one time; more are answered with 503."""
    drain: NonNegative = 10.0
    """Seconds that requests in flight have to be answered once the service is to end."""
    limits: Limits = field(default_factory=Limits)
    """Of a request."""
    rerank: RerankName = "none"
    """Have the best results of a search put the others in another order."""
    aqe: AlphaQE = field(default_factory=AlphaQE)
    """Of alpha query expansion."""
    superglobal: SuperGlobal = field(default_factory=SuperGlobal)
    """Of SuperGlobal re-ranking."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""

    def __post_init__(self) -> None:
        check(self)
        if self.library is not None and self.photos is None:
            raise InputError("`library` is that of `photos`: give both.")


def run(config: ServeConfig) -> None:
    """Serve until interrupted, or told to end by SIGTERM, which is no failure."""
    signals: list[int] = []
    with service(config) as address:
        for number in (signal.SIGINT, signal.SIGTERM):
            # A lock, as an Event has, would hang when the next signal interrupts the handler.
            signal.signal(number, lambda received, _: signals.append(received))
        print(f"The search page is at {address} (Ctrl-C stops it).", flush=True)
        while not signals:
            time.sleep(0.2)
        print("stopping", flush=True)
    if signals[0] == signal.SIGINT:
        raise KeyboardInterrupt


@contextlib.contextmanager
def service(config: ServeConfig) -> Iterator[str]:
    """Serve inside the block; gives the address of the page, which answers.

    Raises:
        InputError: no finished index or not its model, an address that cannot be used, or more
            replicas than fit into the cluster.
    """
    options = service_options(_with_photos(config))
    # What takes seconds to import is imported once index, model and address have been checked.
    from pipelines.stages.page import listen, page, serving

    listen(config.host, config.port).close()
    from ray import serve

    from pipelines.stages import cluster
    from pipelines.stages.serve_deployments import search_model

    cluster.connect(config.num_cpus)
    if NAME in serve.status().applications:
        raise InputError("The service already runs in this cluster: stop it with `serve shutdown`.")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    model = search_model(options, _cpus(config))
    serve.start(proxy_location="Disabled")
    try:
        handle = serve.run(model, name=NAME, route_prefix=None)
        app = page(options, handle)
        with serving(app, config.host, config.port, timeout=config.timeout, drain=config.drain):
            address = f"http://{_url_host(config.host)}:{config.port}/"
            # The first search takes seconds: it is ours, and may come to nothing. No proxy of
            # the network is asked.
            with contextlib.suppress(OSError):
                build_opener(ProxyHandler({})).open(f"{address}healthz").close()
            yield address
    finally:
        serve.delete(NAME)
        if not serve.status().applications:
            serve.shutdown()


def _with_photos(config: ServeConfig) -> ServeConfig:
    """The same service, of the index of the photos that it names."""
    if config.photos is None:
        return config
    from pipelines.stages.photo_library import require_model, up_to_date

    require_model(config.model)
    from pipelines.stages.page import listen

    # Before a long import.
    listen(config.host, config.port).close()
    index = up_to_date(config.photos, config.model, config.library, config.num_cpus)
    return replace(config, index=index)


def service_options(config: ServeConfig) -> ServiceOptions:
    """What the deployments need to know, checked; InputError as `service`."""
    from bridge.index.folder import model_of, open_index_manifest

    index = storage.absolute(config.index)
    manifest = open_index_manifest(index)
    model = model_of(manifest, config.model)
    from bridge.index.search import open_search_index

    open_search_index(index, manifest)
    return ServiceOptions(
        title=PurePath(storage.absolute(config.photos or index)).name,
        index=index,
        model=model,
        replicas=config.replicas,
        gpu=config.gpu,
        batch_size=config.batch_size,
        max_waiting=config.max_waiting,
        timeout=config.timeout,
        most_bytes=1e6 * config.max_in_flight_mb,
        limits=config.limits,
        rerank=rerank_of(config.rerank, config.aqe, config.superglobal),
        local=_is_loopback(config.host),
    )


def _cpus(config: ServeConfig) -> float:
    """CPUs of each replica."""
    from pipelines.stages import cluster

    most = config.cpus_per_replica or MOST_CPUS
    cpus = cluster.cpus_each(cluster.nodes(), config.replicas, most, on_gpu=config.gpu)
    if cpus is None:
        what = "GPUs" if config.gpu else "CPUs"
        raise InputError(f"The cluster has too few {what} for {config.replicas} replicas.")
    return cpus


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url_host(host: str) -> str:
    """How this machine reaches the address that is listened on."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"[{host}]" if ":" in host else host


def main() -> None:
    """The command."""
    cli.main(run, ServeConfig, description=__doc__)


if __name__ == "__main__":
    main()
