"""What the commands lay over Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from pipelines.stages.datasets import read_dataset, rows

__all__ = ["read_dataset", "rows"]

__getattr__ = names_in(__name__, {"datasets": ("read_dataset", "rows")})
