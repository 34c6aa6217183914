"""Tests of bridge/report/scores.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bridge.metrics import PerLevelResult
from bridge.report.scores import Grid, Scores, grid_of, query_levels


@pytest.mark.parametrize("denominator", ["retrieved", "all"])
def test_a_grid_is_the_results_cells_in_percent(
    evaluate_per_level: Callable[..., PerLevelResult], denominator: str
) -> None:
    result = evaluate_per_level(1.0, k=5)
    grid = grid_of(result, denominator)
    assert grid.cells == pytest.approx(100 * result.cells(denominator))
    width, deviation = result.spread(denominator)
    assert (grid.range, grid.std) == pytest.approx((100 * width, 100 * deviation))
    assert grid.overall == pytest.approx(100 * result.map[denominator])


def test_levels_without_queries_leave_holes() -> None:
    grid = Grid({2: Scores(4.0, {3: 4.0}), 1: Scores(2.0, {1: 1.0, 3: 3.0})})
    assert query_levels(grid.rows) == [1, 3]
    assert np.array_equal(grid.cells, [[1, 3], [np.nan, 4]], equal_nan=True)
    assert (grid.range, grid.overall) == (3, 3)
    assert grid.std == pytest.approx(np.std([1, 3, 4]))
