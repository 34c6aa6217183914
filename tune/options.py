"""The options of `search.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

import tyro
from annotated_types import MinLen

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import Count, NonNegative, Positive, WholeNumber, check, to_json
from bridge.common.watch_options import WatchOptions
from bridge.training.presets import PresetName
from bridge.training.recipe import ContrastiveRange
from pipelines.stages.train_options import DEFAULT_DATA

Objective = Literal["map", "map_blurred", "images_per_second"]
Numbers = Annotated[tuple[NonNegative, ...], MinLen(1)]
SHORT_EPOCHS, SHORT_TRIALS = 2, 4


@dataclass(frozen=True)
class Space:
    """What is varied. One value fixes an option; of a number that is no count, two are the ends of
    a range, evenly divided by logarithm from a factor of 10 on; else they are what is chosen from.
    """

    contrastive_range: Annotated[tuple[ContrastiveRange, ...], MinLen(1)] | None = None
    """r; the paper's S, M and L are 1, 3 and 5. Default: 0 to 9, or 0 1 3 5 9 with --preset range.
    """
    classification: Numbers | None = None
    """alpha_cls. Default: 0.01 1, or the training's with --preset range."""
    blur: Numbers | None = None
    """alpha_be. Default: 0.1 10, or the training's with --preset range."""
    localisation: Numbers | None = None
    """alpha_loc. Default: 1 100, or the training's with --preset range."""
    margin: Numbers | None = None
    """tau of the contrastive loss. Default: the training's."""
    arcface_margin: Numbers | None = None
    """m of the classifier. Default: the training's."""
    arcface_scale: Annotated[tuple[Positive, ...], MinLen(1)] | None = None
    """gamma of the classifier. Default: the training's."""
    num_positives: Annotated[tuple[WholeNumber, ...], MinLen(1)] | None = None
    """N_p. Default: the training's."""
    num_negatives: Annotated[tuple[WholeNumber, ...], MinLen(1)] | None = None
    """N_n. Default: the training's."""
    learning_rate: Annotated[tuple[Positive, ...], MinLen(1)] | None = None
    """Of Adam. Default: the training's."""
    seed: Annotated[tuple[WholeNumber, ...], MinLen(1)] | None = None
    """Seeds of the trainings. Default: --seed, or 0 1 2 with --preset range."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SearchConfig:
    """What to search, with how much.

    Raises:
        InputError: an option out of its range, or two that exclude each other.
    """

    preset: Literal["quick", "strong", "paper", "range"] = "quick"
    """quick, strong, paper: the training of train.py that is varied, by Optuna and ASHA. range:
    the paper's sweep over r, every value with every seed and none stopped early."""
    training: PresetName | None = None
    """The training that --preset range varies; default: quick."""
    data: str = DEFAULT_DATA
    """The dataset; the default one is synthesised where it does not exist yet."""
    out: str = "runs/search"
    """Folder of the search, on storage that all nodes share."""
    num_trials: Count | None = None
    """Configurations to try, those of before included; default: 4, or all of --preset range."""
    epochs: Count | None = None
    """Epochs of a trial that is not stopped early; default: 2, or with --preset range those of the
    training. All trials see as many images."""
    space: Space = field(default_factory=Space)
    """What is varied."""
    fix: tuple[str, ...] = ()
    """Any other options of train.py for all trials: --fix pairs=tuple flip=0."""
    open: tuple[str, ...] = ()
    """Any other options of train.py to vary: --open batch-size=16,32 ema-decay=0.99:0.999."""
    second_objective: Literal["map_blurred", "images_per_second"] | None = None
    """Beside validation mAP@500 of all blur levels: map_blurred, the mean of levels 5 and 6, or the
    speed of training. Trials are still stopped by, and best is still, the first."""
    workers_per_trial: Count = 1
    """Training processes of one trial."""
    concurrent_trials: Count | None = None
    """At most so many trials at a time; default: as many as the cluster has room for."""
    validation_objects: WholeNumber = 100
    """Validation objects that trials are compared by, the same for all; 0: all there are."""
    weights: str = "imagenet"
    """Initial backbone: imagenet, none, or a file of weights."""
    seed: WholeNumber = 0
    """Of the proposals, of the validation images and, unless it is varied, of every trial."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    live: bool = False
    """Print the table of all trials whenever one ends."""
    report: str | None = None
    """Only draw the report of this folder again, from what lies there."""
    dry_run: bool = False
    """Only print the trials, and what they would cost."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        check(self)
        if self.training is not None and not self.is_grid:
            raise InputError("--training is that of --preset range: leave one of them out.")

    @property
    def is_grid(self) -> bool:
        """Whether every configuration is tried rather than proposed ones."""
        return self.preset == "range"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """One or two; more is better in both."""
        return ("map", self.second_objective) if self.second_objective else ("map",)

    @property
    def varied(self) -> PresetName:
        """The training that is varied."""
        return (self.training or "quick") if self.preset == "range" else self.preset

    def recorded(self) -> Any:
        """What `search.json` holds."""
        kept = replace(self, data=storage.absolute(self.data), watch=WatchOptions())
        return to_json(replace(kept, report=None, live=False, dry_run=False))

    def identity(self) -> dict[str, Any]:
        """The options that decide the trials, as JSON."""
        kept = ("preset", "epochs", "weights", "seed", "validation_objects")
        options = {name: value for name, value in asdict(self).items() if name in kept}
        return options | {
            "training": self.varied,
            "data": storage.absolute(self.data),
            "objectives": list(self.objectives),
            "fix": sorted(self.fix),
            "open": sorted(self.open),
            "space": {n: list(v) for n, v in asdict(self.space).items() if v is not None},
        }
