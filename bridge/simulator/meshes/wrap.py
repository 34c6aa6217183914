"""Textures that do not repeat beyond their edges, made into such that do.

Renderers repeat every texture. One that is mirrored instead is packed with its mirror image; one
whose edge goes on is packed with as much of its edge as the coordinates reach.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from PIL import Image

from bridge.simulator.meshes.mipmaps import MAX_TEXTURE_SIDE

Wrap = Literal["repeat", "mirror", "clamp"]

MAX_TILES = 16
"""Coordinates of a clamped texture that lie further out, in widths of it, are drawn in."""

_MARGIN = 0.25
"""Of an edge, in widths of the texture, beyond what is used: coarse versions mix neighbours."""

Pads = tuple[int, int]
"""Texels added below and above the range 0..1 of a coordinate."""


class WrappedTexture:
    """A texture with the modes of its two coordinates.

    Args:
        texture: uint8 [h, w, 3 or 4].
        modes: what lies beyond the range 0..1 of u and of v.
    """

    def __init__(
        self, texture: np.ndarray, modes: tuple[Wrap, Wrap] = ("repeat", "repeat")
    ) -> None:
        self._texture = texture
        self._modes = modes
        # Surfaces that share a texture share the array.
        self._packed: dict[tuple[float, ...], tuple[np.ndarray, Pads, Pads]] = {}

    def repeating(self, uv: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A texture to repeat, and the coordinates [V, 2] in it, given those in the original.

        Where the triangles stay within the texture, both are the original ones.
        """
        height, width = self._texture.shape[:2]
        used = uv[faces].reshape(-1, 2)
        used = used[np.isfinite(used).all(axis=1)]
        across = _reach(used[:, 0], width, self._modes[0])
        down = _reach(used[:, 1], height, self._modes[1])
        if across == down == (0, 0):
            return self._texture, uv
        if (*across, *down) not in self._packed:
            self._packed[*across, *down] = self._pack(across, down)
        packed, x_pads, y_pads = self._packed[*across, *down]
        u = _within(uv[:, 0], x_pads, packed.shape[1], self._modes[0])
        v = _within(uv[:, 1], y_pads, packed.shape[0], self._modes[1])
        return packed, np.stack([u, v], axis=1)

    def _pack(
        self, across: tuple[float, float], down: tuple[float, float]
    ) -> tuple[np.ndarray, Pads, Pads]:
        size = self._texture.shape[1::-1]
        # Reduced to what fits before it grows.
        width, height = _fitting(size[0], across), _fitting(size[1], down)
        picture = Image.fromarray(self._texture)
        if (width, height) != size:
            picture = picture.resize((width, height), Image.Resampling.BOX)
        x_pads, y_pads = _texels(across, width), _texels(down, height)
        # Rows go down where v goes up.
        padded = _padded(np.asarray(picture), 1, x_pads, self._modes[0])
        return _padded(padded, 0, y_pads[::-1], self._modes[1]), x_pads, y_pads


def _reach(values: np.ndarray, size: int, mode: Wrap) -> tuple[float, float]:
    """How much of the texture, in widths of it, is to be added below 0 and above 1."""
    if mode == "repeat" or not len(values):
        return 0, 0
    low, high = float(values.min()), float(values.max())
    # Less than half a texel: no middle of another one is reached.
    nearly = 0.49 / size
    if low >= -nearly and high <= 1 + nearly:
        return 0, 0
    if mode == "mirror":
        return 0, 1
    return _stepped(max(-low, 0)), _stepped(max(high - 1, 0))


def _stepped(reach: float) -> float:
    """In few steps, so that surfaces of one texture are likely to share what is packed."""
    return math.ceil(min(reach, MAX_TILES) / _MARGIN) * _MARGIN + _MARGIN


def _fitting(size: int, reach: tuple[float, float]) -> int:
    """Texels of the texture itself that leave room for what is added."""
    if not any(reach):
        return size
    return max(min(size, math.floor(MAX_TEXTURE_SIDE / (1 + sum(reach)))), 1)


def _texels(reach: tuple[float, float], size: int) -> Pads:
    return round(reach[0] * size), round(reach[1] * size)


def _padded(texture: np.ndarray, axis: int, pads: Pads, mode: Wrap) -> np.ndarray:
    if not any(pads):
        return texture
    widths = [(0, 0)] * 3
    widths[axis] = pads
    # A mirror image of the whole is the same on either side, as the two repeat in turn.
    return np.pad(texture, widths, mode="symmetric" if mode == "mirror" else "edge")


def _within(values: np.ndarray, pads: Pads, size: int, mode: Wrap) -> np.ndarray:
    """Coordinates in a texture of `size` texels that has so many added."""
    inner = size - sum(pads)
    if mode == "clamp" and any(pads):
        values = np.clip(values, -MAX_TILES, 1 + MAX_TILES)
    return (values * inner + pads[0]) / size
