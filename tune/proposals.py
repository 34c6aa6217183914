"""What is tried next: unfinished trials first, then every configuration or Optuna's proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from bridge.common.chance import rng_for
from tune.measured import Measured
from tune.options import SearchConfig
from tune.records import Trial, trial_folder
from tune.space import Dimension, Dimensions, Range, grid

TRIES = 50
"""Draws for a configuration that was not tried before; with none the space is taken as used up."""


def distribution(dimension: Dimension) -> BaseDistribution:
    """What Optuna draws from; whole numbers without a gap have their order."""
    if isinstance(dimension, Range):
        if dimension.whole:
            return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    values = dimension.values
    if all(type(value) is int for value in values):
        low, high = int(min(values)), int(max(values))
        if sorted(values) == list(range(low, high + 1)):  # type: ignore[type-var]
            return IntDistribution(low, high)
    return CategoricalDistribution(values)


def study_of(
    config: SearchConfig,
    space: Dimensions,
    measured: Sequence[Measured],
    **settings: Any,
) -> optuna.Study:
    """Optuna's view of the trials that have come to something, and of those that run."""
    study = optuna.create_study(
        directions=["maximize"] * len(config.objectives), study_name="search", **settings
    )
    distributions = {name: distribution(dimension) for name, dimension in space.items()}
    for one in measured:
        if trial := _frozen(config, distributions, one):
            study.add_trial(trial)
    return study


def _frozen(
    config: SearchConfig, distributions: Mapping[str, BaseDistribution], one: Measured
) -> FrozenTrial | None:
    """A trial as Optuna knows it; None where it says nothing."""
    values = [one.value(objective) for objective in config.objectives]
    single = len(values) == 1
    curve = dict(one.trial.scores) if single and config.objectives[0] == "map" else {}
    state = TrialState.COMPLETE
    if one.trial.outcome == "running":
        state, curve = TrialState.RUNNING, {}
    elif one.trial.outcome == "stopped" and single and curve:
        # Seen for less long than others; with several objectives Optuna cannot tell.
        state = TrialState.PRUNED
    elif one.trial.outcome == "failed" or None in values:
        return None
    return create_trial(
        state=state,
        values=None if state != TrialState.COMPLETE else values,
        params=dict(one.trial.config),
        distributions=dict(distributions),
        intermediate_values=curve,
        user_attrs={"outcome": one.trial.outcome, "number": one.trial.number},
    )


def propose(
    config: SearchConfig, space: Dimensions, measured: Sequence[Measured]
) -> dict[str, Any] | None:
    """A configuration that was not tried before; None where there is none left.

    What it is follows from the seed and the trials before it alone.
    """
    tried = {trial_folder("", one.trial.config) for one in measured}
    for proposal in grid(space) if config.is_grid else _draws(config, space, measured):
        if trial_folder("", proposal) not in tried:
            return proposal
    return None


def _draws(
    config: SearchConfig, space: Dimensions, measured: Sequence[Measured]
) -> Iterator[dict[str, Any]]:
    distributions = {name: distribution(dimension) for name, dimension in space.items()}
    for attempt in range(TRIES):
        seed = int(rng_for(config.seed, "proposal", len(measured), attempt).integers(1 << 31))
        # What runs at the same time counts as bad, so that not all try the same.
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        study = study_of(config, space, measured, sampler=sampler)
        yield study.ask(fixed_distributions=distributions).params


class Order:
    """The order in which the trials of a search are begun."""

    def __init__(
        self,
        config: SearchConfig,
        space: Dimensions,
        known: Sequence[Trial],
        measure: Callable[[Trial], Measured],
    ) -> None:
        """
        Args:
            config: the options.
            space: what is varied.
            known: trials of an earlier search in the folder.
            measure: gives the numbers of a trial.
        """
        self._config, self._space, self._measure = config, space, measure
        self._unfinished = [trial for trial in known if not trial.is_done]
        self._next = 1 + max((trial.number for trial in known), default=-1)

    def next(self, known: Sequence[Trial]) -> Trial | None:
        """The next one, where those known have come so far; None where there are no more."""
        if self._unfinished:
            return self._unfinished.pop(0)
        config = propose(self._config, self._space, [self._measure(trial) for trial in known])
        if config is None:
            return None
        self._next += 1
        return Trial(config, self._next - 1)
