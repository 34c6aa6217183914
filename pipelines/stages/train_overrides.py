"""Options of `train.py` from elsewhere than its command line: files, studies and searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.common import storage
from bridge.common.cli import options_of
from bridge.common.errors import InputError
from bridge.common.record import check, from_json, read_record, to_json
from bridge.model.config import TrainedName
from bridge.training.presets import PresetName
from pipelines.stages.train_options import TrainConfig, trainings


@dataclass(frozen=True)
class OptionsFile:
    """What `--config` names: a training as a preset of a method and what differs from it."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Options by parameter: {"contrastive_range": 3, "learning_rate": 0.001}."""
    method: TrainedName = "bridge"
    preset: PresetName | None = None
    """Default: that of `train.py`."""

    def __post_init__(self) -> None:
        check(self)


def option_paths(base: TrainConfig) -> dict[str, str]:
    """Where the options of network and recipe are, by parameter: "recipe.loss.blur"."""
    return {
        path.rpartition(".")[2]: path
        for path in options_of(TrainConfig, base).values()
        if path.startswith(("model.", "recipe."))
    }


def option_value(base: TrainConfig, name: str) -> Any:
    """What an option of network or recipe is in a training."""
    value: Any = base
    for part in option_paths(base)[name].split("."):
        value = getattr(value, part)
    return value


def with_options(base: TrainConfig, options: Mapping[str, Any], source: str) -> TrainConfig:
    """A training with some options of its network and recipe set, given by parameter.

    Raises:
        InputError: names `source` and an option that there is not, or that is out of its range.
    """
    paths = option_paths(base)
    values = {"model": to_json(base.model), "recipe": to_json(base.recipe)}
    for name, value in options.items():
        if name not in paths:
            raise InputError(f"{source}: {base.method} has no option {name!r}.")
        _set(values, paths[name].split("."), value)
    return replace(
        base,
        model=from_json(type(base.model), values["model"], source),
        recipe=from_json(type(base.recipe), values["recipe"], source),
    )


def trainings_of(
    method: TrainedName | None, path: str
) -> tuple[dict[str, TrainConfig], str | None]:
    """The presets of a method with the options in a file, and the preset that it names.

    Args:
        method: None: the file's.
        path: of an `OptionsFile`, such as the best.json of a search.

    Raises:
        InputError: it is missing or damaged, or has an option that there is not.
    """
    file = read_record(OptionsFile, storage.absolute(path))
    presets = trainings(method or file.method)
    changed = {name: with_options(base, file.config, path) for name, base in presets.items()}
    return changed, file.preset


def _set(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        values = values[name]
    values[path[-1]] = value
