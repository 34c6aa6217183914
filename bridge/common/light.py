"""Display values to light and back, as sRGB has it (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np


def srgb_to_light(display: np.ndarray) -> np.ndarray:
    """Linear light in 0..1 of display values in 0..1."""
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def light_to_srgb(light: np.ndarray) -> np.ndarray:
    """Display values in 0..1 of linear light in 0..1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
