"""The default renderer: a z-buffer rasteriser for the CPU that needs nothing but numba."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge.simulator import camera
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers import raster_kernels as kernels
from bridge.simulator.renderers import raster_shading as shading
from bridge.simulator.renderers.lighting import GAMMA, Lighting
from bridge.simulator.renderers.protocol import Subframe

_SAMPLES = 2
"""Samples per pixel along each axis."""

_DISPLAY = np.linspace(0, 1, 256, dtype=np.float32)
_LINEAR = _DISPLAY**GAMMA
_DARK = Lighting(ambient=0.0, lamps=())


class RasterCanvas:
    """2x2 samples per pixel, bilinear mip-mapped textures, both sides of every triangle.

    Args:
        image_size: (H, W) in pixels.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        self.image_size = image_size
        grid = (image_size[0] * _SAMPLES, image_size[1] * _SAMPLES)
        self._focal = camera.focal_length(grid)
        self._depth = np.zeros(grid, np.float32)
        self._owner = np.zeros(grid, np.int32)
        self._owners = np.empty(4, np.int32)
        self._room = (
            np.empty((4, kernels.CORNER_SIZE)),
            np.empty((4, 2), np.int64),
            np.empty(4),
            np.empty(4, np.int64),
        )
        self._camera = np.empty((0, 3))
        self._screen = np.empty((0, 3))
        self._light = np.empty((0, 2))
        self._planes = np.empty((0, kernels.PLANE_SIZE), np.float32)
        self._plane_mip = np.empty((0, 3), np.int64)

    def accumulate(
        self,
        mesh: Mesh,
        subframes: Sequence[Subframe],
        lighting: Lighting,
        linear: bool,
        out: np.ndarray,
    ) -> None:
        """Add each sub-frame's premultiplied RGBA in 0..1 to `out`, float32 [H, W, 4]."""
        table = _LINEAR if linear else _DISPLAY
        tint = mesh.tint**GAMMA if linear else mesh.tint
        exponent = 1.0 if linear else 1 / GAMMA
        for subframe in subframes:
            box = self._draw(mesh, subframe, tint, lighting, exponent)
            shading.shade(
                box,
                self._depth,
                self._owner,
                self._planes,
                self._plane_mip,
                mesh.texels,
                table,
                self._owners,
                out,
            )

    def coverage(self, mesh: Mesh, rotation: np.ndarray, translation: np.ndarray) -> float:
        """Share of the image's pixels that the object covers fully at a pose, in 0..1."""
        height, width = self.image_size
        box = self._draw(mesh, Subframe(rotation, translation), mesh.tint, _DARK, 1.0)
        return shading.count_covered(box, self._depth) / (height * width)

    def silhouette(self, mesh: Mesh, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """The pixels that the object covers fully at a pose, bool [H, W]."""
        height, width = self.image_size
        top, bottom, left, right = self._draw(
            mesh, Subframe(rotation, translation), mesh.tint, _DARK, 1.0
        )
        samples = self._depth.reshape(height, _SAMPLES, width, _SAMPLES) > 0
        self._depth[top:bottom, left:right] = 0
        return np.asarray(samples.all(axis=(1, 3)))

    def _draw(
        self, mesh: Mesh, subframe: Subframe, tint: np.ndarray, lighting: Lighting, exponent: float
    ) -> tuple[int, int, int, int]:
        """Fill the sample buffers; returns the box of what was touched."""
        self._reserve(len(mesh.vertices), len(mesh.faces))
        lamps = np.array([(*lamp.position, lamp.watts) for lamp in lighting.lamps], np.float64)
        height, width = self._depth.shape
        view = (
            self._focal,
            width / 2 + _SAMPLES * subframe.offset[0],
            height / 2 + _SAMPLES * subframe.offset[1],
        )
        kernels.transform_vertices(
            mesh.vertices,
            mesh.normals,
            np.ascontiguousarray(subframe.rotation, np.float64),
            np.ascontiguousarray(subframe.translation, np.float64),
            camera.OBJECT_SCALE,
            lamps.reshape(-1, 4),
            lighting.ambient,
            exponent,
            *view,
            self._camera,
            self._screen,
            self._light,
        )
        return kernels.draw_triangles(
            mesh.faces,
            mesh.face_one_sided,
            mesh.face_cutout,
            mesh.face_texture,
            mesh.mips,
            mesh.texels,
            mesh.uv,
            tint,
            self._camera,
            self._screen,
            self._light,
            *view,
            camera.NEAR,
            self._depth,
            self._owner,
            self._planes,
            self._plane_mip,
            *self._room,
        )

    def _reserve(self, num_vertices: int, num_faces: int) -> None:
        """Make room for a mesh; the near plane can cut a triangle in two."""
        if num_vertices > len(self._camera):
            self._camera = np.empty((num_vertices, 3))
            self._screen = np.empty((num_vertices, 3))
            self._light = np.empty((num_vertices, 2))
        if 2 * num_faces > len(self._planes):
            self._planes = np.empty((2 * num_faces, kernels.PLANE_SIZE), np.float32)
            self._plane_mip = np.empty((2 * num_faces, 3), np.int64)
