"""What is searched: the options of `train.py` that trials differ in, and what each may be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.training.recipe import MAX_RANGE
from pipelines.stages.train_options import TrainConfig, absolute_weights, trainings
from pipelines.stages.train_overrides import option_paths, option_value, with_options
from tune.options import SHORT_EPOCHS, SHORT_TRIALS, SearchConfig

Value = int | float | str | bool

SET_BY_THE_SEARCH = ("epochs", "steps", "num_classes")
LOGARITHMIC = 10
"""From this factor between its ends on, a range is searched by logarithm."""


@dataclass(frozen=True)
class Values:
    """One of these."""

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; a `whole` one without fractions."""

    low: float
    high: float
    whole: bool = False

    @property
    def log(self) -> bool:
        """Whether the logarithm is what is divided evenly."""
        return 0 < self.low * LOGARITHMIC <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', by logarithm' if self.log else ''}"


Dimension = Values | Range
Dimensions = Mapping[str, Dimension]


def dimensions(config: SearchConfig) -> dict[str, Dimension]:
    """What is varied, by parameter; what has a single value is not.

    Raises:
        InputError: an option that there is not, is named twice or may not be what it is to be, or
            a range where every configuration is to be tried.
    """
    return {
        name: dimension
        for name, dimension in _all(config).items()
        if isinstance(dimension, Range) or len(dimension.values) > 1
    }


def base_training(config: SearchConfig, out: str) -> TrainConfig:
    """What all trials have in common; `out` is the folder of the search. Raises as `dimensions`."""
    preset = trainings("bridge")[config.varied]
    usual = preset.recipe.epochs if config.is_grid else SHORT_EPOCHS
    recipe = replace(preset.recipe, epochs=config.epochs or usual, seed=config.seed)
    base = replace(
        preset,
        data=storage.absolute(config.data),
        out=out,
        num_workers=config.workers_per_trial,
        weights=absolute_weights(config.weights),
        # The scheduler takes every report for a validation.
        checkpoint_every=0,
        validation_seed=config.seed,
        validation_objects=config.validation_objects,
        recipe=recipe,
    )
    return with_options(base, fixed(config), "--fix")


def fixed(config: SearchConfig) -> dict[str, Value]:
    """What all trials have in common beside the preset, by parameter. Raises as `dimensions`."""
    return {
        name: dimension.values[0]
        for name, dimension in _all(config).items()
        if isinstance(dimension, Values) and len(dimension.values) == 1
    }


def trial_config(base: TrainConfig, sampled: Mapping[str, Any]) -> TrainConfig:
    """The training of one trial: `base` with other options, on as many images."""
    config = with_options(base, sampled, "trial")
    images = config.recipe.tuple_size
    if images == base.recipe.tuple_size or config.recipe.steps:
        return config
    # An epoch has a tuple for every image, whatever its size.
    epochs = max(1, round(base.recipe.epochs * base.recipe.tuple_size / images))
    return replace(config, recipe=replace(config.recipe, epochs=epochs))


def grid(space: Dimensions) -> Iterator[dict[str, Value]]:
    """Every configuration; all those of the first seed come first."""
    names = sorted(space, key=lambda name: name != "seed")
    choices = [space[name] for name in names]
    values = [choice.values for choice in choices if isinstance(choice, Values)]
    for combination in itertools.product(*values):
        yield dict(zip(names, combination, strict=True))


def num_trials(config: SearchConfig, space: Dimensions) -> int:
    """How many configurations are tried."""
    every = sum(1 for _ in grid(space)) if config.is_grid else SHORT_TRIALS
    return min(every, config.num_trials or every) if config.is_grid else config.num_trials or every


def _all(config: SearchConfig) -> dict[str, Dimension]:
    base = trainings("bridge")[config.varied]
    found: dict[str, Dimension] = {}
    for name, values in (_usual(config) | _given(config)).items():
        is_range = len(values) == 2 and isinstance(option_value(base, name), float)
        ends = Range(float(values[0]), float(values[-1]))
        found[name] = ends if is_range else Values(tuple(values))
    for text in config.fix:
        name, value = _divided(text, "fix", "learning-rate=1e-4")
        _add(found, config, name, Values((_parsed(value),)))
    for text in config.open:
        name, value = _divided(text, "open", "batch-size=16,32 or ema-decay=0.9:0.999")
        _add(found, config, name, _dimension(base, name, value))
    for name, dimension in found.items():
        _check(config, base, name, dimension)
    return found


def _usual(config: SearchConfig) -> dict[str, tuple[Value, ...]]:
    if config.is_grid:
        return {"contrastive_range": (0, 1, 3, 5, 9), "seed": (0, 1, 2)}
    return {
        "contrastive_range": tuple(range(MAX_RANGE + 1)),
        "classification": (0.01, 1.0),
        "blur": (0.1, 10.0),
        "localisation": (1.0, 100.0),
    }


def _given(config: SearchConfig) -> dict[str, tuple[Value, ...]]:
    return {name: values for name, values in asdict(config.space).items() if values is not None}


def _divided(text: str, option: str, example: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise InputError(f"--{option} {text}: must be as in --{option} {example}.")
    return name.strip("-").replace("-", "_"), value


def _add(
    found: dict[str, Dimension], config: SearchConfig, name: str, dimension: Dimension
) -> None:
    usual = found.keys() & _usual(config).keys() - _given(config).keys()
    if name in found and name not in usual:
        raise InputError(f"{name.replace('_', '-')} is given twice.")
    found[name] = dimension


def _dimension(base: TrainConfig, name: str, text: str) -> Dimension:
    low, sign, high = text.partition(":")
    if not sign:
        return Values(tuple(_parsed(value) for value in text.split(",")))
    ends = [_parsed(low), _parsed(high)]
    if not all(type(end) in (int, float) for end in ends):
        raise InputError(f"--open {text}: the ends of a range must be numbers.")
    whole = name in option_paths(base) and type(option_value(base, name)) is int
    return Range(float(ends[0]), float(ends[1]), whole)


def _parsed(text: str) -> Value:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text


def _check(config: SearchConfig, base: TrainConfig, name: str, dimension: Dimension) -> None:
    option = name.replace("_", "-")
    if name in SET_BY_THE_SEARCH:
        raise InputError(f"{option} cannot be varied: the search sets it.")
    if isinstance(dimension, Range):
        if dimension.low >= dimension.high:
            raise InputError(f"{option}: a range goes from the lower to the higher end.")
        if config.is_grid:
            raise InputError(
                f"{option} is a range, and --preset range tries every value: name values, as in "
                f"--open {option}=A,B."
            )
        values: tuple[Value, ...] = tuple(map(_number(dimension), (dimension.low, dimension.high)))
    else:
        values = dimension.values
        if len(set(values)) < len(values):
            raise InputError(f"{option}: its values must differ.")
    for value in values:
        with_options(base, {name: value}, f"{option} {value}")


def _number(dimension: Range) -> type[int] | type[float]:
    return int if dimension.whole else float
