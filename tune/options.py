"""The options of `search.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from annotated_types import MinLen

from bridge.common import storage
from bridge.common.record import Count, WholeNumber, check
from bridge.training.presets import PresetName
from bridge.training.recipe import ContrastiveRange
from pipelines.stages.train_options import DEFAULT_DATA


@dataclass(frozen=True)
class SearchConfig:
    """What to search, with how much."""

    preset: PresetName = "quick"
    """The training that is varied."""
    data: str = DEFAULT_DATA
    """The dataset; the default one is synthesised where it does not exist yet."""
    out: str = "runs/search"
    """Folder of the search, on storage that all nodes share."""
    num_trials: Count = 4
    """Configurations to try."""
    epochs: Count = 2
    """Epochs of a trial that is not stopped early."""
    ranges: Annotated[tuple[ContrastiveRange, ...], MinLen(1)] = (1, 3, 5)
    """Contrastive ranges to choose from: the paper's S, M and L."""
    workers_per_trial: Count = 1
    """Training processes of one trial."""
    concurrent_trials: Count | None = None
    """Trials at a time; default: as many as the GPUs allow, or one."""
    weights: str = "imagenet"
    """Initial backbone: imagenet, none, or a file of weights."""
    seed: WholeNumber = 0
    """Of the proposals and of every trial."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""

    def __post_init__(self) -> None:
        check(self)

    def identity(self) -> dict[str, Any]:
        """The options that decide the trials, as JSON."""
        ignored = {"out", "concurrent_trials", "workers_per_trial", "num_cpus"}
        options = {name: value for name, value in asdict(self).items() if name not in ignored}
        return options | {"data": storage.absolute(self.data), "ranges": list(self.ranges)}
