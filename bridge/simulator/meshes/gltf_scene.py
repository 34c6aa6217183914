"""Scenes of glTF files: where their meshes stand, and which joints move them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bridge.simulator.meshes.gltf_accessors import read_accessor
from bridge.simulator.meshes.gltf_file import (
    GltfFile,
    Record,
    extension,
    field,
    numbers,
    records,
    whole_numbers,
)
from bridge.simulator.meshes.surface import MeshError


@dataclass(frozen=True)
class Placed:
    """A mesh at a node.

    Attributes:
        mesh: its number.
        matrices: [N, 4, 4], from the mesh to the scene, for each copy of it.
        joints: [J, 4, 4], from the mesh to the scene by each joint of the skin, or None.
        weights: of the mesh's morph targets, where the node has its own.
    """

    mesh: int
    matrices: np.ndarray
    joints: np.ndarray | None
    weights: np.ndarray | None


def placed_meshes(file: GltfFile) -> Iterator[Placed]:
    """The meshes of the scene that is shown, at rest; nodes that are not visible are left out.

    Raises:
        MeshError: a node stands in two places, or within itself.
    """
    nodes = records(file.header, "nodes")
    parents = _parents(nodes)
    matrices = _matrices(nodes, parents)
    stack = _roots(file, parents)
    seen: set[int] = set()
    while stack:
        number = stack.pop()
        node = file.row("nodes", number)
        if number in seen:
            raise MeshError("unreadable", f"its nodes[{number}] stands in two places")
        seen.add(number)
        visibility = extension(node, "KHR_node_visibility") or {}
        if not field(visibility, "visible", bool, True):
            continue
        stack += whole_numbers(node, "children")
        if "mesh" in node:
            yield Placed(
                field(node, "mesh", int),
                matrices[number] @ _copies(file, node),
                _joints(file, node, matrices),
                morph_weights(node),
            )


def morph_weights(record: Record) -> np.ndarray | None:
    """The weights of morph targets that a node or a mesh gives."""
    if "weights" not in record:
        return None
    return numbers(record, "weights", [0] * len(field(record, "weights", list)))


def _parents(nodes: list[Record]) -> list[int]:
    """The parent of each node; -1 for roots."""
    parents = [-1] * len(nodes)
    for number, node in enumerate(nodes):
        for child in whole_numbers(node, "children"):
            if not 0 <= child < len(nodes):
                raise MeshError("unreadable", f"it has no nodes[{child}]")
            if parents[child] >= 0:
                raise MeshError("unreadable", f"its nodes[{child}] has two parents")
            parents[child] = number
    return parents


def _matrices(nodes: list[Record], parents: list[int]) -> np.ndarray:
    """From each node to the scene, [N, 4, 4]."""
    matrices = np.empty((len(nodes), 4, 4))
    order = [number for number, parent in enumerate(parents) if parent < 0]
    for number in order:
        local = _local(nodes[number])
        parent = parents[number]
        matrices[number] = local if parent < 0 else matrices[parent] @ local
        order += whole_numbers(nodes[number], "children")
    if len(order) < len(nodes):
        raise MeshError("unreadable", "a node of it is within itself")
    return matrices


def _roots(file: GltfFile, parents: list[int]) -> list[int]:
    scenes = records(file.header, "scenes")
    if not scenes:
        return [number for number, parent in enumerate(parents) if parent < 0]
    # A copy, since it is used up.
    return [*whole_numbers(file.row("scenes", field(file.header, "scene", int, 0)), "nodes")]


def _local(node: Record) -> np.ndarray:
    """From a node to its parent, [4, 4]."""
    if "matrix" in node:
        return numbers(node, "matrix", np.eye(4).ravel().tolist()).reshape(4, 4).T
    rotation = numbers(node, "rotation", [0, 0, 0, 1])[None]
    scale = numbers(node, "scale", [1, 1, 1])[None]
    return _composed(numbers(node, "translation", [0, 0, 0])[None], rotation, scale)[0]


def _composed(translation: np.ndarray, rotation: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Scaled, then turned by quaternions [N, 4] (x, y, z, w), then moved: [N, 4, 4]."""
    length = np.linalg.norm(rotation, axis=1, keepdims=True)
    still = np.array([0.0, 0, 0, 1])
    x, y, z, w = np.where(length > 0, rotation / np.where(length > 0, length, 1), still).T
    turned = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrices = np.tile(np.eye(4), (len(rotation), 1, 1))
    matrices[:, :3, :3] = turned.transpose(2, 0, 1) * scale[:, None, :]
    matrices[:, :3, 3] = translation
    return matrices


def _copies(file: GltfFile, node: Record) -> np.ndarray:
    """Where the copies of a node's mesh stand in the node, [N, 4, 4]."""
    instancing = extension(node, "EXT_mesh_gpu_instancing")
    if instancing is None:
        return np.eye(4)[None]
    attributes = field(instancing, "attributes", dict)
    default = {"TRANSLATION": [0.0, 0, 0], "ROTATION": [0.0, 0, 0, 1], "SCALE": [1.0, 1, 1]}
    given = {
        name: read_accessor(file, field(attributes, name, int), [f"VEC{len(default[name])}"])
        for name in default
        if name in attributes
    }
    lengths = {len(values) for values in given.values()}
    if len(lengths) != 1:
        raise MeshError("unreadable", "the instances of a mesh are not of one number")
    (count,) = lengths
    values = [given.get(name, np.tile(row, (count, 1))) for name, row in default.items()]
    return _composed(*(value.astype(np.float64) for value in values))


def _joints(file: GltfFile, node: Record, matrices: np.ndarray) -> np.ndarray | None:
    """From a mesh to the scene by each joint of its node's skin, [J, 4, 4]."""
    if "skin" not in node:
        return None
    skin = file.row("skins", field(node, "skin", int))
    joints = whole_numbers(skin, "joints")
    if not all(0 <= joint < len(matrices) for joint in joints):
        raise MeshError("unreadable", "a joint of its skin is no node")
    if "inverseBindMatrices" not in skin:
        return matrices[joints]
    columns = read_accessor(file, field(skin, "inverseBindMatrices", int), ["MAT4"])
    if len(columns) < len(joints):
        raise MeshError("unreadable", "its skin has more joints than inverse bind matrices")
    inverse = columns[: len(joints)].astype(np.float64).reshape(-1, 4, 4)
    return matrices[joints] @ inverse.swapaxes(1, 2)
