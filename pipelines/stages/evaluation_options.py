"""The options of `evaluate.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field

import tyro

from bridge.common.record import WholeNumber, check
from bridge.common.watch_options import LogOptions
from bridge.index.config import AlphaQE, Rerank, RerankName, SuperGlobal, rerank_of


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
    rerank: tuple[RerankName, ...] = ("none",)
    """Evaluate the same searches re-ranked too, in rows of their own: they use the database."""
    aqe: AlphaQE = field(default_factory=AlphaQE)
    """Of alpha query expansion."""
    superglobal: SuperGlobal = field(default_factory=SuperGlobal)
    """Of SuperGlobal re-ranking."""
    galleries_per_level: WholeNumber = 2
    """Random queries of each blur level whose results are shown."""
    extreme_galleries: WholeNumber = 3
    """Best queries, worst queries and hardest distractors that are shown, of each so many."""
    seed: WholeNumber = 0
    """Of the random choices among queries."""
    trust_data: bool = False
    """Take shards as they are, without comparing them with the hashes in their manifest."""
    watch: tyro.conf.OmitArgPrefixes[LogOptions] = field(default_factory=LogOptions)

    def __post_init__(self) -> None:
        check(self)

    @property
    def reranks(self) -> list[Rerank]:
        """The re-rankings that were asked for, each once."""
        found = [rerank_of(name, self.aqe, self.superglobal) for name in dict.fromkeys(self.rerank)]
        return [rerank for rerank in found if rerank is not None]
