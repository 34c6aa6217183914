"""Reading an object from a GLB or OBJ file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bridge.simulator.mesh import Mesh, MeshError, Surface, build_mesh

DISPLAY_GAMMA = 1 / 2.2


def load_mesh(path: str | Path) -> Mesh:
    """Read, join and normalise every textured or coloured part of a file.

    Args:
        path: a .glb or .obj file with a texture or vertex colours.

    Raises:
        MeshError: with the reason "unreadable", "no_faces", "no_texture" or "bad_geometry".
    """
    import trimesh

    try:
        scene = trimesh.load_scene(str(path), process=False)
        surfaces = [
            _surface(scene.geometry[name], transform)
            for transform, name in (scene.graph[node] for node in scene.graph.nodes_geometry)
            if isinstance(scene.geometry[name], trimesh.Trimesh)
        ]
    # A damaged file fails anywhere in the parsers of the mesh, its JSON and its pictures, each
    # with exceptions of its own; all of them mean the same to the caller.
    except Exception as error:
        raise MeshError("unreadable", f"{type(error).__name__}: {error}") from error
    if surfaces and all(s.texture is None and s.tint.ndim == 1 for s in surfaces):
        raise MeshError("no_texture", "neither a texture nor vertex colours")
    return build_mesh(surfaces)


def _surface(part: Any, transform: np.ndarray) -> Surface:
    """A trimesh geometry in the coordinates of its scene."""
    linear = transform[:3, :3]
    # trimesh computes missing normals on access, smooth over every edge; only its cache tells
    # whether the file brought its own.
    normals = part.vertex_normals if "vertex_normals" in part._cache else None
    faces = np.asarray(part.faces)
    if normals is not None:
        normals = normals @ np.linalg.inv(linear)
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    elif np.linalg.det(linear) < 0:
        faces = faces[:, ::-1]
    material = _material(part)
    texture = _texture(material)
    uv = getattr(part.visual, "uv", None)
    if uv is None or len(uv) != len(part.vertices):
        texture = None
    return Surface(
        vertices=part.vertices @ linear.T + transform[:3, 3],
        faces=faces,
        uv=None if texture is None else np.asarray(uv),
        tint=_tint(part, material),
        normals=normals,
        texture=texture,
    )


def _material(part: Any) -> Any:
    """The physically based material of a part, or None."""
    material: Any = getattr(part.visual, "material", None)
    return material.to_pbr() if hasattr(material, "to_pbr") else material


def _texture(material: Any) -> np.ndarray | None:
    picture = getattr(material, "baseColorTexture", None)
    return None if picture is None else np.asarray(picture.convert("RGB"))


def _tint(part: Any, material: Any) -> np.ndarray:
    """Base colour times vertex colours, [3] or [V, 3]; both are linear light in files."""
    tint = np.ones(3)
    factor = getattr(material, "baseColorFactor", None)
    if factor is not None:
        tint = _display(factor)[:3]
    if part.visual.kind == "vertex":
        return tint * _display(part.visual.vertex_colors)[:, :3]
    beside_texture = getattr(part.visual, "vertex_attributes", {}).get("color")
    return tint if beside_texture is None else tint * _display(beside_texture)[:, :3]


def _display(colour: np.ndarray) -> np.ndarray:
    values = np.asarray(colour)
    scale = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1
    return np.clip(values / scale, 0, 1) ** DISPLAY_GAMMA
