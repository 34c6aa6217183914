"""What the simulator asks of a renderer, and the renderers by name.

All of them share one camera: at the origin, looking along -z with +y up, a lens of 50 mm on a
sensor whose longer side is 36 mm. Objects are three times the size of a `Mesh`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np

from bridge.common.errors import InputError
from bridge.simulator.lighting import Lighting
from bridge.simulator.mesh import Mesh
from bridge.simulator.trajectory import Trajectory

FOCAL_BY_SENSOR = 50 / 36
OBJECT_SCALE = 3.0

RendererName = Literal["raster", "gl", "cycles"]


class Renderer(Protocol):
    """Renders a moving object; keeps buffers, so use one per thread."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""

    def expose(
        self, mesh: Mesh, trajectory: Trajectory, lighting: Lighting, *, linear: bool
    ) -> np.ndarray:
        """The sharp image and the ten blurred ones (`exposure.window`).

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
    """Draws single instants; `exposure.SubframeRenderer` makes exposures of them."""

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


def make_renderer(
    name: RendererName, image_size: tuple[int, int], subframe_step: float = 1.0
) -> Renderer:
    """The renderer of that name.

    Args:
        name: "raster" (CPU, always there), "gl" (OpenGL over EGL) or "cycles" (Blender).
        image_size: (H, W) in pixels.
        subframe_step: pixels that the fastest point of the object moves between two sub-frames;
            Cycles blurs by itself and has none.

    Raises:
        InputError: the name is unknown, or what the renderer needs is not installed.
    """
    # Imported late: numba costs a second, OpenGL and Blender are optional, and all need this file.
    from bridge.simulator.exposure import SubframeRenderer

    if name == "raster":
        from bridge.simulator.renderers.raster import RasterCanvas

        return SubframeRenderer(RasterCanvas(image_size), subframe_step)
    if name == "gl":
        from bridge.simulator.renderers.gl import GLCanvas

        return SubframeRenderer(GLCanvas(image_size), subframe_step)
    if name == "cycles":
        from bridge.simulator.renderers.cycles import CyclesRenderer

        return CyclesRenderer(image_size)
    raise InputError(
        f"There is no renderer {name!r}; choose one of {', '.join(get_args(RendererName))}."
    )
