"""The renderers by name."""

from __future__ import annotations

from typing import get_args

from bridge.common.errors import InputError
from bridge.simulator.config import RendererName
from bridge.simulator.renderers.protocol import Renderer


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
    # Imported late: numba costs a second, OpenGL and Blender are optional.
    from bridge.simulator.renderers.subframes import SubframeRenderer

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
