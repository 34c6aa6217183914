"""Primitives of glTF meshes: triangles, and what their vertices bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridge.simulator.meshes.gltf_accessors import is_stored, read_accessor
from bridge.simulator.meshes.gltf_file import GltfFile, Record, extension, field, records
from bridge.simulator.meshes.surface import MeshError

_DRACO = "KHR_draco_mesh_compression"
_TRIANGLES, _STRIP, _FAN = 4, 5, 6


@dataclass(frozen=True)
class Shape:
    """The triangles of a primitive, in the coordinates of its mesh.

    Attributes:
        vertices: float64 [V, 3].
        faces: int64 [F, 3].
        normals: float64 [V, 3], or None.
        joints, weights: [V, K], which joints of a skin move a vertex and how much; or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray | None
    joints: np.ndarray | None
    weights: np.ndarray | None


def read_shape(file: GltfFile, primitive: Record, morph: np.ndarray | None) -> Shape | None:
    """The shape of a primitive; None where it has no triangles.

    Args:
        file: the file.
        primitive: of one of its meshes.
        morph: weights of the primitive's morph targets; None leaves them out.

    Raises:
        MeshError: it is compressed or damaged.
    """
    attributes = field(primitive, "attributes", dict)
    mode = field(primitive, "mode", int, _TRIANGLES)
    if not 0 <= mode <= _FAN:
        raise MeshError("unreadable", f"{mode} is no mode of a primitive in glTF")
    if "POSITION" not in attributes or mode < _TRIANGLES:
        return None
    _refuse_compressed(file, primitive, attributes)
    positions = read_accessor(file, field(attributes, "POSITION", int), ["VEC3"])
    vertices, count = positions.astype(np.float64), len(positions)
    normals = read_attribute(file, attributes, "NORMAL", ["VEC3"], count)
    normals = None if normals is None else normals.astype(np.float64)
    targets = records(primitive, "targets")
    for weight, target in zip(() if morph is None else morph, targets, strict=False):
        for name, values in (("POSITION", vertices), ("NORMAL", normals)):
            change = read_attribute(file, target, name, ["VEC3"], count) if weight else None
            if change is not None and values is not None:
                values += weight * change
    joints, weights = _skin(file, attributes, count)
    return Shape(vertices, _faces(file, primitive, mode, count), normals, joints, weights)


def read_attribute(
    file: GltfFile,
    attributes: Record,
    name: str,
    kinds: Sequence[str],
    count: int,
    *,
    shares: bool = False,
) -> np.ndarray | None:
    """What the `count` vertices have under a name, as by `read_accessor`; None where nothing."""
    if name not in attributes:
        return None
    values = read_accessor(file, field(attributes, name, int), kinds, shares=shares)
    if len(values) != count:
        raise MeshError("unreadable", f"{count:,} vertices have {len(values):,} values of {name}")
    return values


def _refuse_compressed(file: GltfFile, primitive: Record, attributes: Record) -> None:
    if extension(primitive, _DRACO) is None:
        return
    used = [field(attributes, name, int) for name in attributes]
    used += [field(primitive, "indices", int)] if "indices" in primitive else []
    # Some files have the same uncompressed, for those who cannot read it.
    if not all(is_stored(file, number) for number in used):
        raise MeshError("unreadable", f"it needs the glTF extension {_DRACO}")


def _faces(file: GltfFile, primitive: Record, mode: int, count: int) -> np.ndarray:
    """Triangles between `count` vertices, int64 [F, 3]."""
    order = np.arange(count)
    if "indices" in primitive:
        order = read_accessor(file, field(primitive, "indices", int), ["SCALAR"]).ravel()
        if order.dtype.kind != "u":
            raise MeshError("unreadable", "the numbers of its vertices are no whole numbers")
        order = order.astype(np.int64)
    if order.size and order.max() >= count:
        raise MeshError("bad_geometry", "a triangle names a vertex that does not exist")
    if mode == _TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    first = np.arange(max(len(order) - 2, 0))
    odd = first % 2
    corners = [first, first + 1 + odd, first + 2 - odd]
    if mode == _FAN:
        corners = [first + 1, first + 2, 0 * first]
    return order[np.stack(corners, axis=1)]


def _skin(
    file: GltfFile, attributes: Record, count: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """All sets of joints and of their weights, side by side; weights add up to 1."""
    joints: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    while f"JOINTS_{len(joints)}" in attributes and f"WEIGHTS_{len(joints)}" in attributes:
        joint = field(attributes, f"JOINTS_{len(joints)}", int)
        weight = field(attributes, f"WEIGHTS_{len(joints)}", int)
        joints.append(read_accessor(file, joint, ["VEC4"]))
        weights.append(read_accessor(file, weight, ["VEC4"], shares=True))
        if joints[-1].dtype.kind != "u" or not count == len(joints[-1]) == len(weights[-1]):
            raise MeshError("unreadable", "its joints do not belong to its vertices")
    if not joints:
        return None, None
    shares = np.concatenate(weights, axis=1).astype(np.float64)
    total = shares.sum(axis=1, keepdims=True)
    # What no joint claims goes with the first.
    first = np.eye(1, shares.shape[1])
    shares = np.where(total > 0, shares / np.where(total > 0, total, 1), first)
    return np.concatenate(joints, axis=1), shares
