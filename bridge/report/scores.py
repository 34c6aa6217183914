"""mAP as tables and plots show it, in percent, of an evaluation here or of the paper alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.metrics import PerLevelResult, RetrievalResult

PAPER_DENOMINATOR = "retrieved"


@dataclass(frozen=True)
class Scores:
    """mAP in percent over all queries and over those of each blur level that has queries."""

    overall: float
    by_query_level: Mapping[int, float]


@dataclass(frozen=True)
class Grid:
    """Scores by the one blur level that the database consists of (paper, Table 4)."""

    rows: Mapping[int, Scores]

    @property
    def cells(self) -> NDArray[np.float64]:
        """Percent [database levels, query levels], both ascending; NaN for levels without queries.

        The column All is left out.
        """
        levels = query_levels(self.rows)
        return np.array(
            [
                [row.by_query_level.get(level, np.nan) for level in levels]
                for _, row in sorted(self.rows.items())
            ]
        )

    @property
    def range(self) -> float:
        """Highest minus lowest cell in percent; lower is more robust to motion blur."""
        return float(np.nanmax(self.cells) - np.nanmin(self.cells))

    @property
    def std(self) -> float:
        """Population standard deviation of the cells in percent."""
        return float(np.nanstd(self.cells))

    @property
    def overall(self) -> float:
        """Mean of the column All in percent."""
        return float(np.mean([row.overall for row in self.rows.values()]))


def query_levels(rows: Mapping[int, Scores]) -> list[int]:
    """Query blur levels of any row, ascending."""
    return sorted(set().union(*(row.by_query_level for row in rows.values())))


def scores_of(
    result: RetrievalResult | PerLevelResult, denominator: str = PAPER_DENOMINATOR
) -> Scores:
    """What was measured, under the named denominator of average precision."""
    return Scores(
        100 * result.map[denominator],
        {
            level: 100 * by_denominator[denominator]
            for level, by_denominator in sorted(result.map_by_query_blur_level.items())
        },
    )


def grid_of(result: PerLevelResult, denominator: str = PAPER_DENOMINATOR) -> Grid:
    """What was measured one database blur level at a time, under the named denominator."""
    return Grid(
        {
            level: scores_of(alone, denominator)
            for level, alone in sorted(result.by_database_blur_level.items())
        }
    )
