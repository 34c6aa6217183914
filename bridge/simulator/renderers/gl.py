"""The OpenGL renderer, for GPUs; Mesa's software renderer serves where there is none.

It draws what the raster draws, but works out the light for every sample, not for every vertex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from bridge.simulator import camera
from bridge.simulator.camera import OBJECT_SCALE, PixelBox
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers import gl_shaders as shaders
from bridge.simulator.renderers.gl_device import current_context
from bridge.simulator.renderers.gl_mesh import HOLES, DeviceMesh
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Subframe

if TYPE_CHECKING:
    import moderngl

_SAMPLES = 2
"""Samples per pixel along each axis."""

_MARGIN = 1
"""Pixels around the object's box, as the device works with fewer digits."""

_RADIUS = 0.51 * OBJECT_SCALE
"""No vertex is further from an object's centre: the diagonal of its box is `OBJECT_SCALE`."""


class GLCanvas:
    """2x2 samples per pixel, bilinear mip-mapped textures, light at every sample.

    Sums of sub-frames stay on the device, in float32, until they are complete. Use it in the
    thread that made it, to which its OpenGL context belongs.

    Args:
        image_size: (H, W) in pixels.

    Raises:
        InputError: moderngl or a driver for OpenGL 3.3 through EGL is missing.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        self.image_size = image_size
        self._context = context = current_context()
        size = image_size[::-1]
        grid = (size[0] * _SAMPLES, size[1] * _SAMPLES)
        self._samples = context.texture(grid, 4, dtype="f4")
        self._drawing = context.framebuffer([self._samples], context.depth_renderbuffer(grid))
        self._sums = context.framebuffer([context.texture(size, 4, dtype="f4")])
        mean = context.program(shaders.WHOLE_SCREEN, shaders.MEAN_OF_SAMPLES)
        self._mean = context.vertex_array(mean, [])
        plain = context.program(shaders.VERTEX, shaders.FRAGMENT)
        cutout = context.program(shaders.VERTEX, shaders.FRAGMENT_WITH_HOLES)
        cutout["holes"] = HOLES
        self._programs = plain, cutout
        self._mesh: DeviceMesh | None = None
        self._corners = np.empty((8, 3))

    def describe(self) -> str:
        """The OpenGL device's name, with "llvmpipe" in it where that is the processor."""
        return str(self._context.info["GL_RENDERER"])

    def accumulate(
        self,
        mesh: Mesh,
        subframes: Sequence[Subframe],
        lighting: Lighting,
        linear: bool,
        out: np.ndarray,
    ) -> None:
        """Add each sub-frame's premultiplied RGBA in 0..1 to `out`, float32 [H, W, 4]."""
        if self._mesh is None or self._mesh.mesh is not mesh:
            self._mesh = DeviceMesh(mesh, *self._programs)
            self._corners = camera.box_corners(mesh.vertices)
        _set_light(self._mesh.programs, lighting, linear)
        # Images are drawn with the first row at the bottom, which turns windings round.
        self._context.front_face = "cw"
        self._sums.clear()
        boxes = [self._touched(each) for each in subframes]
        for subframe, box in zip(subframes, boxes, strict=True):
            if not box.is_empty:
                self._add(self._mesh, subframe, box)
        drawn = [box for box in boxes if not box.is_empty]
        if drawn:
            self._read(_union(drawn), out)

    def _touched(self, subframe: Subframe) -> PixelBox:
        corners = camera.to_camera(self._corners, subframe.rotation, subframe.translation)
        seen = camera.project(corners, self.image_size, subframe.offset)
        return camera.touched_pixels(seen, self.image_size, _MARGIN)

    def _add(self, mesh: DeviceMesh, subframe: Subframe, box: PixelBox) -> None:
        """Draw one sub-frame, which may touch the pixels of a box, and add it to the sums."""
        for program in mesh.programs:
            _write(program, "to_camera", _to_camera(subframe))
            _write(program, "to_screen", _to_screen(subframe, self.image_size))
        self._drawing.use()
        left, top, width, height = (_SAMPLES * side for side in _viewport(box))
        self._drawing.clear(viewport=(left, top, width, height))
        mesh.draw()
        self._sums.viewport = _viewport(box)
        self._sums.use()
        self._samples.use()
        self._context.enable_only(self._context.BLEND)
        self._context.blend_func = self._context.ONE, self._context.ONE
        self._mean.render(vertices=3)

    def _read(self, box: PixelBox, out: np.ndarray) -> None:
        data = self._sums.read(_viewport(box), components=4, dtype="f4")
        target = out[box.slices]
        target += np.frombuffer(data, np.float32).reshape(target.shape)


def _set_light(programs: Sequence[moderngl.Program], lighting: Lighting, linear: bool) -> None:
    if len(lighting.lamps) > shaders.MAX_LAMPS:
        raise ValueError(f"The renderer gl has room for {shaders.MAX_LAMPS} lamps.")
    lamps = [(*lamp.position, lamp.watts / (4 * math.pi**2)) for lamp in lighting.lamps]
    unused = [(0.0,) * 4] * (shaders.MAX_LAMPS - len(lamps))
    for program in programs:
        program["ambient"] = lighting.ambient
        program["lamp_count"] = len(lamps)
        program["lamps"] = lamps + unused
        program["linear"] = linear


def _to_camera(subframe: Subframe) -> np.ndarray:
    """Matrix [4, 4] from mesh to camera coordinates."""
    matrix = np.eye(4)
    matrix[:3, :3] = OBJECT_SCALE * subframe.rotation
    matrix[:3, 3] = subframe.translation
    return matrix


def _to_screen(subframe: Subframe, image_size: tuple[int, int]) -> np.ndarray:
    """Matrix [4, 4] from camera to clip coordinates, in which y grows downwards.

    The range of depths fits the object tightly, so that the depth buffer tells close surfaces.
    """
    height, width = image_size
    focal = camera.focal_length(image_size)
    distance = -float(subframe.translation[2])
    near = max(camera.NEAR, distance - _RADIUS)
    far = max(2 * camera.NEAR, distance + _RADIUS)
    x, y = subframe.offset
    return np.array(
        [
            [2 * focal / width, 0, -2 * x / width, 0],
            [0, -2 * focal / height, -2 * y / height, 0],
            [0, 0, (near + far) / (near - far), 2 * near * far / (near - far)],
            [0, 0, -1, 0],
        ]
    )


def _write(program: moderngl.Program, name: str, matrix: np.ndarray) -> None:
    """Set a uniform [4, 4], which OpenGL keeps column by column."""
    cast("moderngl.Uniform", program[name]).write(matrix.T.astype(np.float32).tobytes())


def _viewport(box: PixelBox) -> tuple[int, int, int, int]:
    """Left, top, width and height: images are drawn with the first row at the bottom."""
    return box.left, box.top, box.right - box.left, box.bottom - box.top


def _union(boxes: Sequence[PixelBox]) -> PixelBox:
    left, top, right, bottom = zip(*boxes, strict=True)
    return PixelBox(min(left), min(top), max(right), max(bottom))
