"""The objects that can be simulated: files in a folder, or the built-in procedural ones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import InputError
from bridge.simulator.mesh import Mesh
from bridge.simulator.mesh_file import MESH_SUFFIXES, load_mesh
from bridge.simulator.procedural import FAMILIES, procedural_mesh

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
    """

    object_id: str
    category: str
    path: str | None = None
    seed: int = 0
    instance: int = 0

    def load(self) -> Mesh:
        """Read or make the mesh.

        Raises:
            MeshError: the file cannot be rendered.
        """
        if self.path is None:
            return procedural_mesh(self.seed, self.category, self.instance)
        return load_mesh(self.path)


def scan_meshes(folder: str | Path) -> list[ObjectEntry]:
    """The objects of a mesh collection, sorted by id.

    An object is a mesh file `<category>/<object>.glb` (or .gltf, .obj), or a folder
    `<category>/<object>` with one mesh in it; of meshes at different depths the least deep counts.
    A folder with `models/model_normalized.obj` is a model of ShapeNetCore.v2, which counts only if
    it has an `images` folder, that is, textures. Where there is no level of categories (a folder of
    mesh files, or Google Scanned Objects' `<object>/meshes/model.obj`), the folder itself is the
    one category. Names that begin with "." or "__" are passed over.

    Raises:
        InputError: the folder is missing, holds no mesh, or an id would be ambiguous or unusable.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"The mesh folder {root} does not exist.")
    subfolders, _ = _listing(str(root))
    categories = [path for path in subfolders if not _is_object(path)]
    entries = [entry for path in categories for entry in _category(path)]
    entries = entries or _category(str(root))
    if not entries:
        raise InputError(
            f"The mesh folder {root} holds no <category>/<object>.glb, .gltf or .obj file, "
            "no <category>/<object> folder with one, and no ShapeNet model with textures."
        )
    return sorted(entries, key=lambda entry: entry.object_id)


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


def _category(folder: str) -> list[ObjectEntry]:
    """The objects of one category, which has the folder's name."""
    category = Path(folder).resolve().name
    subfolders, meshes = _listing(folder)
    found = [(Path(mesh).stem, mesh) for mesh in meshes]
    found += [(Path(path).name, mesh) for path in subfolders if (mesh := _mesh_of(path))]
    paths: dict[str, str] = {}
    for name, path in found:
        object_id = f"{category}/{name}"
        if not object_id.isprintable():
            raise InputError(f"The name {object_id!r} cannot be an id; rename {path!r}.")
        if name in paths:
            raise InputError(f"Both {paths[name]} and {path} would be the object {object_id}.")
        paths[name] = path
    return [ObjectEntry(f"{category}/{name}", category, path) for name, path in paths.items()]


def _is_object(folder: str) -> bool:
    """Whether a folder is one object's rather than a category's, as its subfolders are named."""
    parts = (os.path.join(folder, name) for name in ("meshes", "models"))
    return any(os.path.isdir(part) and _listing(part)[1] for part in parts)


def _mesh_of(folder: str) -> str | None:
    """The mesh file of an object's folder, if it has one."""
    shapenet = os.path.join(folder, "models", "model_normalized.obj")
    if os.path.isfile(shapenet):
        return shapenet if os.path.isdir(os.path.join(folder, "images")) else None
    level = [folder]
    for _ in range(MAX_DEPTH):
        listings = [_listing(path) for path in level]
        meshes = [mesh for _, found in listings for mesh in found]
        if len(meshes) > 1:
            raise InputError(
                f"The object folder {folder} holds several meshes, among them {meshes[0]} and "
                f"{meshes[1]}; a mesh folder is <category>/<object>.glb or one mesh for each "
                "<category>/<object>."
            )
        if meshes:
            return meshes[0]
        level = [path for subfolders, _ in listings for path in subfolders]
    return None


def _listing(folder: str) -> tuple[list[str], list[str]]:
    """Paths of the subfolders and of the mesh files in a folder, in order."""
    subfolders, meshes = [], []
    with os.scandir(folder) as items:
        for item in sorted(items, key=lambda item: item.name):
            if item.name.startswith((".", "__")):
                continue
            if item.is_dir():
                subfolders.append(item.path)
            elif item.name.lower().endswith(MESH_SUFFIXES):
                meshes.append(item.path)
    return subfolders, meshes
