"""The options of `evaluate.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.common.record import WholeNumber, check


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate."""

    index: str = "indexes/bridge"
    """The index to report on."""
    compare: tuple[str, ...] = ()
    """More indexes of the same images, shown beside it."""
    out: str = "reports/bridge"
    """Folder of the report."""
    title: str = "Retrieval robust to object motion blur"
    """Heading of the report."""
    galleries_per_level: WholeNumber = 2
    """Random queries of each blur level whose results are shown."""
    extreme_galleries: WholeNumber = 3
    """Best queries, worst queries and hardest distractors that are shown, of each so many."""
    seed: WholeNumber = 0
    """Of the random choices among queries."""
    trust_data: bool = False
    """Take shards as they are, without comparing them with the hashes in their manifest."""

    def __post_init__(self) -> None:
        check(self)
