"""What the simulator asks of a renderer; what all of them see through is `simulator.camera`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.trajectory import Trajectory


class Renderer(Protocol):
    """Renders a moving object; keeps buffers, so use one per thread."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""

    def expose(
        self, mesh: Mesh, trajectory: Trajectory, lighting: Lighting, *, linear: bool
    ) -> np.ndarray:
        """The sharp image and the ten blurred ones (`windows.window`).

        Args:
            mesh: the object.
            trajectory: its motion.
            lighting: the light of the scene.
            linear: colours are averaged, and returned, in linear light, not in display space.

        Returns:
            float32 [11, H, W, 4]: RGB times opacity, and opacity, in 0..1.
        """


class Subframe(NamedTuple):
    """An instant at which a moving object is drawn.

    Attributes:
        rotation, translation: [3, 3] and [3], from the object (scaled) to the camera.
        offset: shift of the image to the right and down, in pixels.
    """

    rotation: np.ndarray
    translation: np.ndarray
    offset: tuple[float, float] = (0.0, 0.0)


class Canvas(Protocol):
    """Draws single instants; `subframes.SubframeRenderer` makes exposures of them."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""

    def accumulate(
        self,
        mesh: Mesh,
        subframes: Sequence[Subframe],
        lighting: Lighting,
        linear: bool,
        out: np.ndarray,
    ) -> None:
        """Add each sub-frame's premultiplied RGBA in 0..1 to `out`, float32 [H, W, 4]."""
