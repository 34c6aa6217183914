"""The methods of retrieval by name: what a MODEL folder, `create_model` and `--method` can name.

A new method is a configuration in `config`, a network that is a `RetrievalModel`, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bridge.common.errors import InputError
from bridge.common.record import from_json
from bridge.model.baselines.config import (
    DelgConfig,
    DolgConfig,
    HistogramConfig,
    PretrainedConfig,
    TokenConfig,
)
from bridge.model.baselines.delg import Delg
from bridge.model.baselines.dolg import Dolg
from bridge.model.baselines.token import Token
from bridge.model.baselines.untrained import Histogram, Pretrained
from bridge.model.config import BridgeConfig, ModelConfig
from bridge.model.method import RetrievalModel
from bridge.model.network import Bridge


@dataclass(frozen=True)
class Method:
    """A configuration, and the network that is built from one and the encoder's weights."""

    config: type[ModelConfig]
    network: Callable[[Any, str], RetrievalModel]


METHODS: dict[str, Method] = {
    "bridge": Method(BridgeConfig, Bridge),
    "delg": Method(DelgConfig, Delg),
    "dolg": Method(DolgConfig, Dolg),
    "token": Method(TokenConfig, Token),
    "pretrained": Method(PretrainedConfig, Pretrained),
    "histogram": Method(HistogramConfig, Histogram),
}


def find_method(name: str) -> Method:
    """InputError for a method that there is not."""
    if name not in METHODS:
        raise InputError(f"`method` must be one of {', '.join(METHODS)}, not {name!r}.")
    return METHODS[name]


def build_model(config: ModelConfig, weights: str = "none") -> RetrievalModel:
    """The network of a configuration; `weights` of its encoder as in `build_backbone`.

    Raises:
        InputError: as `build_backbone` does.
    """
    return find_method(config.method).network(config, weights)


def create_model(
    method: str = "bridge", *, num_classes: int = 0, weights: str = "none", **options: Any
) -> RetrievalModel:
    """Build a network for retrieval.

    model = bridge.create_model("bridge", backbone="resnet18", image_size=(120, 160))

    Args:
        method: a name in `METHODS`.
        num_classes: training objects that its classifier tells apart; 0 leaves it out.
        weights: of the encoder: "none", "imagenet" or a file.
        options: others of the method's configuration (`backbone`, `image_size`, `descriptor_dim`
            and so on); the paper's where they are not given.

    Raises:
        InputError: no such method, an option that it does not have or that is out of its range,
            or weights that cannot be had.
    """
    kind = find_method(method).config
    _refuse_unknown(kind, options, f"The method {method}")
    return build_model(kind(num_classes=num_classes, **options), weights)


def restore_config(method: str, values: Mapping[str, Any], source: str) -> ModelConfig:
    """The configuration that a MODEL folder recorded.

    Raises:
        InputError: names `source`, and what in it is unknown or wrong.
    """
    if method not in METHODS:
        raise InputError(
            f"{source} holds the method {method!r}, which this software does not know."
        )
    kind = METHODS[method].config
    _refuse_unknown(kind, values, source)
    return from_json(kind, dict(values), source)


def _refuse_unknown(kind: type[ModelConfig], values: Mapping[str, Any], source: str) -> None:
    if unknown := sorted(values.keys() - {field.name for field in fields(kind)}):
        raise InputError(f"{source} has no options {', '.join(map(repr, unknown))}.")
