"""Deblurring before retrieval, by classical means: one straight motion for the whole picture.

The motion is found as by Yitzhaky and Kopeika ("Identification of blur parameters from motion
blurred images", 1997): a picture changes least along it, and the derivative along it is least like
itself at a shift by its length. What it blurred is restored by Richardson and Lucy's iterations.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import torch

from bridge.common.errors import InputError

DIRECTIONS = 12
"""That are told apart, from 0 to 180 degrees."""
SHORTEST, LONGEST = 3, 1 / 4
"""Pixels below which there is no motion, and the largest share of the width that is looked at."""
ITERATIONS = 5
"""Of Richardson and Lucy; more of them restore the noise too."""
_DARKEST = 1e-3


def require_deblurring() -> ModuleType:
    """The library that restores; InputError where it is not installed."""
    try:
        from skimage import restoration
    except ImportError as error:
        raise InputError(
            "Deblurring needs scikit-image: python -m pip install 'bridge-retrieval[deblur]'."
        ) from error
    return restoration  # type: ignore[no-any-return]


def deblurred(images: torch.Tensor) -> torch.Tensor:
    """Each picture restored by itself: float32 [B, 3, H, W] in 0..1 to the same."""
    pictures = images.detach().cpu().numpy()
    return torch.from_numpy(np.stack([_deblurred(p) for p in pictures])).to(images.device)


def motion(picture: np.ndarray) -> tuple[float, int]:
    """The straight motion that a grey picture shows.

    Args:
        picture: float [H, W].

    Returns:
        Its angle in radians, 0..pi, from the x-axis towards the y-axis, and its length in pixels.
    """
    # Not above: a network that does not deblur needs no SciPy.
    from scipy.ndimage import gaussian_filter, rotate

    down, right = np.gradient(gaussian_filter(picture, 0.5))
    angles = np.arange(DIRECTIONS) * math.pi / DIRECTIONS
    changes = [np.abs(math.cos(a) * right + math.sin(a) * down).mean() for a in angles]
    angle = float(angles[np.argmin(changes)])
    along = rotate(picture, math.degrees(angle), reshape=False, order=1, mode="reflect")
    derivative = np.diff(along, axis=1)
    derivative -= derivative.mean(axis=1, keepdims=True)
    width = derivative.shape[1]
    power = np.abs(np.fft.rfft(derivative, 2 * width, axis=1)) ** 2
    likeness = np.fft.irfft(power.mean(axis=0))[: max(SHORTEST, int(LONGEST * width))]
    return angle, 2 + int(np.argmin(likeness[2:]))


def trace(angle: float, length: float) -> np.ndarray:
    """What a motion makes of a point: float64 [n, n] with the sum 1, n odd."""
    middle = math.ceil(length / 2)
    points = np.linspace(-length / 2, length / 2, 8 * math.ceil(length) + 1)
    places = middle + points[:, None] * np.array([math.sin(angle), math.cos(angle)])
    low = np.floor(places).astype(int)
    share = places - low
    kernel = np.zeros((2 * middle + 2, 2 * middle + 2))
    for y in (0, 1):
        for x in (0, 1):
            weights = np.abs(1 - y - share[:, 0]) * np.abs(1 - x - share[:, 1])
            np.add.at(kernel, (low[:, 0] + y, low[:, 1] + x), weights)
    return kernel[:-1, :-1] / kernel[:-1, :-1].sum()


def _deblurred(picture: np.ndarray) -> np.ndarray:
    """float32 [3, H, W] to the same."""
    angle, length = motion(picture.mean(axis=0, dtype=np.float64))
    if length < SHORTEST:
        return picture
    kernel = trace(angle, length)
    # What lies outside is taken for a mirror image, so that edges do not ring.
    edge = len(kernel)
    restored = np.empty_like(picture)
    for channel, values in enumerate(picture.astype(np.float64)):
        padded = np.pad(values, edge, mode="symmetric").clip(_DARKEST, 1)
        sharp = require_deblurring().richardson_lucy(padded, kernel, num_iter=ITERATIONS)
        restored[channel] = sharp[edge:-edge, edge:-edge].clip(0, 1)
    return restored
