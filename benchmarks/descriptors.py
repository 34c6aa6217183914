"""Random rows that look like descriptors: images scattered around their object.

Their spectrum falls off as that of a trained network's, so that some 20 directions, none of them
an axis, hold most of the variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IMAGES_PER_OBJECT = 50
NOISE = 0.5
"""Scatter of the images of an object, as a share of that of the objects."""
DECAY = 10.0
"""Directions over which the variance falls to 1/e."""
ROWS_PER_PART = 2**16


def like_descriptors(
    rows: int,
    dimension: int,
    seed: int,
    objects: NDArray[np.int64] | None = None,
    noise: float = NOISE,
) -> NDArray[np.float32]:
    """Unit vectors float32 [rows, dimension] of images of random objects, or of those given."""
    rng = np.random.default_rng(seed)
    scale = np.exp(-np.arange(dimension) / (2 * DECAY))
    rotation, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    stretch = (scale[:, None] * rotation).astype(np.float32)
    number = max(1, rows // IMAGES_PER_OBJECT) if objects is None else int(objects.max()) + 1
    centres = rng.standard_normal((number, dimension), np.float32)
    made = centres[rng.integers(number, size=rows) if objects is None else objects]
    for start in range(0, rows, ROWS_PER_PART):
        part = made[start : start + ROWS_PER_PART]
        part += np.float32(noise) * rng.standard_normal(part.shape, np.float32)
        part[:] = part @ stretch
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made
