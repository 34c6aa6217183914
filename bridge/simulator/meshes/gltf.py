"""Reading glTF 2.0 as its standard has it.

The JSON is read here, because trimesh leaves out skins, morph targets, fans, sparse values over
others, wrapping modes, instances, visibility and what stands below a camera, and says so nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bridge.common.places import Place
from bridge.simulator.meshes.gltf_file import GltfFile, Record, field, records
from bridge.simulator.meshes.gltf_materials import GltfMaterial, read_material
from bridge.simulator.meshes.gltf_primitives import Shape, read_attribute, read_shape
from bridge.simulator.meshes.gltf_scene import Placed, morph_weights, placed_meshes
from bridge.simulator.meshes.materials import display
from bridge.simulator.meshes.surface import MeshError, Remark, Surface

MAX_COPIED_TRIANGLES = 5_000_000
"""Of all instances of one mesh; a handful of bytes can ask for more than any memory holds."""

_LEAST_COUNTED = 500
"""Triangles that an instance counts as at least."""


def read_gltf(path: Place) -> tuple[list[Surface], list[Remark]]:
    """The surfaces of a .glb or .gltf file in its scene, and what of it could not be had.

    Raises:
        MeshError: it is damaged, or needs an extension that is not supported.
        OSError: a file that it needs cannot be read.
    """
    file = GltfFile(path)
    materials: dict[int | None, GltfMaterial] = {None: GltfMaterial()}
    surfaces: list[Surface] = []
    remarks: dict[Remark, None] = {}
    for placed in placed_meshes(file):
        mesh = file.row("meshes", placed.mesh)
        morph = morph_weights(mesh) if placed.weights is None else placed.weights
        for primitive in records(mesh, "primitives"):
            shape = read_shape(file, primitive, morph)
            if shape is None:
                continue
            number = field(primitive, "material", int) if "material" in primitive else None
            if number not in materials:
                assert number is not None
                materials[number] = read_material(file, number)
            material = materials[number]
            remarks |= dict.fromkeys(material.remarks)
            painted = _painted(file, primitive, shape, material)
            if not len(painted.faces):
                continue
            if material.texture is not None and painted.texture is None:
                name = field(mesh, "name", str, "") or f"mesh {placed.mesh}"
                remarks[("missing_uv", name)] = None
            surfaces += _standing(painted, shape, placed)
    return surfaces, list(remarks)


def _painted(file: GltfFile, primitive: Record, shape: Shape, material: GltfMaterial) -> Surface:
    """What can be seen of a primitive, in the coordinates of its mesh."""
    attributes, count = field(primitive, "attributes", dict), len(shape.vertices)
    faces, tint = shape.faces, material.tint
    opacity = np.ones(count)
    colours = read_attribute(file, attributes, "COLOR_0", ["VEC4", "VEC3"], count, shares=True)
    if colours is not None:
        tint = material.tint * display(np.nan_to_num(colours))[:, :3]
        opacity = colours[:, 3] if colours.shape[1] == 4 else opacity
    faces = faces[(opacity >= material.least_opacity)[faces].any(axis=1)]
    uv, texture = None, None
    if material.texture is not None:
        given = read_attribute(file, attributes, material.coordinates, ["VEC2"], count)
        if given is not None:
            uv = _coordinates(given, material)
            texture, uv = material.texture.repeating(uv, faces)
    return Surface(shape.vertices, faces, uv, tint, shape.normals, texture)


def _coordinates(given: np.ndarray, material: GltfMaterial) -> np.ndarray:
    """Texture coordinates with v pointing up, float64 [V, 2]."""
    if given.dtype.kind != "f":
        given = given.astype(np.float64)
    uv = np.stack([given[:, 0], 1 - given[:, 1]], axis=1).astype(np.float64)
    if material.uv_transform is None:
        return uv
    return uv @ material.uv_transform[:, :2].T + material.uv_transform[:, 2]


def _standing(surface: Surface, shape: Shape, placed: Placed) -> Iterator[Surface]:
    """A surface wherever the scene has it."""
    if placed.joints is not None and shape.joints is not None and shape.weights is not None:
        if shape.joints.max(initial=0) >= len(placed.joints):
            raise MeshError("unreadable", "a vertex names a joint that its skin does not have")
        # As the standard says, joints alone place what they move, not the node that it is at.
        matrices = np.zeros((len(shape.vertices), 4, 4))
        for joint, weight in zip(shape.joints.T, shape.weights.T, strict=True):
            matrices += weight[:, None, None] * placed.joints[joint]
        yield _moved(surface, matrices)
        return
    copies = len(placed.matrices)
    if copies > 1 and copies * max(len(surface.faces), _LEAST_COUNTED) > MAX_COPIED_TRIANGLES:
        raise MeshError("unreadable", f"{copies:,} instances of a mesh are too many")
    for matrix in placed.matrices:
        # A scale of zero hides, as a rule at the place where the animation begins.
        if np.isfinite(matrix).all() and np.linalg.matrix_rank(matrix[:3, :3]) > 1:
            yield _moved(surface, matrix)


def _moved(surface: Surface, matrix: np.ndarray) -> Surface:
    """The surface moved by one matrix [4, 4], or each vertex by its own, [V, 4, 4]."""
    linear, shift = matrix[..., :3, :3], matrix[..., :3, 3]
    vertices, faces, normals = surface.vertices, surface.faces, surface.normals
    sizes = np.linalg.det(linear)
    if normals is not None and (sizes != 0).all():
        normals = _each(np.linalg.inv(linear).swapaxes(-1, -2), normals)
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    else:
        normals = None
        faces = faces[:, ::-1] if np.mean(sizes) < 0 else faces
    return Surface(
        _each(linear, vertices) + shift, faces, surface.uv, surface.tint, normals, surface.texture
    )


def _each(linear: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vectors [V, 3] by one matrix, or each by its own."""
    if linear.ndim == 2:
        return vectors @ linear.T
    return np.einsum("vij,vj->vi", linear, vectors)
