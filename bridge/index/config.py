"""What can be chosen of a search index and of a search in it, as data; nothing here needs FAISS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from annotated_types import Ge, Le

from bridge.common.record import NonNegative, WholeNumber, check

IndexType = Literal["exact", "ivfpq", "hnsw"]
INDEX_TYPES: tuple[IndexType, ...] = get_args(IndexType)

TOP = 20
"""Results of a search where nothing is said."""

RerankName = Literal["none", "aqe", "superglobal"]


@dataclass(frozen=True)
class AlphaQE:
    """Of alpha query expansion: the best results are added to the query, which searches again.

    `bridge.index.rerank.expanded_queries` says how.
    """

    title: ClassVar[str] = "alphaQE"

    neighbours: Annotated[int, Ge(0), Le(1000)] = 10
    """Best results that are added; 0 leaves the query as it is."""
    alpha: NonNegative = 3.0
    """Power of the similarity that a result is weighted by; 0 weights all alike."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SuperGlobal:
    """Of SuperGlobal re-ranking: the best results are put in a new order among themselves.

    `bridge.index.rerank.new_order` says how.
    """

    title: ClassVar[str] = "SuperGlobal"

    # The similarities of all pairs of them are held at once.
    candidates: Annotated[int, Ge(1), Le(4096)] = 400
    """Best results that are put in a new order; those behind them stay there."""
    nearest: WholeNumber = 9
    """Of these, the most similar ones to each that refine it; 0 leaves the order as it is."""
    beta: NonNegative = 0.15
    """Weight of each of them, times its similarity, beside 1 of the one that it refines."""

    def __post_init__(self) -> None:
        check(self)


Rerank = AlphaQE | SuperGlobal


def rerank_of(name: RerankName, aqe: AlphaQE, superglobal: SuperGlobal) -> Rerank | None:
    """The re-ranking of a name; None where there is to be none."""
    return {"none": None, "aqe": aqe, "superglobal": superglobal}[name]
