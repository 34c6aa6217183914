"""The options of `study.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro
from annotated_types import MinLen

from bridge.common.errors import InputError
from bridge.common.record import Count, WholeNumber, check
from bridge.common.watch_options import WatchOptions
from pipelines.stages.train_options import DEFAULT_DATA

StudyPreset = Literal["quick", "paper", "recipes"]


@dataclass(frozen=True)
class StudyConfig:
    """What to compare, on what, and how much of it at a time.

    Raises:
        InputError: an option out of its range, or two that exclude each other.
    """

    preset: StudyPreset = "quick"
    """quick: all methods and ablations with the networks of train.py's preset quick, for two cores.
    paper: the same at full size, for GPUs. recipes: the strong recipe without each of its parts."""
    grid: str | None = None
    """A YAML file that declares the study, in place of a preset (docs/study.md)."""
    data: str = DEFAULT_DATA
    """The dataset; the default one is synthesised where it does not exist yet."""
    distractors: str | None = None
    """A dataset of distractors, for Table 2 (right), Table 4 and Table 6."""
    out: str = "studies/quick"
    """Folder of the study, on storage that all nodes share."""
    passes: Count | None = None
    """Images that each training sees, with repetition; default: as many as the grid says."""
    seeds: Annotated[tuple[WholeNumber, ...], MinLen(1)] | None = None
    """Seeds of every training; default: those of the grid."""
    only: tuple[str, ...] = ()
    """Names of the configurations to run; default: all of the grid."""
    weights: str | None = None
    """Initial backbones: imagenet, none, or a file of weights; default: as the grid says."""
    num_workers: WholeNumber = 1
    """Training processes of a run; 0: it trains inside this command."""
    concurrent_runs: Count | None = None
    """Runs at a time; default: one for each GPU, or without GPUs for every 16 CPUs."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    trust_data: bool = False
    """Take shards as they are, without comparing them with the hashes in their manifest."""
    dry_run: bool = False
    """Only print the runs and what they would cost."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        check(self)
        if not self.num_workers and (self.concurrent_runs or 1) > 1:
            raise InputError(
                "--num-workers 0 trains one run at a time: leave out --concurrent-runs."
            )
