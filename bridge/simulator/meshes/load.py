"""Reading an object from a glTF or OBJ file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bridge.simulator.meshes.gltf import read_gltf
from bridge.simulator.meshes.materials import Material, display
from bridge.simulator.meshes.mesh import Mesh, build_mesh
from bridge.simulator.meshes.obj import read_obj
from bridge.simulator.meshes.surface import MeshError, Remark, Surface


def load_mesh(path: str | Path) -> Mesh:
    """Read, join and normalise every part of a file.

    Parts without a texture keep the colour of their material, but something in the file must have
    a texture or vertex colours. Transparency becomes holes where alpha is below a half; parts that
    are nowhere that opaque (glass) and parts with a transparent colour are drawn whole.

    Args:
        path: a .glb, .gltf or .obj file.

    Raises:
        MeshError: with the reason "unreadable", "no_faces", "no_texture" or "bad_geometry".
    """
    file = Path(path)
    try:
        surfaces, remarks = (read_obj if file.suffix.lower() == ".obj" else _read_gltf)(file)
    except MeshError:
        raise
    # A damaged file fails anywhere in the parsers of the mesh, its JSON and its pictures, each
    # with exceptions of its own; all of them mean the same to the caller.
    except Exception as error:
        raise MeshError("unreadable", f"{type(error).__name__}: {error}") from error
    if surfaces and all(s.texture is None and s.tint.ndim == 1 for s in surfaces):
        known = "".join(f" ({reason}: {detail})" for reason, detail in remarks)
        raise MeshError("no_texture", f"neither a texture nor vertex colours{known}")
    try:
        return build_mesh(surfaces, tuple(remarks))
    except MeshError:
        raise
    # What the parsers let through, or what does not fit into memory, is one file's fault and must
    # not end a run over thousands.
    except Exception as error:
        raise MeshError("bad_geometry", f"{type(error).__name__}: {error}") from error


def _read_gltf(file: Path) -> tuple[list[Surface], list[Remark]]:
    """The surfaces of a glTF file, and what of it could not be had."""
    import trimesh

    scene, material_of = read_gltf(file)
    remarks: dict[Remark, None] = {}
    surfaces = []
    for transform, name in (scene.graph[node] for node in scene.graph.nodes_geometry):
        part = scene.geometry[name]
        if isinstance(part, trimesh.Trimesh):
            material = material_of(part)
            remarks |= dict.fromkeys(material.remarks)
            surfaces.append(_surface(part, transform, material))
            if material.texture is not None and surfaces[-1].texture is None:
                remarks[("missing_uv", str(name))] = None
    return surfaces, list(remarks)


def _surface(part: Any, transform: np.ndarray, material: Material) -> Surface:
    """A trimesh geometry in the coordinates of its scene."""
    linear = transform[:3, :3]
    normals = written_normals(part)
    faces = np.asarray(part.faces)
    if normals is not None:
        normals = normals @ np.linalg.inv(linear)
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    elif np.linalg.det(linear) < 0:
        faces = faces[:, ::-1]
    uv = _coordinates(part, material)
    return Surface(
        vertices=part.vertices @ linear.T + transform[:3, 3],
        faces=faces,
        uv=uv,
        tint=_tint(part, material),
        normals=normals,
        texture=None if uv is None else material.texture,
    )


def written_normals(part: Any) -> np.ndarray | None:
    """The normals [V, 3] that a file brought for a part; None where it brought none.

    trimesh computes missing ones on access, smooth over every edge, and tells them from those of
    the file in its private cache only.
    """
    return part.vertex_normals if "vertex_normals" in part._cache else None


def _coordinates(part: Any, material: Material) -> np.ndarray | None:
    uv = getattr(part.visual, "uv", None)
    if material.texture is None or uv is None or len(uv) != len(part.vertices):
        return None
    uv = np.asarray(uv, np.float64)
    if material.uv_transform is None:
        return uv
    return uv @ material.uv_transform[:, :2].T + material.uv_transform[:, 2]


def _tint(part: Any, material: Material) -> np.ndarray:
    """Colour of the material times vertex colours, [3] or [V, 3]."""
    if part.visual.kind == "vertex":
        colours = part.visual.vertex_colors
    else:
        colours = getattr(part.visual, "vertex_attributes", {}).get("color")
    if colours is None:
        return material.tint
    return material.tint * display(colours)[:, :3]
