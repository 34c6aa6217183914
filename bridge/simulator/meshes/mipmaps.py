"""Textures with their halved versions, one after the other in one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

MAX_TEXTURE_SIDE = 1024
OPAQUE_FROM = 128
"""A texel with less alpha is a hole in its surface."""


def pack_textures(textures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Textures, uint8 [h, w, 3 or 4], as the `texels` and `mips` of a `Mesh`.

    Textures with a side of more than 1024 texels are reduced to that. Texels that are wholly
    transparent get the colour of what surrounds them, so that none of it bleeds over an edge.
    """
    chains = [_halvings(texture) for texture in textures]
    levels = max((len(chain) for chain in chains), default=1)
    mips = np.zeros((len(chains), levels, 3), np.int64)
    first = 0
    for chain, rows in zip(chains, mips, strict=True):
        for level, image in enumerate(chain):
            rows[level:] = first, image.shape[0], image.shape[1]
            first += image.shape[0] * image.shape[1]
    texels = np.full((first, 4), 255, np.uint8)
    for chain, rows in zip(chains, mips, strict=True):
        for (start, height, width), image in zip(rows, chain, strict=False):
            texels[start : start + height * width, : image.shape[2]] = image.reshape(
                height * width, -1
            )
    return texels, mips


def has_holes(texture: np.ndarray | None) -> bool:
    """Whether any texel is transparent enough to be a hole."""
    if texture is None or texture.shape[2] < 4:
        return False
    return bool((texture[..., 3] < OPAQUE_FROM).any())


def _halvings(texture: np.ndarray) -> list[np.ndarray]:
    picture = Image.fromarray(texture)
    if max(picture.size) > MAX_TEXTURE_SIDE:
        picture.thumbnail((MAX_TEXTURE_SIDE, MAX_TEXTURE_SIDE), Image.Resampling.BOX)
    chain = [np.asarray(picture)]
    while max(picture.size) > 1:
        width, height = picture.size
        half = (max(width // 2, 1), max(height // 2, 1))
        picture = picture.resize(half, Image.Resampling.BOX)
        chain.append(np.asarray(picture))
    return _spread_colour(chain) if texture.shape[2] == 4 else chain


def _spread_colour(chain: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Colour transparent texels like the next coarser version, which averages opaque ones only."""
    filled = [chain[-1]]
    for image in reversed(chain[:-1]):
        coarse = filled[-1]
        rows = np.minimum(np.arange(image.shape[0]) // 2, coarse.shape[0] - 1)
        columns = np.minimum(np.arange(image.shape[1]) // 2, coarse.shape[1] - 1)
        colour = np.where(
            image[..., 3:] == 0, coarse[np.ix_(rows, columns)][..., :3], image[..., :3]
        )
        filled.append(np.concatenate([colour, image[..., 3:]], axis=2))
    return filled[::-1]
