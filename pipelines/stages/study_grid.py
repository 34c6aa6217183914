"""What a study compares, declared: methods with their options, seeds, and equal image passes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

import yaml
from annotated_types import MinLen

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import Count, Positive, WholeNumber, check, from_json
from bridge.model.baselines.config import HistogramConfig, PretrainedConfig
from bridge.model.config import ModelConfig, UntrainedName
from bridge.training.presets import PRESETS, PresetName
from pipelines.stages.train_options import TrainConfig, trainings
from pipelines.stages.train_overrides import option_paths, with_options

TableNumber = Literal["2", "5", "6"]
Seeds = Annotated[tuple[WholeNumber, ...], MinLen(1)]

SET_BY_THE_STUDY = ("seed", "steps", "epochs", "num_classes")
"""Options of train.py that follow from the study's seeds, passes and data."""
_UNTRAINED: dict[UntrainedName, type[ModelConfig]] = {
    "pretrained": PretrainedConfig,
    "histogram": HistogramConfig,
}
METHODS = (*PRESETS, *_UNTRAINED)


@dataclass(frozen=True)
class Configuration:
    """A method with its options, under the name that tables call it by."""

    name: str
    method: str = "bridge"
    preset: PresetName = "quick"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of train.py by parameter: {"norm": "folded", "learning_rate": 0.001}."""
    weights: str = "imagenet"
    """Initial backbone: imagenet, none, or a file of weights."""
    share: Positive = 1.0
    """Of the study's image passes."""
    seeds: Seeds | None = None
    """Default: the study's."""
    rows: Mapping[TableNumber, str] | None = None
    """What it is called in which of the paper's tables; default: its name in Table 2. Table 4 has
    the rows of Table 2."""

    def __post_init__(self) -> None:
        check(self)
        if self.method not in METHODS:
            raise InputError(f"`method` must be one of {', '.join(METHODS)}, not {self.method!r}.")
        if not _slug(self.name):
            raise InputError("`name` must have a letter or a digit.")

    @property
    def is_trained(self) -> bool:
        """Whether there is something to train."""
        return self.method in PRESETS

    @property
    def tables(self) -> dict[str, str]:
        """Its row's name by the number of the table."""
        return {"2": self.name} if self.rows is None else {n: row for n, row in self.rows.items()}

    def training(self) -> TrainConfig:
        """The training, but for what the study sets.

        Raises:
            InputError: an option that there is not, or that is out of its range.
        """
        base = trainings(self.method)[self.preset]  # type: ignore[arg-type]
        self._refuse_unknown(option_paths(base))
        return with_options(replace(base, weights=self.weights), self.options, self.name)

    def untrained(self) -> ModelConfig:
        """The network of a method that is not trained. Raises as `training`."""
        kind = _UNTRAINED[self.method]  # type: ignore[index]
        shape = PRESETS["bridge"][self.preset].model
        sizes = {"backbone": shape.backbone, "image_size": list(shape.image_size)}
        if self.method == "histogram":
            del sizes["backbone"]
        self._refuse_unknown([option.name for option in fields(kind)])
        return from_json(kind, sizes | dict(self.options), self.name)

    def _refuse_unknown(self, known: Mapping[str, str] | Sequence[str]) -> None:
        for name in self.options:
            if name in SET_BY_THE_STUDY:
                raise InputError(f"{self.name}: options: {name} is set by the study.")
            if name not in known:
                raise InputError(f"{self.name}: options: {self.method} has no option {name!r}.")


@dataclass(frozen=True)
class Grid:
    """A study, declared."""

    title: str
    passes: Count
    """Images that each training sees, with repetition."""
    seeds: Seeds
    reference: str
    """The configuration from which the others' differences are told."""
    configurations: Annotated[tuple[Configuration, ...], MinLen(1)]

    def __post_init__(self) -> None:
        check(self)
        names = Counter(_slug(configuration.name) for configuration in self.configurations)
        if twice := [name for name, count in names.items() if count > 1]:
            raise InputError(f"Two configurations are called {twice[0]!r}.")
        self.find(self.reference)
        for configuration in self.configurations:
            if configuration.is_trained:
                configuration.training()
            else:
                configuration.untrained()

    def find(self, name: str) -> Configuration:
        """InputError for a configuration that there is not."""
        for configuration in self.configurations:
            if configuration.name == name:
                return configuration
        names = ", ".join(configuration.name for configuration in self.configurations)
        raise InputError(f"There is no configuration {name!r}, only {names}.")

    def runs(self) -> list[tuple[Configuration, int]]:
        """Every configuration with each of its seeds; all of the first seed come first.

        What is not trained is the same for every seed and has one run.
        """
        pairs = []
        for place, configuration in enumerate(self.configurations):
            seeds = configuration.seeds or self.seeds
            for turn, seed in enumerate(seeds if configuration.is_trained else seeds[:1]):
                pairs.append((turn, place, configuration, seed))
        pairs.sort(key=lambda pair: pair[:2])
        return [(configuration, seed) for _, _, configuration, seed in pairs]


def run_name(configuration: Configuration, seed: int) -> str:
    """Name of a run's folder."""
    return f"{_slug(configuration.name)}-{seed}"


def read_grid(path: str) -> Grid:
    """The study that a YAML file declares.

    Raises:
        InputError: it is missing, is not YAML, has other fields or values out of their range.
    """
    try:
        value = yaml.safe_load(storage.read_bytes(storage.absolute(path)))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    # Deep nesting runs into Python's own limit, as with JSON.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML: {_first_line(error)}.") from error
    _refuse_fields(Grid, value, path)
    configurations = value.get("configurations")
    for number, entry in enumerate(configurations if isinstance(configurations, list) else ()):
        _refuse_fields(Configuration, entry, f"{path}: configurations.{number}")
    try:
        return from_json(Grid, value, path)
    # YAML has values, such as dates, that are not JSON.
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, InputError) else InputError(f"{path}: {error}.") from error


def _refuse_fields(kind: Any, value: Any, source: str) -> None:
    known = [option.name for option in fields(kind)]
    if not isinstance(value, dict):
        raise InputError(f"{source}: must be a mapping with the fields {', '.join(known)}.")
    if unknown := [name for name in value if name not in known]:
        raise InputError(f"{source}: there is no field {unknown[0]!r}, only {', '.join(known)}.")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
