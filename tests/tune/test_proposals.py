from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from tests.tune.trials import measured
from tune.measured import Measured, pareto
from tune.options import SearchConfig, Space
from tune.proposals import Order, propose, study_of
from tune.records import Trial
from tune.space import dimensions

optuna.logging.set_verbosity(optuna.logging.WARNING)


def searched(config: SearchConfig, known: list[Measured], number: int) -> list[Measured]:
    """Continue with what is known, one trial after the other, to so many."""
    space = dimensions(config)
    while len(known) < number:
        proposal = propose(config, space, known)
        assert proposal is not None
        known = [*known, measured(len(known), 1 / (1 + proposal["blur"]), proposal)]
    return known


def test_a_continued_search_proposes_what_an_undisturbed_one_does() -> None:
    config = SearchConfig(seed=3)
    all_at_once = searched(config, [], 14)
    assert searched(config, all_at_once[:9], 14) == all_at_once
    assert len({str(one.trial.config) for one in all_at_once}) == 14
    other = searched(SearchConfig(seed=4), [], 1)
    assert other[0].trial.config != all_at_once[0].trial.config


def test_no_configuration_is_tried_twice() -> None:
    config = SearchConfig(
        space=Space(
            contrastive_range=(1, 3), classification=(0.1,), blur=(1.0,), localisation=(10.0,)
        )
    )
    space = dimensions(config)
    first = propose(config, space, [])
    assert first is not None
    running = measured(0, 0, first, "running")
    second = propose(config, space, [running])
    assert second is not None and {first["contrastive_range"], second["contrastive_range"]} == {
        1,
        3,
    }
    assert propose(config, space, [running, measured(1, 0.5, second)]) is None


def test_unfinished_trials_come_first() -> None:
    config = SearchConfig(preset="range", space=Space(contrastive_range=(1, 3), seed=(0,)))
    known = [
        Trial({"contrastive_range": 1}, 0, "finished", [(1, 0.5)]),
        Trial({"contrastive_range": 3}, 1, "failed"),
    ]
    order = Order(
        config, dimensions(config), known, lambda t: measured(t.number, 0, dict(t.config))
    )
    assert order.next(known) == known[1]
    assert order.next(known) is None


def test_optuna_is_told_how_trials_ended() -> None:
    config = SearchConfig(space=Space(classification=(0.1,), localisation=(10.0,)))
    space = dimensions(config)
    outcomes = ("finished", "stopped", "running", "diverged", "failed")
    trials = [
        measured(n, 0.5, {"contrastive_range": n, "blur": 1.0}, outcome)
        for n, outcome in enumerate(outcomes)
    ]
    found = study_of(config, space, trials).trials
    assert [trial.state for trial in found] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.RUNNING,
        TrialState.COMPLETE,
    ]
    # What diverged is worth nothing.
    assert (found[0].value, found[3].value) == (0.5, 0.0)


@pytest.mark.parametrize("second", ["map_blurred", "images_per_second"])
def test_two_objectives(second: str) -> None:
    config = SearchConfig(second_objective=second)  # type: ignore[arg-type]
    known = searched(config, [], 12)
    assert all(
        len(trial.values) == 2 for trial in study_of(config, dimensions(config), known).trials
    )
    slow, fast, worse = (
        measured(0, 0.9, {}, speed=1),
        measured(1, 0.5, {}, speed=3),
        measured(2, 0.4, {}, speed=2),
    )
    diverged = measured(3, 1.0, {}, "diverged", speed=9)
    front = pareto([worse, fast, slow, diverged], config.objectives)
    assert front == ([slow, fast] if second == "images_per_second" else [slow])
