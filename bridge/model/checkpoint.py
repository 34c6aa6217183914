"""MODEL folders: weights, their configuration and a model card; and `load` for any model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.model.config import BridgeConfig, ModelConfig
from bridge.model.device import usable
from bridge.model.export import CONFIG_KEY
from bridge.model.folder import (
    CONFIG_FILE,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
    described,
    is_file,
    read_config,
)
from bridge.model.method import RetrievalModel
from bridge.model.published import from_authors_state_dict
from bridge.model.registry import build_model, restore_config
from bridge.model.weights import load_exactly, parse_tensors, read_tensors, stored

FIRST_METHOD = "bridge"
"""Of folders that do not say which method they hold: there was no other one then."""


def save_model(
    model: RetrievalModel, folder: str | Path, extra: Mapping[str, Any] | None = None
) -> None:
    """Write a MODEL folder: `model.safetensors`, a model card, and last `config.json`.

    Each file appears whole. A folder whose writing was interrupted is refused by `load`, because
    the configuration holds the hash of the weights.

    Args:
        model: the network, on any device.
        folder: where to, local or on an object store.
        extra: further JSON values for `config.json`, e.g. what the model was trained on.

    Raises:
        ValueError: `extra` has a key that the configuration needs.
    """
    weights = safetensors.torch.save(stored(model))
    config = {
        "schema_version": SCHEMA_VERSION,
        **described(model.config),
        "weights_sha256": storage.sha256(weights),
    }
    if taken := sorted(config.keys() & (extra or {}).keys()):
        raise ValueError(f"The keys {taken} of a model's configuration are its own.")
    storage.write_bytes(storage.join(folder, WEIGHTS_FILE), weights)
    storage.write_bytes(storage.join(folder, "README.md"), _card(model, config).encode())
    storage.write_json(storage.join(folder, CONFIG_FILE), config | dict(extra or {}))


def load(path: str | Path, device: str | torch.device = "cpu") -> RetrievalModel:
    """Load a MODEL folder, or a file of weights, in evaluation mode.

    Args:
        path: the folder; a safetensors file of `export`; or a checkpoint of the paper's authors,
            whose `model_state` (or whole content) has the 74 tensors of the published model; those
            of its classifier may be absent.
        device: where to put the network.

    Raises:
        InputError: nothing is there, it is neither of the two, or its tensors are not those that
            its configuration asks for, or the device cannot be used.
    """
    device = usable(device)
    if is_file(path):
        model = _load_file(path)
    elif storage.exists(storage.join(path, CONFIG_FILE)):
        model = _load_folder(path)
    elif storage.exists(path):
        raise InputError(f"The folder {path} holds no model: {CONFIG_FILE} is missing.")
    else:
        raise InputError(f"There is no model at {path}.")
    return model.to(device).eval()


def _load_file(path: str | Path) -> RetrievalModel:
    tensors = read_tensors(path)
    text = _description(path) if str(path).endswith(".safetensors") else None
    if text is None:
        return from_authors_state_dict(tensors, str(path))
    with reading(path):
        values = json.loads(text)
        method, config = values["method"], values["model"]
        if not isinstance(method, str) or not isinstance(config, dict):
            raise ValueError("it does not say what its network is")
    return _restored(restore_config(method, config, str(path)), tensors, str(path), str(path))


def _restored(
    architecture: ModelConfig, tensors: Mapping[str, torch.Tensor], source: str, weights: str
) -> RetrievalModel:
    """A network with its weights; the files that they come from are named in what goes wrong."""
    # A crafted architecture can ask for more memory than there is, or for layers without a size.
    with reading(source):
        model = build_model(architecture)
    load_exactly(model, tensors, weights)
    return model


def _description(path: str | Path) -> str | None:
    """What the network of a safetensors file is, as JSON; None where the file does not say."""
    with storage.open_read(path) as file:
        # The header's length, and the header, which the reader of the tensors has checked.
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    found: str | None = header.get("__metadata__", {}).get(CONFIG_KEY)
    return found


def _load_folder(folder: str | Path) -> RetrievalModel:
    config = read_config(folder)
    tensors = read_weights(folder, config)
    source = f"The model {folder}"
    architecture = restore_config(config.get("method", FIRST_METHOD), config["model"], source)
    files = (storage.join(folder, name) for name in (CONFIG_FILE, WEIGHTS_FILE))
    return _restored(architecture, tensors, *files)


def read_weights(folder: str | Path, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a MODEL folder.

    Args:
        folder: where it is.
        config: what `read_config` says of it.

    Raises:
        InputError: they are missing, or not those that the configuration was written for.
    """
    path = storage.join(folder, WEIGHTS_FILE)
    if not storage.exists(path):
        raise InputError(f"The model {folder} is incomplete: {WEIGHTS_FILE} is missing.")
    weights = storage.read_bytes(path)
    if storage.sha256(weights) != config["weights_sha256"]:
        raise InputError(f"{path} is not the file that the model's {CONFIG_FILE} was written for.")
    return parse_tensors(weights, path)


def _card(model: RetrievalModel, config: Mapping[str, Any]) -> str:
    architecture = model.config
    height, width = architecture.image_size
    parameters = sum(p.numel() for p in model.parameters())
    heads = architecture.heads if isinstance(architecture, BridgeConfig) else ()
    rows = {
        "method": architecture.method,
        "backbone": f"{architecture.backbone} (normalisation layers: {architecture.norm})",
        "heads": ", ".join(heads),
        "input": f"RGB, resized to {height} x {width}",
        "parameters": f"{parameters:,}",
        "training objects": architecture.num_classes,
        "weights (SHA-256)": config["weights_sha256"],
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value != "")
    return f"""---
tags: [image-retrieval, motion-blur]
---
# Descriptor model: {architecture.method}

Maps an RGB image, which may show an object blurred by its motion, to a descriptor of
{architecture.descriptor_dim} numbers and length 1. Descriptors of images of the same object, sharp
or blurred, have a large dot product.
{architecture.origin}

| | |
|---|---|
{table}

```python
import bridge

model = bridge.load("path/to/this/folder")
descriptors = model.embed(images)  # uint8 [B, 3, H, W] -> float32 [B, d]
```

`config.json` says what the model was trained on, where its maker recorded it.
"""
