"""A mesh on the OpenGL device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bridge.simulator.meshes.mesh import Mesh

if TYPE_CHECKING:
    import moderngl

HOLES = 1
"""Texture unit of the unfiltered texture whose alpha tells holes; colours come from unit 0."""


@dataclass(frozen=True)
class _Part:
    """Triangles that are drawn in one go: `count` indices from `first` on."""

    vertices: moderngl.VertexArray
    texture: moderngl.Texture
    holes: moderngl.Sampler | None
    one_sided: bool
    first: int
    count: int


class DeviceMesh:
    """Buffers and textures of a mesh, freed together with this object.

    Args:
        mesh: the object.
        plain, cutout: programs for faces without and with holes.

    Attributes:
        mesh: the same, held so that no other object can take its identity.
        programs: those that it is drawn with.
    """

    def __init__(self, mesh: Mesh, plain: moderngl.Program, cutout: moderngl.Program) -> None:
        self.mesh = mesh
        self.programs = [plain, cutout] if mesh.face_cutout.any() else [plain]
        self._context = context = plain.ctx
        keys = np.stack([mesh.face_texture, mesh.face_cutout, mesh.face_one_sided], axis=1)
        kinds, kind, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(kind.ravel(), kind="stable")
        data = np.concatenate([mesh.vertices, mesh.normals, mesh.uv, mesh.tint], axis=1)
        vertices = context.buffer(np.ascontiguousarray(data, np.float32))
        faces = context.buffer(np.ascontiguousarray(mesh.faces[order], np.int32))
        layout = (vertices, "3f 3f 2f 3f", "vertex", "normal", "uv", "tint")
        arrays = [context.vertex_array(program, [layout], faces) for program in self.programs]
        textures = {row: _upload(context, mesh, row) for row in np.unique(mesh.face_texture)}
        unfiltered = (context.NEAREST_MIPMAP_NEAREST, context.NEAREST)
        self._parts = [
            _Part(
                arrays[holed],
                textures[row],
                context.sampler(texture=textures[row], filter=unfiltered) if holed else None,
                bool(one_sided),
                3 * first,
                3 * count,
            )
            for (row, holed, one_sided), first, count in zip(
                kinds.tolist(), np.cumsum(counts) - counts, counts, strict=True
            )
        ]

    def draw(self) -> None:
        """Draw all triangles with the uniforms as they are."""
        context = self._context
        for part in self._parts:
            context.enable_only(context.DEPTH_TEST | (context.CULL_FACE if part.one_sided else 0))
            part.texture.use()
            if part.holes is not None:
                part.holes.use(HOLES)
            part.vertices.render(vertices=part.count, first=part.first)


def _upload(context: moderngl.Context, mesh: Mesh, row: int) -> moderngl.Texture:
    """A texture with its smaller versions; one white texel for faces that have their tint only."""
    if row < 0:
        return context.texture((1, 1), 4, b"\xff" * 4)
    versions: Sequence[list[int]] = mesh.mips[row].tolist()
    height, width = versions[0][1:]
    texture = context.texture((width, height), 4)
    texture.filter = context.LINEAR_MIPMAP_NEAREST, context.LINEAR
    # Allocates the versions, which are then those that all renderers share.
    texture.build_mipmaps()
    for level in range(max(height, width).bit_length()):
        first, high, wide = versions[level]
        texture.write(np.ascontiguousarray(mesh.texels[first : first + high * wide]), level=level)
    return texture
