"""What the search service is told."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.index.config import Rerank
from bridge.web.limits import Limits


@dataclass(frozen=True)
class ServiceOptions:
    """What the processes need to know; paths are absolute, times in seconds.

    `title` is what the page calls the index; `most_bytes` is of the pictures of all requests at one
    time.
    """

    title: str
    index: str
    model: str
    replicas: int
    gpu: bool
    batch_size: int
    max_waiting: int
    timeout: float
    most_bytes: float
    limits: Limits
    rerank: Rerank | None
    local: bool
