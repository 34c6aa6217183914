"""The objects that can be simulated: files in a folder, or the built-in procedural ones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bridge.common.errors import InputError
from bridge.simulator.config import ObjectRule
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.objects.procedural import FAMILIES, procedural_mesh

MESH_SUFFIXES = (".glb", ".gltf", ".obj")
"""Of mesh files, in order of preference."""
MAX_DEPTH = 3
"""Levels of folders, from the object's own, in which its mesh is looked for."""


@dataclass(frozen=True)
class ObjectEntry:
    """An object by name; small enough to travel to any worker.

    Attributes:
        object_id: `<category>/<name>`.
        category: what kind of object it is.
        path: its mesh file; None for a procedural object.
        seed, instance: which procedural object of the category it is.
        rule: what colours its mesh file must have.
    """

    object_id: str
    category: str
    path: str | None = None
    seed: int = 0
    instance: int = 0
    rule: ObjectRule = "textured"

    def load(self) -> Mesh:
        """Read or make the mesh.

        Raises:
            MeshError: the file cannot be rendered.
        """
        if self.path is None:
            return procedural_mesh(self.seed, self.category, self.instance)
        return load_mesh(self.path, self.rule)


def scan_meshes(folder: str | Path) -> list[ObjectEntry]:
    """The objects of a mesh collection, sorted by id.

    An object is a mesh file `<category>/<object>.glb` (or .gltf, .obj), or a folder
    `<category>/<object>` with a mesh in it. A folder with `models/model_normalized.obj` is a model
    of ShapeNetCore.v2, which counts only if it has an `images` folder, that is, textures. Objects
    without a level of categories (mesh files in the folder itself, or Google Scanned Objects'
    `<object>/meshes/model.obj`) are of one category with the folder's own name.

    Of several meshes of one object the least deep counts, a file before a folder of its name; at
    one depth the first by name; of one name .glb before .gltf before .obj. Names that begin with
    "." or "__" or cannot be printed are passed over.

    Raises:
        InputError: the folder is missing or holds no mesh, its own name cannot be printed but is
            needed, two objects of different places have one id, or most objects would be folders
            of several meshes, which is how a collection looks from one level too high.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"The mesh folder {root} does not exist.")
    subfolders, meshes = _listing(str(root))
    objects = [path for path in subfolders if _is_object(path)]
    crowded: list[str] = []
    entries = _category(str(root), objects, meshes, crowded)
    for path in set(subfolders) - set(objects):
        entries += _category(path, *_listing(path), crowded)
    if not entries:
        raise InputError(
            f"The mesh folder {root} holds no <category>/<object>.glb, .gltf or .obj file, "
            "no <category>/<object> folder with one, and no ShapeNet model with textures."
        )
    if len(crowded) > max(1, len(entries) // 2):
        raise InputError(
            f"Most objects of {root} would be folders of several meshes, such as {crowded[0]}: "
            "name the folder one level down."
        )
    entries.sort(key=lambda entry: (entry.object_id, entry.path))
    for one, other in pairwise(entries):
        if one.object_id == other.object_id:
            raise InputError(
                f"Both {one.path} and {other.path} would be the object {one.object_id}."
            )
    return entries


def select_categories(entries: Sequence[ObjectEntry], number: int) -> list[ObjectEntry]:
    """The objects of the `number` categories that have the most, ties by name (paper Sec. 4).

    Raises:
        InputError: there are fewer categories.
    """
    sizes = Counter(entry.category for entry in entries)
    if number > len(sizes):
        raise InputError(f"There are {len(sizes)} categories of objects, not {number}.")
    largest = set(sorted(sizes, key=lambda category: (-sizes[category], category))[:number])
    return [entry for entry in entries if entry.category in largest]


def procedural_objects(per_category: int, seed: int, first: int = 0) -> list[ObjectEntry]:
    """Instances first..first + per_category - 1 of every built-in family, sorted by id."""
    return [
        ObjectEntry(f"{category}/{instance:05d}", category, None, seed, instance)
        for category in sorted(FAMILIES)
        for instance in range(first, first + per_category)
    ]


def _category(
    folder: str, subfolders: Sequence[str], meshes: Sequence[str], crowded: list[str]
) -> list[ObjectEntry]:
    """The objects in subfolders and mesh files of a category, which has the folder's name.

    Subfolders with several meshes to choose from are added to `crowded`.
    """
    category = Path(folder).resolve().name
    found = [(Path(mesh).stem, mesh) for mesh in meshes]
    for path in subfolders:
        choice = _meshes_of(path)
        found += [(Path(path).name, mesh) for mesh in choice[:1]]
        crowded += [path] if len({Path(mesh).stem for mesh in choice}) > 1 else []
    if found and not category.isprintable():
        raise InputError(f"The name {category!r} cannot be part of an id; rename {folder!r}.")
    paths: dict[str, str] = {}
    for name, path in found:
        paths.setdefault(name, path)
    return [ObjectEntry(f"{category}/{name}", category, path) for name, path in paths.items()]


def _is_object(folder: str) -> bool:
    """Whether a folder is one object's rather than a category's, as its subfolders are named."""
    parts = (os.path.join(folder, name) for name in ("meshes", "models"))
    return any(os.path.isdir(part) and _listing(part)[1] for part in parts)


def _meshes_of(folder: str) -> list[str]:
    """The mesh files that an object's folder may stand for, the preferred one first."""
    shapenet = os.path.join(folder, "models", "model_normalized.obj")
    if os.path.isfile(shapenet):
        return [shapenet] if os.path.isdir(os.path.join(folder, "images")) else []
    level = [folder]
    for _ in range(MAX_DEPTH):
        listings = [_listing(path) for path in level]
        meshes = [mesh for _, found in listings for mesh in found]
        if meshes:
            return meshes
        level = [path for subfolders, _ in listings for path in subfolders]
    return []


def _listing(folder: str) -> tuple[list[str], list[str]]:
    """Paths of the subfolders and of the mesh files in a folder, in order of preference."""
    subfolders, meshes = [], []
    with os.scandir(folder) as items:
        for item in sorted(items, key=lambda item: item.name):
            if item.name.startswith((".", "__")) or not item.name.isprintable():
                continue
            if item.is_dir():
                subfolders.append(item.path)
            elif item.name.lower().endswith(MESH_SUFFIXES):
                meshes.append(item.path)
    return subfolders, sorted(meshes, key=_preference)


def _preference(mesh: str) -> tuple[str, int]:
    name, suffix = os.path.splitext(mesh)
    return name, MESH_SUFFIXES.index(suffix.lower())
