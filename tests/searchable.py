"""A small real index for tests of searching: drawn pictures and an untrained network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from bridge.index.folder import PartRecord
from bridge.model.checkpoint import save_model
from bridge.model.config import BridgeConfig
from bridge.model.embedding import Precision
from bridge.model.network import Bridge
from pipelines import build_index
from pipelines.build_index import BuildIndexConfig
from pipelines.stages import index_parts
from pipelines.stages.embedding import Embedder, EmbedOptions
from pipelines.stages.embedding_plan import Part
from tests.factories import make_dataset, picture


def make_model(folder: Path, seed: int = 0) -> None:
    """Write a small untrained network whose descriptors lie apart by much more than rounding.

    Those of random weights are all but equal, and their order is that of their last bits. Here
    the norms keep the differences between pictures, and what pictures have in common is taken off.
    """
    torch.manual_seed(seed)
    size = (24, 32)
    config = BridgeConfig(
        "resnet18", size, norm="folded", cls_dim=16, aux_dim=8, aux_hidden=8, num_classes=0
    )
    model = Bridge(config).eval()
    pictures = [picture(n, n % 6, size, np.random.default_rng(n)) for n in range(32)]
    fused: list[torch.Tensor] = []
    hook = model.fuse.register_forward_hook(lambda *call: fused.append(call[2]))
    model.embed(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))
    hook.remove()
    with torch.no_grad():
        model.fuse.bias -= fused[0].mean(dim=0)
    save_model(model, folder)


def embed_here(parts: Sequence[Part], out: str, options: EmbedOptions) -> Iterator[PartRecord]:
    """The same as `embed_parts`, by an `Embedder` in this process: actors take seconds to start."""
    if parts:
        embedder = Embedder(out, options, threads=1)
        yield from map(embedder, parts)


@contextmanager
def without_actors() -> Iterator[None]:
    """Within it, `build_index` embeds in this process."""
    with patch.object(index_parts, "embed_parts", embed_here):
        yield


@without_actors()
def make_index(
    folder: Path, size: tuple[int, int] = (24, 32), precision: Precision = "float32"
) -> Path:
    """Write `data`, `distractors`, `model` and `index` under a folder; returns that of the index.

    Needs a connected cluster. There are four objects and three distractors.

    Args:
        folder: where.
        size: (H, W) of the images.
        precision: in which the network computes.
    """
    make_dataset(folder / "data", {"test": 4}, size=size)
    make_dataset(folder / "distractors", {"distractor": 3}, trajectories=6, first=100, size=size)
    make_model(folder / "model")
    build_index.run(
        BuildIndexConfig(
            model=str(folder / "model"),
            data=str(folder / "data"),
            distractors=str(folder / "distractors"),
            out=str(folder / "index"),
            precision=precision,
        )
    )
    return folder / "index"
