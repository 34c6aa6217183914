"""mAP against the contrastive range: what each r came to, over trials that saw all images."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from tune.measured import Measured

MARKED = {1: "S", 3: "M", 5: "L"}
"""The paper's ranges."""
RANGE = "contrastive_range"


@dataclass(frozen=True)
class AtRange:
    """The trials of one r; numbers are in percent.

    `error` is the standard deviation over repeated seeds, or of a single trial the bootstrap
    standard error over objects; None where neither is known.
    """

    r: int
    trials: tuple[Measured, ...]
    mean: float
    error: float | None
    by_level: dict[int, tuple[float, float | None]]

    @property
    def name(self) -> str:
        """r, with the paper's name for it."""
        return f"{self.r} ({MARKED[self.r]})" if self.r in MARKED else str(self.r)


def by_range(measured: Sequence[Measured], default: int, *, repeated: bool) -> list[AtRange]:
    """What each r came to, ascending.

    Args:
        measured: the trials; those that did not see all images do not count.
        default: r where it is not varied.
        repeated: trials of one r differ in their seeds alone and are averaged; otherwise the best
            one stands for its r.
    """
    groups: dict[int, list[Measured]] = defaultdict(list)
    for one in measured:
        if one.trial.outcome == "finished" and one.trial.score is not None:
            groups[int(one.trial.config.get(RANGE, default))].append(one)
    return [_at_range(r, trials, repeated) for r, trials in sorted(groups.items())]


def _at_range(r: int, trials: Sequence[Measured], repeated: bool) -> AtRange:
    scores = [100 * (one.trial.score or 0) for one in trials]
    if not repeated:
        trials = [trials[scores.index(max(scores))]]
        scores = [max(scores)]
    single = trials[0].standard_error
    levels = sorted({level for one in trials for level in one.by_level})
    return AtRange(
        r,
        tuple(trials),
        fmean(scores),
        stdev(scores) if len(scores) > 1 else (None if single is None else 100 * single),
        {
            level: _mean_and_spread(
                [100 * t.by_level[level] for t in trials if level in t.by_level]
            )
            for level in levels
        },
    )


def _mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    return fmean(values), stdev(values) if len(values) > 1 else None


def verdict(found: Sequence[AtRange]) -> str:
    """How large the effect of r is beside the spread of repeated trainings, in a sentence."""
    repeated = [one.error for one in found if len(one.trials) > 1 and one.error is not None]
    if len(found) < 2 or not repeated:
        return (
            "How much r matters cannot be told from these trials: it takes several values of r and "
            "several seeds of each (--preset range)."
        )
    best, worst = (pick(found, key=lambda one: one.mean) for pick in (max, min))
    spread = math.sqrt(fmean(error**2 for error in repeated))
    return (
        f"From the worst r ({worst.name}) to the best ({best.name}) mAP rises by "
        f"{best.mean - worst.mean:.2f} points; trainings that differ in their seed alone have a "
        f"standard deviation of {spread:.2f} points."
    )
