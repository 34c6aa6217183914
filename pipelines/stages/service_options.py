"""What the search service is told."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.web.limits import Limits


@dataclass(frozen=True)
class ServiceOptions:
    """What the deployments need to know; paths are absolute, times in seconds."""

    index: str
    model: str
    replicas: int
    gpu: bool
    batch_size: int
    max_waiting: int
    timeout: float
    limits: Limits
    local: bool
