"""What a request to the service may ask for; nothing here needs FastAPI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Le

from bridge.common.picture_options import MAX_PIXELS
from bridge.common.record import Count, Positive, check

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What a request may ask for; InputError where that is nothing, or too much to decode."""

    megabytes: Positive = 10.0
    """Of one picture."""
    megapixels: Annotated[float, Gt(0), Le(MAX_PIXELS / _MEGABYTE)] = 50.0
    """Of one picture, decoded."""
    images: Count = 8
    """In one request."""
    top: Count = 1000
    """Results per picture."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def bytes(self) -> int:
        """Bytes of one picture."""
        return int(self.megabytes * _MEGABYTE)

    @property
    def pixels(self) -> float:
        """Pixels of one picture."""
        return self.megapixels * _MEGABYTE

    @property
    def all_megabytes(self) -> float:
        """Of all pictures of a request."""
        return self.images * self.megabytes
