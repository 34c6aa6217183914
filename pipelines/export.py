"""Hand a MODEL on to other programs: ONNX, TorchScript, the authors' checkpoint, safetensors.

    python pipelines/export.py --model runs/bridge/model --format onnx --out bridge.onnx
    python pipelines/export.py --model best.pkl --format safetensors      # best.safetensors

ONNX and TorchScript take `images`, float32 [B, 3, H, W] in 0..1, RGB, at the network's own size,
and give `descriptor` [B, d] of length 1 (and `visibility` and `box`, where the method predicts
them). What was exported is run on random images and compared before it is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.record import check
from bridge.model.config import ExportFormat

SUFFIXES: dict[ExportFormat, str] = {
    "onnx": ".onnx",
    "torchscript": ".pt",
    "authors": ".pkl",
    "safetensors": ".safetensors",
}


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and as what."""

    model: str = "runs/bridge/model"
    """A MODEL folder, or a file of weights that `bridge.load` takes."""
    format: ExportFormat = "onnx"
    """onnx: for ONNX Runtime and others; torchscript: for PyTorch without this software; authors:
    the published code's checkpoint (the paper's architecture alone); safetensors: one file that
    `bridge.load` takes again."""
    out: str | None = None
    """The file; default: named after the model, in this folder."""

    def __post_init__(self) -> None:
        check(self)


def run(config: ExportConfig) -> str:
    """Write the file; returns its path.

    Raises:
        InputError: there is no such model, it has no such form, or the file cannot be written.
    """
    from bridge.model.folder import is_file

    model = storage.absolute(config.model)
    suffix = SUFFIXES[config.format]
    out = storage.prepare_file(config.out or _name(config.model) + suffix)
    if out == model and is_file(model):
        raise InputError(f"{config.model} would be overwritten: give another `out`.")
    from bridge.model.checkpoint import load
    from bridge.model.export import exported

    network = load(model)
    content = exported(network, config.format)
    storage.write_bytes(out, content)
    height, width = network.config.image_size
    print(
        f"{config.out or Path(out).name}: {network.config.method}, {config.format}, images of "
        f"{height}x{width}, {network.config.descriptor_dim} numbers, {len(content) / 1e6:.1f} MB"
    )
    return out


def _name(model: str) -> str:
    """runs/bridge/model is called bridge, best.pkl is called best."""
    path = Path(model.rstrip("/"))
    return (path.parent.name if path.name == "model" else path.stem) or "model"


def main() -> None:
    """The command."""
    cli.main(run, ExportConfig, description=__doc__)


if __name__ == "__main__":
    main()
