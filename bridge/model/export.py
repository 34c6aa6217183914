"""A network for other programs: ONNX, TorchScript, the authors' checkpoint, one safetensors file.

What is exported to ONNX and TorchScript maps `images`, float32 [B, 3, H, W] with values in 0..1 in
RGB at the size that the network has, to `descriptor`, float32 [B, d] of length 1, and to
`visibility` [B] and `box` [B, 4] where the method predicts them. B is free, H and W are not:
resizing (bilinear, antialiased) is left to the program.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from bridge.common.errors import Failed, InputError
from bridge.model.config import ExportFormat
from bridge.model.folder import described
from bridge.model.method import RetrievalModel
from bridge.model.network import Bridge
from bridge.model.published import authors_state_dict
from bridge.model.weights import stored

TOLERANCE = 1e-4
"""Between the numbers of a descriptor here and in what was exported."""
CONFIG_KEY = "bridge_retrieval"
"""Of the metadata of a safetensors file: what the network is, as JSON."""
_CHECKED_BATCHES = (1, 3)


class Described(nn.Module):
    """What a network says of images, as a plain function of them."""

    def __init__(self, model: RetrievalModel) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
        # Only training uses it.
        self.model.classifier = None
        self.names = ("descriptor", *sorted(model.config.predictions, reverse=True))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """float32 [B, 3, H, W] to the outputs in the order of `names`."""
        output = self.model(images)
        values = {"descriptor": F.normalize(output.descriptor)}
        values |= {name: getattr(output, name) for name in self.names[1:]}
        return tuple(values[name] for name in self.names)


def exported(model: RetrievalModel, kind: ExportFormat) -> bytes:
    """The content of the file.

    Raises:
        InputError: the network has no such form, or what makes it is not installed.
        Failed: what was made computes something else.
    """
    if kind == "authors":
        return _authors(model)
    if kind == "safetensors":
        return _safetensors(model)
    return _onnx(model) if kind == "onnx" else _torchscript(model)


def _authors(model: RetrievalModel) -> bytes:
    """As their test script reads it: the weights under `model_state`."""
    if not isinstance(model, Bridge):
        raise InputError(f"The authors' checkpoint holds BRIDGE, not {model.config.method}.")
    state = {name: value.detach().cpu() for name, value in authors_state_dict(model).items()}
    buffer = io.BytesIO()
    torch.save({"epoch": 0, "cur_step": 0, "model_state": state}, buffer)
    return buffer.getvalue()


def _safetensors(model: RetrievalModel) -> bytes:
    return safetensors.torch.save(stored(model), {CONFIG_KEY: json.dumps(described(model.config))})


def _example(model: RetrievalModel, images: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(images)
    return torch.rand(images, 3, *model.config.image_size, generator=generator)


@torch.no_grad()
def _torchscript(model: RetrievalModel) -> bytes:
    network = Described(model)
    with warnings.catch_warnings():
        # It is deprecated, and what many servers and phones read all the same.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, _example(model, 2), check_trace=False)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        for images in _CHECKED_BATCHES:
            example = _example(model, images)
            _compare(network(example), [value.numpy() for value in traced(example)])
    return buffer.getvalue()


@torch.no_grad()
def _onnx(model: RetrievalModel) -> bytes:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            "The format onnx needs ONNX: python -m pip install 'bridge-retrieval[onnx]'."
        ) from error
    network = Described(model)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            network,
            (_example(model, 2),),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=list(network.names),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        )
    content: bytes = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for images in _CHECKED_BATCHES:
        example = _example(model, images)
        _compare(network(example), session.run(None, {"images": example.numpy()}))
    return content


def _compare(ours: tuple[torch.Tensor, ...], theirs: list[np.ndarray]) -> None:
    """Failed where what was exported gives other numbers, or other shapes."""
    for mine, other in zip(ours, theirs, strict=True):
        expected = mine.numpy()
        if expected.shape != other.shape or not np.abs(expected - other).max() <= TOLERANCE:
            raise Failed(
                "What was exported computes something else than the network: nothing is written."
            )
