"""Evaluation: the protocols of the paper (Sec. 5), and what a report shows of them."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.evaluation.protocols import PROTOCOLS, Protocol, tasks

__all__ = ["PROTOCOLS", "Protocol", "tasks"]

__getattr__ = names_in(__name__, {"protocols": ("PROTOCOLS", "Protocol", "tasks")})
