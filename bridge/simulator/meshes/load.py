"""Reading an object from a glTF or OBJ file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridge.common.errors import StoreError
from bridge.common.places import place
from bridge.simulator.config import ObjectRule
from bridge.simulator.meshes.gltf import read_gltf
from bridge.simulator.meshes.mesh import Mesh, build_mesh
from bridge.simulator.meshes.obj import read_obj
from bridge.simulator.meshes.surface import MeshError, Remark, Surface

VISIBLE_STEP = 0.1
"""Colours of materials differ visibly where red, green or blue of what a screen shows, in 0..1,
differ by so much."""


def load_mesh(path: str | Path, objects: ObjectRule = "textured") -> Mesh:
    """Read, join and normalise every part of a file.

    Parts without a texture keep the colour of their material. Transparency becomes holes where
    alpha is below a half; parts that are nowhere that opaque (glass) are drawn whole, and what has
    an opacity of 0 not at all.

    Args:
        path: a .glb, .gltf or .obj file, local or on an object store.
        objects: what the file must have: a texture or vertex colours ("textured"), or those or
            materials whose colours differ by `VISIBLE_STEP` ("coloured"), or nothing ("any").

    Raises:
        MeshError: with the reason "unreadable", "no_faces", "no_texture" or "bad_geometry".
        StoreError: the object store refuses or does not answer.
    """
    file = place(path)
    try:
        surfaces, remarks = (read_obj if file.suffix.lower() == ".obj" else read_gltf)(file)
    except (MeshError, StoreError):
        raise
    # A damaged file fails anywhere in the parsers of the mesh, its JSON and its pictures, each
    # with exceptions of its own; all of them mean the same to the caller.
    except Exception as error:
        raise MeshError("unreadable", f"{type(error).__name__}: {error}") from error
    if surfaces:
        _refuse_plain(surfaces, remarks, objects)
    try:
        return build_mesh(surfaces, tuple(remarks))
    except MeshError:
        raise
    # What the parsers let through, or what does not fit into memory, is one file's fault and must
    # not end a run over thousands.
    except Exception as error:
        raise MeshError("bad_geometry", f"{type(error).__name__}: {error}") from error


def _refuse_plain(
    surfaces: Sequence[Surface], remarks: Sequence[Remark], objects: ObjectRule
) -> None:
    """Raise MeshError where an object has less than the rule asks for."""
    if objects == "any" or any(s.texture is not None or s.tint.ndim > 1 for s in surfaces):
        return
    differ = np.ptp([surface.tint for surface in surfaces], axis=0).max() >= VISIBLE_STEP
    if objects == "coloured" and differ:
        return
    lacks = "neither a texture nor vertex colours"
    if objects == "coloured":
        lacks += " nor materials whose colours differ visibly"
    known = "".join(f" ({reason}: {detail})" for reason, detail in remarks)
    enough = "coloured" if differ else "any"
    raise MeshError("no_texture", f"{lacks}{known}; `objects` {enough} takes it")
