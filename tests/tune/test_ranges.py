from __future__ import annotations

import pytest

from tests.tune.trials import measured
from tune.ranges import by_range, verdict


def test_seeds_of_a_range_are_averaged_and_their_spread_told() -> None:
    trials = [
        measured(n, score, {"contrastive_range": r, "seed": seed})
        for n, (r, seed, score) in enumerate([(1, 0, 0.5), (1, 1, 0.52), (5, 0, 0.6), (5, 1, 0.6)])
    ]
    trials.append(measured(9, 0.9, {"contrastive_range": 5, "seed": 2}, "stopped"))
    small, large = by_range(trials, 0, repeated=True)
    assert (small.name, large.name) == ("1 (S)", "5 (L)")
    assert small.mean == pytest.approx(51) and large.mean == pytest.approx(60)
    assert small.error == pytest.approx(2**0.5) and small.by_level[5][0] == pytest.approx(51)
    assert "rises by 9.00 points" in verdict([small, large])
    assert "standard deviation of 1.00 points" in verdict([small, large])


def test_of_other_trials_the_best_stands_for_its_range() -> None:
    trials = [measured(0, 0.5, {"blur": 1.0}), measured(1, 0.7, {"blur": 2.0})]
    (only,) = by_range(trials, 4, repeated=False)
    assert (only.r, only.mean, only.error) == (4, pytest.approx(70), pytest.approx(1))
    assert "cannot be told" in verdict([only])
