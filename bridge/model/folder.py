"""What a MODEL folder says of itself; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import from_json, read_record, to_json
from bridge.model.config import ModelConfig

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class _Config:
    """What is always in a model's configuration."""

    model: dict[str, Any]
    weights_sha256: str
    method: str = ""


def described(config: ModelConfig) -> dict[str, Any]:
    """What a network is, as JSON that `bridge.model.registry.restore_config` takes."""
    return {"method": config.method, "model": to_json(config)}


def read_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of a MODEL folder, with what `save_model` was given as `extra`.

    Raises:
        InputError: it is missing or is not that of a model.
    """
    path = storage.join(folder, CONFIG_FILE)
    config = read_record(dict[str, Any], path)
    if config.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"The model {folder} was written by another version of this software.")
    from_json(_Config, config, path)
    return config


def model_sha256(path: str | Path) -> str:
    """The hash by which an index names its model: of a MODEL folder's weights, or of a whole file.

    Raises:
        InputError: there is neither a MODEL folder nor a file.
    """
    if is_file(path):
        return storage.sha256_file(path)
    return str(read_config(path)["weights_sha256"])


def is_file(path: str | Path) -> bool:
    """Whether there is a file rather than a folder or nothing."""
    # A folder has no size.
    return storage.file_size(path) is not None
