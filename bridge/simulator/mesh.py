"""Textured triangle meshes in the form that the renderers read (paper Sec. 4, synthetic data)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

from bridge.simulator.normals import smooth_between_creases

MAX_TEXTURE_SIDE = 1024

MeshFault = Literal["unreadable", "no_faces", "no_texture", "bad_geometry"]


class MeshError(Exception):
    """An object that cannot be rendered; `reason` is stable and meant for counting."""

    def __init__(self, reason: MeshFault, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class Surface:
    """Triangles of one material, before they become part of a `Mesh`.

    Attributes:
        vertices: [V, 3], any unit.
        faces: int [F, 3].
        uv: [V, 2] with v pointing up in the texture; None without a texture.
        tint: RGB factor of the texture in display space, [V, 3] or [3], in 0..1.
        normals: [V, 3]; None derives them, keeping edges sharper than the crease angle.
        texture: uint8 RGB [h, w, 3], or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    tint: np.ndarray = field(default_factory=lambda: np.ones(3))
    normals: np.ndarray | None = None
    texture: np.ndarray | None = None


@dataclass(frozen=True)
class Mesh:
    """An object with its bounding box centred at the origin and a box diagonal of 1.

    Attributes:
        vertices, normals: float32 [V, 3]; triangles wind counter-clockwise seen from outside.
        uv: float32 [V, 2], v pointing up.
        tint: float32 [V, 3], display-space factor of the texture, in 0..1.
        faces: int32 [F, 3].
        face_texture: int32 [F], row of `mips`; -1 for a face that has its tint only.
        texels: uint8 [N, 3], all textures and their smaller versions one after the other.
        mips: int64 [T, L, 3], first texel, height and width of each version, finest first; the
            coarsest repeats so that every texture has L of them.
    """

    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    tint: np.ndarray
    faces: np.ndarray
    face_texture: np.ndarray
    texels: np.ndarray
    mips: np.ndarray

    @property
    def extents(self) -> tuple[float, float, float]:
        """Size of the bounding box along x, y and z."""
        x, y, z = np.ptp(self.vertices, axis=0)
        return float(x), float(y), float(z)


def build_mesh(surfaces: Sequence[Surface]) -> Mesh:
    """Join surfaces into a normalised mesh.

    Triangles without area or with a coordinate that is not a number are dropped.

    Raises:
        MeshError: "no_faces" or "bad_geometry".
    """
    if not any(len(surface.faces) for surface in surfaces):
        raise MeshError("no_faces", "there is not one triangle")
    centre, diagonal = _box(surfaces)
    parts = [_finish(surface, centre, diagonal) for surface in surfaces]
    kept = [i for i, part in enumerate(parts) if len(part.faces)]
    if not kept:
        raise MeshError("bad_geometry", "no triangle has an area")
    textured = [surfaces[i].texture is not None for i in kept]
    rows = np.where(textured, np.cumsum(textured) - 1, -1)
    starts = np.cumsum([0] + [len(parts[i].vertices) for i in kept])
    texels, mips = pack_textures([t for i in kept if (t := surfaces[i].texture) is not None])
    return Mesh(
        vertices=_stack([parts[i].vertices for i in kept]),
        normals=_stack([_need(parts[i].normals) for i in kept]),
        uv=_stack([_need(parts[i].uv) for i in kept]),
        tint=_stack([parts[i].tint for i in kept]),
        faces=np.concatenate(
            [parts[i].faces + start for i, start in zip(kept, starts, strict=False)]
        ).astype(np.int32),
        face_texture=np.repeat(rows, [len(parts[i].faces) for i in kept]).astype(np.int32),
        texels=texels,
        mips=mips,
    )


def pack_textures(textures: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Textures with their halved versions as the `texels` and `mips` of a `Mesh`."""
    chains = [_halvings(texture) for texture in textures]
    levels = max((len(chain) for chain in chains), default=1)
    mips = np.zeros((len(chains), levels, 3), np.int64)
    first = 0
    for chain, rows in zip(chains, mips, strict=True):
        for level, image in enumerate(chain):
            rows[level:] = first, image.shape[0], image.shape[1]
            first += image.shape[0] * image.shape[1]
    flat = [image.reshape(-1, 3) for chain in chains for image in chain]
    return np.concatenate([np.empty((0, 3), np.uint8), *flat]), mips


def _halvings(texture: np.ndarray) -> list[np.ndarray]:
    picture = Image.fromarray(texture)
    if max(picture.size) > MAX_TEXTURE_SIDE:
        picture.thumbnail((MAX_TEXTURE_SIDE, MAX_TEXTURE_SIDE), Image.Resampling.BOX)
    chain = [np.asarray(picture)]
    while max(picture.size) > 1:
        width, height = picture.size
        half = (max(width // 2, 1), max(height // 2, 1))
        picture = picture.resize(half, Image.Resampling.BOX)
        chain.append(np.asarray(picture))
    return chain


def _box(surfaces: Sequence[Surface]) -> tuple[np.ndarray, float]:
    """Centre and diagonal of the box around all vertices that a triangle uses."""
    if any(
        s.faces.size and not 0 <= s.faces.min() <= s.faces.max() < len(s.vertices) for s in surfaces
    ):
        raise MeshError("bad_geometry", "a triangle names a vertex that does not exist")
    used = np.concatenate([s.vertices[np.unique(s.faces)] for s in surfaces])
    used = used[np.isfinite(used).all(axis=1)]
    if len(used) == 0:
        raise MeshError("bad_geometry", "no vertex has finite coordinates")
    low, high = used.min(axis=0), used.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    if not 0 < diagonal < np.inf:
        raise MeshError("bad_geometry", f"the bounding box has a diagonal of {diagonal}")
    return (low + high) / 2, diagonal


def _finish(surface: Surface, centre: np.ndarray, diagonal: float) -> Surface:
    """Normalise, drop degenerate triangles and fill in what is optional."""
    vertices = (np.asarray(surface.vertices, np.float64) - centre) / diagonal
    corners = vertices[surface.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    uv = np.zeros((len(vertices), 2)) if surface.uv is None else surface.uv
    sound = np.isfinite(uv[surface.faces]).all(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        faces = surface.faces[(np.linalg.norm(cross, axis=1) > 1e-12) & sound]
    tint = np.broadcast_to(surface.tint, vertices.shape)
    if surface.normals is None:
        source, normals, faces = smooth_between_creases(vertices, faces)
        return Surface(vertices[source], faces, uv[source], tint[source], normals)
    return _compact(vertices, _wind_outwards(vertices, faces, surface.normals), uv, tint, surface)


def _compact(
    vertices: np.ndarray, faces: np.ndarray, uv: np.ndarray, tint: np.ndarray, surface: Surface
) -> Surface:
    """Leave out the vertices that no triangle uses (one of them may be far away or NaN)."""
    used, renumbered = np.unique(faces, return_inverse=True)
    normals = np.nan_to_num(_need(surface.normals)[used])
    return Surface(vertices[used], renumbered.reshape(-1, 3), uv[used], tint[used], normals)


def _wind_outwards(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Turn triangles whose winding contradicts their normals, as in mirrored parts."""
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    against = (cross * normals[faces].sum(axis=1)).sum(axis=1) < 0
    return np.where(against[:, None], faces[:, ::-1], faces)


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(arrays), np.float32)


def _need(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    return array
