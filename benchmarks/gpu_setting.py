"""Where the sections of benchmarks/gpu.py run, and at what size."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from benchmarks.steps import new_model
from bridge.model.config import BridgeConfig, ModelConfig
from bridge.model.method import RetrievalModel
from bridge.training.presets import PRESETS, Preset, PresetName

Row = dict[str, Any]
"""One line of a section's figures."""

NETWORKS: tuple[PresetName, ...] = ("paper", "strong")


class NotDone(Exception):
    """A section cannot be done here, and why; that is no failure."""


@dataclass(frozen=True)
class Setting:
    """A device, and whether everything is of its real size or tiny, to try the program."""

    device: str
    tiny: bool = False
    seed: int = 0

    @property
    def on_gpu(self) -> bool:
        """Whether there is memory of its own to measure."""
        return self.device != "cpu"

    def preset(self, name: PresetName) -> Preset:
        """A network and its recipe."""
        preset = PRESETS["bridge"][name]
        if not self.tiny:
            return preset
        assert isinstance(preset.model, BridgeConfig)
        small = replace(
            preset.model,
            backbone="resnet18",
            image_size=(24, 32),
            cls_dim=16,
            aux_dim=8,
            aux_hidden=8,
            descriptor_dim=16,
            num_classes=24,
        )
        return Preset(small, replace(preset.recipe, batch_size=2))

    def synchronize(self) -> None:
        """Wait until the device has done its work."""
        if self.on_gpu:
            torch.cuda.synchronize()


def fresh(network: ModelConfig) -> RetrievalModel:
    """The network with its random first weights, which are worked out once."""
    return copy.deepcopy(_built(network))


@lru_cache(maxsize=8)
def _built(network: ModelConfig) -> RetrievalModel:
    return new_model(network)


@contextmanager
def own_memory(setting: Setting) -> Iterator[dict[str, float | None]]:
    """A block that starts with an empty device; `peak_memory_gb` of it is known at its end."""
    found: dict[str, float | None] = {"peak_memory_gb": None}
    torch.compiler.reset()
    gc.collect()
    if setting.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield found
    if setting.on_gpu:
        found["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9


@contextmanager
def float32(*, exact: bool) -> Iterator[None]:
    """Convolutions of float32 with all their digits, or in TF32, which is torch's default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = not exact
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
