"""The evaluation protocols of the paper (Sec. 5): which rows of an INDEX each of them compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bridge.dataset.roles import DATABASE, DATABASE_PER_LEVEL, DISTRACTOR, QUERY
from bridge.dataset.schema import REAL_SPLIT, TEST_SPLIT
from bridge.evaluation.reranked import expanded, reordered
from bridge.index.config import AlphaQE, Rerank
from bridge.index.folder import Descriptors
from bridge.metrics import (
    K_BY_PROTOCOL,
    UNLABELLED,
    PerLevelResult,
    RetrievalResult,
    evaluate_by_database_blur_level,
    evaluate_retrieval,
)

Result = RetrievalResult | PerLevelResult


@dataclass(frozen=True)
class Protocol:
    """Queries of one split against the rows of some roles, as a whole or level by level."""

    name: str
    split: str
    roles: tuple[str, ...]
    by_database_level: bool = False

    @property
    def k(self) -> int | None:
        """Cut-off of mAP@k; None for the whole ranking."""
        return K_BY_PROTOCOL[self.name]


PROTOCOLS = (
    Protocol("mixed", TEST_SPLIT, (DATABASE,)),
    Protocol("mixed_with_distractors", TEST_SPLIT, (DATABASE, DISTRACTOR)),
    Protocol("per_level", TEST_SPLIT, (DATABASE_PER_LEVEL,), by_database_level=True),
    Protocol(
        "per_level_with_distractors",
        TEST_SPLIT,
        (DATABASE_PER_LEVEL, DISTRACTOR),
        by_database_level=True,
    ),
    Protocol("real", REAL_SPLIT, (DATABASE,)),
)
"""In the paper: Table 2 (left) and Table 5; Table 2 (right) and Table 6; Table 1 of the supplement;
Table 4 and Table 2 of the supplement; Table 3."""


@dataclass(frozen=True)
class Task:
    """One protocol's input: descriptors float32 [Q, d] and [N, d], labels and blur levels int."""

    protocol: Protocol
    queries: np.ndarray
    database: np.ndarray
    query_labels: np.ndarray
    database_labels: np.ndarray
    query_levels: np.ndarray
    database_levels: np.ndarray

    def __len__(self) -> int:
        return len(self.queries)

    def evaluate(
        self, block: slice = slice(None), *, rerank: Rerank | None = None, device: str = "cpu"
    ) -> Result:
        """The result of the queries in a block; blocks are put together by `merge_results`.

        A re-ranking looks at the database that a query is searched in: level by level at the rows
        of one level.
        """
        if isinstance(rerank, AlphaQE):
            return self._evaluate_expanded(block, rerank, device)
        function: Callable[..., Result] = evaluate_retrieval
        # Nothing is said by level where the level of a query is unknown.
        known = self.query_levels[block] if self.query_levels.all() else None
        levels = {"query_blur_levels": known}
        if self.protocol.by_database_level:
            function = evaluate_by_database_blur_level
            levels["database_blur_levels"] = self.database_levels
        return function(
            self.queries[block],
            self.database,
            self.query_labels[block],
            self.database_labels,
            k=self.protocol.k,
            reranking=None if rerank is None else reordered(self.database, rerank),
            device=device,
            **levels,
        )

    def _evaluate_expanded(self, block: slice, rerank: AlphaQE, device: str) -> Result:
        if self.protocol.by_database_level:
            alone = {
                int(level): self._of_level(level).evaluate(block, rerank=rerank, device=device)
                for level in np.unique(self.database_levels)
            }
            return PerLevelResult(alone)  # type: ignore[arg-type]
        queries = self.queries.copy()
        queries[block] = expanded(queries[block], self.database, rerank, device=device)
        return replace(self, queries=queries).evaluate(block, device=device)

    def _of_level(self, level: int) -> Task:
        """The same queries against the database rows of one level."""
        rows = self.database_levels == level
        return replace(
            self,
            protocol=replace(self.protocol, by_database_level=False),
            database=self.database[rows],
            database_labels=self.database_labels[rows],
            database_levels=self.database_levels[rows],
        )


def tasks(rows: Descriptors) -> Iterator[Task]:
    """The protocols that an index has queries, a database and, where wanted, distractors for."""
    for protocol in PROTOCOLS:
        queries = rows.only(QUERY, split=protocol.split)
        database = rows.only(*protocol.roles, split=protocol.split)
        if protocol.by_database_level:
            database = database.take(database.blur_levels > 0)
        if len(queries) and set(np.unique(database.roles)) == set(protocol.roles):
            yield _task(protocol, queries, database)


def _task(protocol: Protocol, queries: Descriptors, database: Descriptors) -> Task:
    names = pa.array(np.unique(queries.object_ids))
    labels = pc.index_in(pa.array(database.object_ids), names).fill_null(UNLABELLED)
    return Task(
        protocol,
        queries.descriptors,
        database.descriptors,
        pc.index_in(pa.array(queries.object_ids), names).to_numpy(),
        np.where(database.roles == DISTRACTOR, UNLABELLED, labels.to_numpy()),
        queries.blur_levels,
        database.blur_levels,
    )
