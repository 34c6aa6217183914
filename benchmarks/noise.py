"""Pictures of noise and a training selection of them, in memory: no dataset, no Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from bridge.common.images import encode
from bridge.training.data import TrainingData

OBJECTS = 24
IMAGES_EACH = 4
_COARSE = 8
"""Pixels between two random colours: detail as photos have it, for what decodes."""


def pictures(number: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth random colours under fine noise, uint8 [number, H, W, 3]."""
    rng = np.random.default_rng(seed)
    coarse = (max(2, size[0] // _COARSE), max(2, size[1] // _COARSE))
    made = np.empty((number, *size, 3), np.uint8)
    for picture in made:
        colours = Image.fromarray(rng.integers(0, 256, (*coarse, 3), np.uint8))
        smooth = np.asarray(colours.resize(size[::-1], Image.Resampling.BICUBIC), np.int16)
        picture[:] = (smooth + rng.integers(-8, 9, smooth.shape)).clip(0, 255)
    return made


def tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 [B, H, W, 3] as networks take it, [B, 3, H, W]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def encoded(number: int, size: tuple[int, int], seed: int = 0) -> list[bytes]:
    """The same as JPEG."""
    return [encode(picture) for picture in pictures(number, size, seed)]


class _Identifiers(list[str]):
    """Where labels have a column of Arrow."""

    def to_pylist(self) -> list[str]:
        return self


@dataclass(frozen=True)
class _Labels:
    """What training asks of `bridge.dataset.labels.Labels`."""

    objects: tuple[str, ...]
    object: np.ndarray
    blur_level: np.ndarray
    bbox: np.ndarray
    image_id: _Identifiers

    def __len__(self) -> int:
        return len(self.object)


def noise_data(size: tuple[int, int], seed: int = 0) -> TrainingData:
    """A selection of `OBJECTS` objects with pictures, and with labels of every blur level."""
    rng = np.random.default_rng(seed)
    number = OBJECTS * IMAGES_EACH
    levels = rng.integers(1, 7, number).astype(np.int32)
    labels = _Labels(
        objects=tuple(f"noise/{i:03d}" for i in range(OBJECTS)),
        object=np.repeat(np.arange(OBJECTS, dtype=np.int32), IMAGES_EACH),
        blur_level=levels,
        bbox=rng.uniform(0.2, 0.8, (number, 4)).astype(np.float32),
        image_id=_Identifiers(str(i) for i in range(number)),
    )
    visibility = (1 - (levels - 0.5) / 10).astype(np.float32)
    images = cast("Any", encoded(number, size, seed))
    return TrainingData(cast("Any", labels), images, visibility, levels.astype(np.float32))
