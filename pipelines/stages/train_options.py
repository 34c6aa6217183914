"""The options of `train.py`: their defaults, their ranges, and what identifies a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import tyro
from annotated_types import Ge

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import Count, NonNegative, Positive, WholeNumber, check
from bridge.common.watch_options import WatchOptions
from bridge.model.config import PAPER, ModelConfig, TrainedName
from bridge.training.presets import PRESETS, PresetName
from bridge.training.recipe import Compute, Recipe
from bridge.training.tracking import TrackerName

DEFAULT_DATA = "data/synthetic"


@dataclass(frozen=True)
class TrainConfig:
    """What to train, how and where.

    Raises:
        InputError: an option out of its range.
    """

    preset: PresetName = "quick"
    """paper: the paper's training. strong: a better recipe for the same network. quick: a small
    pretrained network at 60x80 pixels, for two cores. Default: paper where the cluster has GPUs,
    quick elsewhere."""
    method: TrainedName = "bridge"
    """The method to train; each has options of its own, which --help shows after --method."""
    config: str | None = None
    """A JSON file of options, such as the best.json of tune/search.py: the defaults of all that
    the command line leaves out."""
    data: str = DEFAULT_DATA
    """The dataset; the default one is synthesised where it does not exist yet."""
    out: str = "runs/bridge"
    """Folder of the run, on storage that all nodes share."""
    num_workers: int | str | None = None
    """Training processes: a number, or MIN:MAX to train with as many as the cluster has room for.
    Default: one per GPU, or one."""
    cpus_per_worker: Positive | None = None
    """At most so many CPUs for each worker; default: an equal share of the cluster's, up to 16."""
    use_gpu: bool | None = None
    """Whether each worker has a GPU; default: where the cluster has any."""
    weights: str = "imagenet"
    """Initial backbone: imagenet, none, or a file of weights."""
    validation_seed: WholeNumber | None = None
    """Of the choice of validation images; default: the seed of the training."""
    validation_objects: WholeNumber = 0
    """Validate on so many of the validation objects; 0: all."""
    checkpoint_every: WholeNumber = 500
    """Steps between checkpoints, besides those at each validation; 0: none."""
    resize_interval: NonNegative = 60.0
    """Seconds between looks for room for more workers of an elastic run."""
    max_failures: Annotated[int, Ge(-1)] = 3
    """Worker failures to recover from before giving up."""
    track: TrackerName = "none"
    """Report metrics to MLflow or Weights & Biases too."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    trust_data: bool = False
    """Take shards as they are, without comparing them with the hashes in their manifest."""
    dry_run: bool = False
    """Only print what would be trained and what it would cost."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)
    # Options of groups keep their plain names: --epochs, not --recipe.epochs.
    model: tyro.conf.OmitArgPrefixes[ModelConfig] = PAPER
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=Recipe)
    compute: tyro.conf.OmitArgPrefixes[Compute] = field(default_factory=Compute)

    def __post_init__(self) -> None:
        check(self)
        inside_driver = self.num_workers is not None and worker_range(self.num_workers)[1] == 0
        if inside_driver and storage.is_uri(self.out):
            raise InputError(
                "--num-workers 0 keeps its checkpoints in a local folder: change --out."
            )
        if self.model.method != self.method:
            raise InputError(f"The options are those of {self.model.method}, not {self.method}.")

    def identity(self) -> dict[str, Any]:
        """The options that decide the trained weights, as JSON."""
        options = {name: value for name, value in asdict(self).items() if name not in _INCIDENTAL}
        options |= {"data": storage.absolute(self.data), "weights": absolute_weights(self.weights)}
        options |= {"precision": self.compute.precision}
        # Runs of before these options are still continued.
        for name, usual in (("validation_seed", None), ("validation_objects", 0)):
            if options[name] == usual:
                del options[name]
        if self.weights not in ("imagenet", "none") and storage.exists(options["weights"]):
            options["weights_sha256"] = storage.sha256_file(options["weights"])
        return _named(options)


_INCIDENTAL = {
    "config",
    "out",
    "num_workers",
    "cpus_per_worker",
    "use_gpu",
    "checkpoint_every",
    "resize_interval",
    "max_failures",
    "track",
    "num_cpus",
    "dry_run",
    "trust_data",
    "compute",
    "watch",
}
"""Options that may differ between the parts of one run."""


def trainings(method: TrainedName) -> dict[str, TrainConfig]:
    """The presets of a method, by name, with all other options at their defaults.

    A run goes to the folder of its method.

    Raises:
        InputError: there is no such method.
    """
    if method not in PRESETS:
        raise InputError(f"`method` must be one of {', '.join(PRESETS)}, not {method!r}.")
    return {
        name: TrainConfig(
            preset=name,
            method=method,
            out=f"runs/{method}",
            model=preset.model,
            recipe=preset.recipe,
        )
        for name, preset in PRESETS[method].items()
    }


def worker_range(num_workers: int | str) -> tuple[int, int]:
    """Fewest and most workers of `--num-workers`; 0 is training inside the driver."""
    match = re.fullmatch(r"(\d+)(?::(\d+))?", str(num_workers))
    if match is None:
        raise InputError(f"--num-workers must be a number or MIN:MAX, not {num_workers}.")
    low, high = int(match[1]), int(match[2] or match[1])
    if match[2] and not 1 <= low <= high:
        raise InputError(
            f"--num-workers {num_workers}: MIN must be at least 1 and at most MAX, as in 2:8."
        )
    return low, high


def absolute_weights(weights: str) -> str:
    """`--weights` independent of the working directory, which differs between nodes."""
    return weights if weights in ("imagenet", "none") else storage.absolute(weights)


def _named(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options of nested groups side by side, under names that say the group: recipe.loss.blur."""
    named: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            named |= _named(value, f"{prefix}{name}.")
        else:
            named[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return named
