"""The default renderer: a z-buffer rasteriser for the CPU that needs nothing but numba.

Light is that of the published data: a uniform ambient of 0.6 and the 1000 W point lamp of
Blender's start-up scene. It multiplies display-space texels by factor ** (1 / 2.2), which equals
lighting in linear space for a display of pure gamma.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge.simulator.mesh import Mesh
from bridge.simulator.renderers import FOCAL_BY_SENSOR, OBJECT_SCALE, Pose
from bridge.simulator.renderers import raster_kernels as kernels
from bridge.simulator.renderers import raster_shading as shading

_SAMPLES = 2
"""Samples per pixel along each axis."""


class RasterRenderer:
    """2x2 samples per pixel, bilinear mip-mapped textures, both sides of every triangle.

    Args:
        image_size: (H, W) in pixels.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        self.image_size = image_size
        grid = (image_size[0] * _SAMPLES, image_size[1] * _SAMPLES)
        self._focal = max(grid) * FOCAL_BY_SENSOR
        self._depth = np.zeros(grid, np.float32)
        self._owner = np.zeros(grid, np.int32)
        self._camera = np.empty((0, 3))
        self._light = np.empty((0, 2))
        self._planes = np.empty((0, kernels.PLANE_SIZE), np.float32)
        self._plane_mip = np.empty((0, 3), np.int64)

    def accumulate(self, mesh: Mesh, poses: Sequence[Pose], out: np.ndarray) -> None:
        """Add each pose's premultiplied display-space RGBA in 0..1 to `out`, float32 [H, W, 4]."""
        for pose in poses:
            box = self._draw(mesh, pose)
            shading.shade(
                box, self._depth, self._owner, self._planes, self._plane_mip, mesh.texels, out
            )

    def coverage(self, mesh: Mesh, pose: Pose) -> float:
        """Share of the image's pixels that the object covers fully, in 0..1."""
        height, width = self.image_size
        return shading.count_covered(self._draw(mesh, pose), self._depth) / (height * width)

    def _draw(self, mesh: Mesh, pose: Pose) -> tuple[int, int, int, int]:
        """Fill the sample buffers; returns the box of what was touched."""
        self._reserve(len(mesh.vertices), len(mesh.faces))
        rotation, translation = pose
        kernels.transform_vertices(
            mesh.vertices,
            mesh.normals,
            np.ascontiguousarray(rotation, np.float64),
            np.ascontiguousarray(translation, np.float64),
            OBJECT_SCALE,
            self._camera,
            self._light,
        )
        return kernels.draw_triangles(
            mesh.faces,
            mesh.face_texture,
            mesh.mips,
            mesh.uv,
            mesh.tint,
            self._camera,
            self._light,
            self._focal,
            self._depth,
            self._owner,
            self._planes,
            self._plane_mip,
        )

    def _reserve(self, num_vertices: int, num_faces: int) -> None:
        """Make room for a mesh; the near plane can cut a triangle in two."""
        if num_vertices > len(self._camera):
            self._camera = np.empty((num_vertices, 3))
            self._light = np.empty((num_vertices, 2))
        if 2 * num_faces > len(self._planes):
            self._planes = np.empty((2 * num_faces, kernels.PLANE_SIZE), np.float32)
            self._plane_mip = np.empty((2 * num_faces, 3), np.int64)
