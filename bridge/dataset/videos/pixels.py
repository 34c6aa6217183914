"""Frames to light and back, and to the size of the images."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bridge.common.light import light_to_srgb, srgb_to_light
from bridge.dataset.videos.config import Response

_GAMMA = 2.2


def light_table(response: Response) -> np.ndarray:
    """The light in 0..1, float32 [256], that each display value stands for."""
    display = np.arange(256) / 255
    if response == "srgb":
        return srgb_to_light(display).astype(np.float32)
    return (display**_GAMMA if response == "gamma2.2" else display).astype(np.float32)


def to_display(light: np.ndarray, response: Response) -> np.ndarray:
    """Display values, uint8, of light in 0..1."""
    light = np.clip(light, 0, 1)
    if response == "srgb":
        light = light_to_srgb(light)
    elif response == "gamma2.2":
        light = light ** (1 / _GAMMA)
    return np.rint(light * 255).astype(np.uint8)


def middle(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest part in the middle of a frame [H, W, ...] that has the proportions of (h, w)."""
    height, width = frame.shape[:2]
    rows = min(height, max(1, round(width * size[0] / size[1])))
    columns = min(width, max(1, round(height * size[1] / size[0])))
    top, left = (height - rows) // 2, (width - columns) // 2
    return frame[top : top + rows, left : left + columns]


def resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 or float32 [H, W, 3] at the size (h, w); shrinking averages over all pixels."""
    if frame.shape[:2] == size:
        return frame
    wanted = (size[1], size[0])
    if frame.dtype == np.uint8:
        return np.asarray(Image.fromarray(frame).resize(wanted, Image.Resampling.BILINEAR))
    # Pillow resizes floats of one channel alone.
    channels = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(frame[..., channel])).resize(
                wanted, Image.Resampling.BILINEAR
            )
        )
        for channel in range(frame.shape[2])
    ]
    return np.stack(channels, axis=2)
