"""Named tensors from files, and into networks, with nothing missing and nothing left over."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from bridge.common import storage
from bridge.common.errors import InputError


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict; nothing that is read can run code.

    Args:
        path: a safetensors file, or what `torch.save` wrote: a state dict, or a checkpoint that
            holds one under `model_state`. Local or on an object store.

    Raises:
        InputError: the file is missing or holds no named tensors.
    """
    try:
        data = storage.read_bytes(path)
    except OSError as error:
        raise InputError(f"The weights file {path} cannot be read: it is missing.") from error
    return parse_tensors(data, str(path))


def parse_tensors(data: bytes, source: str) -> dict[str, torch.Tensor]:
    """`read_tensors` on the content of a file; `source` is its name."""
    try:
        if source.endswith(".safetensors"):
            return safetensors.torch.load(data)
        content = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    # Damaged or foreign files fail in as many ways as there are bytes.
    except Exception as error:
        raise InputError(f"{source} is not a file of weights.") from error
    state = content.get("model_state", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise InputError(f"{source} holds no named tensors.")
    if not all(isinstance(v, torch.Tensor) and isinstance(k, str) for k, v in state.items()):
        raise InputError(f"{source} is not a state dict: it holds more than named tensors.")
    return dict(state)


def stored(module: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of a network as safetensors takes it."""
    return {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}


def load_exactly(module: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Load a state dict whose names and shapes must be those of `module`.

    Raises:
        InputError: tensors are missing, unexpected or of another shape; `module` is unchanged.
    """
    expected = module.state_dict()
    # Older files lack this counter, and nothing here reads it.
    missing = [k for k in expected if k not in tensors and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in tensors if k not in expected]
    other_shape = [
        f"{k} is {list(v.shape)} instead of {list(expected[k].shape)}"
        for k, v in tensors.items()
        if k in expected and v.shape != expected[k].shape
    ]
    problems = [
        f"{len(names)} {what} (first: {names[0]})"
        for names, what in (
            (missing, "missing"),
            (unexpected, "unexpected"),
            (other_shape, "of another shape"),
        )
        if names
    ]
    if problems:
        raise InputError(f"The tensors of {source} do not fit the network: {', '.join(problems)}.")
    module.load_state_dict(dict(tensors), strict=False)


def pair_in_order(
    tensors: Mapping[str, torch.Tensor], names: Sequence[str], source: str
) -> dict[str, torch.Tensor]:
    """Rename tensors to `names`, position by position.

    For files of another implementation of the same network. Shapes are left to `load_exactly`.

    Raises:
        InputError: the numbers differ, or a pair differs in its last word (weight, bias, ...).
    """
    same = len(tensors) == len(names) and all(
        theirs.rpartition(".")[2] == ours.rpartition(".")[2]
        for theirs, ours in zip(tensors, names, strict=True)
    )
    if not same:
        raise InputError(f"The tensors of {source} are not those of this network in its order.")
    return dict(zip(names, tensors.values(), strict=True))
