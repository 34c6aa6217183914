"""Textured triangle meshes in the form that the renderers read (paper Sec. 4, synthetic data)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridge.simulator.meshes.mipmaps import has_holes, pack_textures
from bridge.simulator.meshes.surface import MeshError, Remark, Surface

# What compiles kernels is imported where a mesh is built: catalogues of objects do without.

MAX_TRIANGLES = 200_000
"""Larger meshes are simplified; on images of these sizes the difference cannot be seen."""

MIN_DOUBLED_AREA = 1e-12
"""Smaller triangles count as none, in units of the box diagonal squared."""

_ROUNDING = 1e-9
"""Of a box, in units of its diagonal."""

TOLD_LOSS = 0.01
"""Share of dropped triangles above which the loss is recorded."""


@dataclass(frozen=True)
class Mesh:
    """An object with its bounding box centred at the origin and a box diagonal of 1.

    Attributes:
        vertices, normals: float32 [V, 3]; triangles wind counter-clockwise seen from outside.
        uv: float32 [V, 2], v pointing up.
        tint: float32 [V, 3], display-space factor of the texture, in 0..1.
        faces: int32 [F, 3].
        face_texture: int32 [F], row of `mips`; -1 for a face that has its tint only.
        face_cutout: bool [F], the texture has holes where its alpha is below 128.
        face_one_sided: bool [F], the face belongs to a closed part that winds outwards, so that
            its back never shows.
        texels: uint8 RGBA [N, 4], all textures and their smaller versions one after the other.
        mips: int64 [T, L, 3], first texel, height and width of each version, finest first; the
            coarsest repeats so that every texture has L of them.
        adjusted: (reason, detail) of what was changed to make the object usable, with the reasons
            "missing_texture", "missing_material", "missing_uv", "simplified" and
            "dropped_triangles".
    """

    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    tint: np.ndarray
    faces: np.ndarray
    face_texture: np.ndarray
    face_cutout: np.ndarray
    face_one_sided: np.ndarray
    texels: np.ndarray
    mips: np.ndarray
    adjusted: tuple[Remark, ...] = ()

    @property
    def extents(self) -> tuple[float, float, float]:
        """Size of the bounding box along x, y and z."""
        x, y, z = np.ptp(self.vertices, axis=0)
        return float(x), float(y), float(z)


def build_mesh(surfaces: Sequence[Surface], adjusted: Sequence[Remark] = ()) -> Mesh:
    """Join surfaces into a normalised mesh.

    Triangles without area or with a coordinate that is not a number are dropped, and what has more
    than `MAX_TRIANGLES` is simplified; both are recorded after the remarks in `adjusted`. What is
    dropped does not count for the box.

    Raises:
        MeshError: "no_faces" or "bad_geometry".
    """
    given = sum(len(surface.faces) for surface in surfaces)
    if not given:
        raise MeshError("no_faces", "there is not one triangle")
    remarks = list(adjusted)
    parts = _sound(_normalised(surfaces))
    if _left_much_room(parts):
        parts = _normalised(parts)
    sound = sum(len(part.faces) for part in parts)
    if given - sound > TOLD_LOSS * given:
        remarks.append(("dropped_triangles", f"{given - sound:,} of {given:,}"))
    if sound > MAX_TRIANGLES:
        from bridge.simulator.meshes.simplification import simplify

        parts = _sound(simplify(parts, MAX_TRIANGLES))
        left = sum(len(part.faces) for part in parts)
        remarks.append(("simplified", f"{sound:,} to {left:,} triangles"))
    return _join([_with_normals(part) for part in parts], remarks)


def _box(surfaces: Sequence[Surface]) -> tuple[np.ndarray, float]:
    """Centre and diagonal of the box around all triangles that have an area of their own."""
    if any(
        s.faces.size and not 0 <= s.faces.min() <= s.faces.max() < len(s.vertices) for s in surfaces
    ):
        raise MeshError("bad_geometry", "a triangle names a vertex that does not exist")
    used = np.concatenate(
        [s.vertices[_used(s.faces[_has_area(s)], len(s.vertices))] for s in surfaces]
    )
    if len(used) == 0:
        raise MeshError("bad_geometry", "no triangle has an area")
    centre, diagonal = _bounds(used)
    if not 0 < diagonal < np.inf:
        raise MeshError("bad_geometry", f"the bounding box has a diagonal of {diagonal}")
    return centre, diagonal


def _bounds(points: np.ndarray) -> tuple[np.ndarray, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2, float(np.linalg.norm(high - low))


def _has_area(surface: Surface) -> np.ndarray:
    """Triangles that are more than a point or a line whatever their size, bool [F]."""
    vertices = np.asarray(surface.vertices, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        a, b, c = vertices[surface.faces].swapaxes(0, 1)
        longest = np.max([((p - q) ** 2).sum(axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        return (area > MIN_DOUBLED_AREA * longest) & np.isfinite(area)


def _left_much_room(parts: Sequence[Surface]) -> bool:
    """Whether triangles that were dropped had made the box of normalised parts larger."""
    centre, diagonal = _bounds(np.concatenate([part.vertices for part in parts]))
    return bool(np.abs([*centre, diagonal - 1]).max() > _ROUNDING)


def _used(faces: np.ndarray, num_vertices: int) -> np.ndarray:
    used = np.zeros(num_vertices, bool)
    used[faces] = True
    return used


def _normalised(surfaces: Sequence[Surface]) -> list[Surface]:
    """The surfaces in their final place and size, with their optional attributes per vertex."""
    centre, diagonal = _box(surfaces)
    parts = []
    for surface in surfaces:
        vertices = (np.asarray(surface.vertices, np.float64) - centre) / diagonal
        given = np.zeros((len(vertices), 2)) if surface.uv is None else surface.uv
        uv = np.asarray(given, np.float64).reshape(len(vertices), 2)
        tint = np.broadcast_to(surface.tint, vertices.shape)
        parts.append(replace(surface, vertices=vertices, uv=uv, tint=tint))
    return parts


def _sound(surfaces: Sequence[Surface]) -> list[Surface]:
    """The surfaces with an area, less their bad triangles and unused vertices."""
    parts = [part for surface in surfaces if len((part := _without_bad_faces(surface)).faces)]
    if not parts:
        raise MeshError("bad_geometry", "no triangle has an area")
    return parts


def _without_bad_faces(surface: Surface) -> Surface:
    uv = _need(surface.uv)
    with np.errstate(invalid="ignore"):
        area = np.linalg.norm(_cross(surface.vertices, surface.faces), axis=1)
        good = (area > MIN_DOUBLED_AREA) & np.isfinite(uv[surface.faces]).all(axis=(1, 2))
    faces = surface.faces[good]
    used = _used(faces, len(surface.vertices))
    return replace(
        surface,
        vertices=surface.vertices[used],
        faces=(np.cumsum(used) - 1)[faces],
        uv=uv[used],
        tint=surface.tint[used],
        normals=None if surface.normals is None else surface.normals[used],
    )


def _with_normals(surface: Surface) -> Surface:
    """Derive normals where the surface has none or bad ones; otherwise wind as they say."""
    vertices, faces, normals = surface.vertices, surface.faces, surface.normals
    if normals is not None and (np.abs(np.linalg.norm(normals, axis=1) - 1) < 0.01).all():
        # Mirrored parts contradict their normals.
        against = (_cross(vertices, faces) * normals[faces].sum(axis=1)).sum(axis=1) < 0
        return replace(surface, faces=np.where(against[:, None], faces[:, ::-1], faces))
    from bridge.simulator.meshes.normals import smooth_between_creases

    source, normals, faces = smooth_between_creases(vertices, faces)
    return replace(
        surface,
        vertices=vertices[source],
        faces=faces,
        uv=_need(surface.uv)[source],
        tint=surface.tint[source],
        normals=normals,
    )


def _cross(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = vertices[faces].swapaxes(0, 1)
    return np.cross(b - a, c - a)


def _join(parts: Sequence[Surface], remarks: Sequence[Remark]) -> Mesh:
    from bridge.simulator.meshes.closed_parts import closed_parts

    textures = {id(part.texture): part.texture for part in parts if part.texture is not None}
    row = {key: i for i, key in enumerate(textures)}
    texels, mips = pack_textures(list(textures.values()))
    holed = {key: has_holes(texture) for key, texture in textures.items()}
    sizes = [len(part.faces) for part in parts]
    starts = np.cumsum([0] + [len(part.vertices) for part in parts])
    vertices = _stack([part.vertices for part in parts])
    normals = _stack([_need(part.normals) for part in parts])
    faces = np.concatenate([p.faces + start for p, start in zip(parts, starts, strict=False)])
    cutout = np.repeat([holed.get(id(part.texture), False) for part in parts], sizes)
    closed, inside_out = closed_parts(vertices, faces, cutout)
    faces = np.where(inside_out[:, None], faces[:, ::-1], faces)
    normals[_used(faces[inside_out], len(vertices))] *= -1
    return Mesh(
        vertices=vertices,
        normals=normals,
        uv=_stack([_need(part.uv) for part in parts]),
        tint=_stack([part.tint for part in parts]),
        faces=np.ascontiguousarray(faces, np.int32),
        face_texture=np.repeat([row.get(id(p.texture), -1) for p in parts], sizes).astype(np.int32),
        face_cutout=cutout,
        face_one_sided=closed,
        texels=texels,
        mips=mips,
        adjusted=tuple(remarks),
    )


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate(arrays), np.float32)


def _need(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    return array
