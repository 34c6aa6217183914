"""What the simulator asks of a renderer, and the renderers by name.

All of them share one camera: at the origin, looking along -z with +y up, a lens of 50 mm on a
sensor whose longer side is 36 mm. Objects are three times the size of a `Mesh`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from bridge.errors import InputError
from bridge.simulator.mesh import Mesh

FOCAL_BY_SENSOR = 50 / 36
OBJECT_SCALE = 3.0

Pose = tuple[np.ndarray, np.ndarray]
"""Rotation [3, 3] and translation [3] from the object (scaled) to the camera."""


class Renderer(Protocol):
    """Renders one mesh at given poses; keeps buffers, so use one per thread."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""

    def accumulate(self, mesh: Mesh, poses: Sequence[Pose], out: np.ndarray) -> None:
        """Add each pose's premultiplied display-space RGBA in 0..1 to `out`, float32 [H, W, 4]."""

    def coverage(self, mesh: Mesh, pose: Pose) -> float:
        """Share of the image's pixels that the object covers fully, in 0..1."""


def make_renderer(name: str, image_size: tuple[int, int]) -> Renderer:
    """The renderer of that name for images of (H, W) pixels; InputError for an unknown name."""
    # Imported late: numba costs a second, and the module needs this one.
    from bridge.simulator.renderers.raster import RasterRenderer

    if name != "raster":
        raise InputError(f"There is no renderer {name!r}; choose raster.")
    return RasterRenderer(image_size)
