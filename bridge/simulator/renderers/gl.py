"""The OpenGL renderer, for GPUs; Mesa's software renderer serves where there is none.

It draws what the raster draws, but works out the light for every sample, not for every vertex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers import gl_shaders as shaders
from bridge.simulator.renderers.gl_device import current_context
from bridge.simulator.renderers.gl_mesh import HOLES, DeviceMesh
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import FOCAL_BY_SENSOR, OBJECT_SCALE, Subframe

if TYPE_CHECKING:
    import moderngl

_SAMPLES = 2
"""Samples per pixel along each axis."""

_NEAR = 0.1
_RADIUS = 0.51 * OBJECT_SCALE
"""No vertex is further from an object's centre: the diagonal of its box is `OBJECT_SCALE`."""

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


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
        self._corners = np.empty((8, 4))

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
            self._corners = _box_corners(mesh.vertices)
        _set_light(self._mesh.programs, lighting, linear)
        # Images are drawn with the first row at the bottom, which turns windings round.
        self._context.front_face = "cw"
        self._sums.clear()
        boxes = [box for each in subframes if (box := self._add(self._mesh, each)) is not None]
        if boxes:
            self._read(_union(boxes), out)

    def _add(self, mesh: DeviceMesh, subframe: Subframe) -> Box | None:
        """Draw one sub-frame and add it to the sums; returns the pixels it may have touched."""
        to_camera = _to_camera(subframe)
        to_screen = _to_screen(subframe, self.image_size)
        box = _screen_box(self._corners @ (to_screen @ to_camera).T, self.image_size)
        if box is None:
            return None
        for program in mesh.programs:
            _write(program, "to_camera", to_camera)
            _write(program, "to_screen", to_screen)
        self._drawing.use()
        left, top, width, height = (_SAMPLES * side for side in box)
        self._drawing.clear(viewport=(left, top, width, height))
        mesh.draw()
        self._sums.viewport = box
        self._sums.use()
        self._samples.use()
        self._context.enable_only(self._context.BLEND)
        self._context.blend_func = self._context.ONE, self._context.ONE
        self._mean.render(vertices=3)
        return box

    def _read(self, box: Box, out: np.ndarray) -> None:
        left, top, width, height = box
        sums = np.frombuffer(self._sums.read(box, components=4, dtype="f4"), np.float32)
        out[top : top + height, left : left + width] += sums.reshape(height, width, 4)


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
    focal = max(image_size) * FOCAL_BY_SENSOR
    distance = -float(subframe.translation[2])
    near = max(_NEAR, distance - _RADIUS)
    far = max(2 * _NEAR, distance + _RADIUS)
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


def _box_corners(vertices: np.ndarray) -> np.ndarray:
    """Homogeneous corners [8, 4] of the box around vertices [V, 3]."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    choices = np.indices((2, 2, 2)).reshape(3, 8).T
    return np.concatenate([np.where(choices, high, low), np.ones((8, 1))], axis=1)


def _screen_box(corners: np.ndarray, image_size: tuple[int, int]) -> Box | None:
    """Pixels that an object can cover, from its box's corners [8, 4] in clip coordinates.

    All pixels where the box reaches behind the near plane; None where it covers no pixel.
    """
    size = np.array(image_size[::-1])
    depth = corners[:, 3:]
    if depth.max() <= _NEAR:
        return None
    if depth.min() <= _NEAR:
        return 0, 0, image_size[1], image_size[0]
    places = (corners[:, :2] / depth + 1) / 2 * size
    # One pixel more on each side, as the device works with fewer digits.
    first = np.clip(np.floor(places.min(axis=0)) - 1, 0, size).astype(int)
    extent = np.clip(np.ceil(places.max(axis=0)) + 1, 0, size).astype(int) - first
    if extent.min() <= 0:
        return None
    return int(first[0]), int(first[1]), int(extent[0]), int(extent[1])


def _union(boxes: Sequence[Box]) -> Box:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right = max(box[0] + box[2] for box in boxes)
    bottom = max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top
