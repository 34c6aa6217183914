"""The objects that can be simulated: files in a folder, or the built-in procedural ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.places import place
from bridge.simulator.config import ObjectRule
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.objects.layouts import read_layout
from bridge.simulator.objects.procedural import FAMILIES, procedural_mesh


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


@dataclass(frozen=True)
class Collection:
    """The objects of a mesh folder, sorted by id, and in words what else it holds."""

    entries: list[ObjectEntry]
    passed_over: str


def scan_meshes(folder: str | Path) -> list[ObjectEntry]:
    """The objects of a mesh collection, as `read_collection`."""
    return read_collection(folder).entries


def read_collection(folder: str | Path) -> Collection:
    """Find the objects of a mesh collection.

    An object is a mesh file `<category>/<object>.glb` (or .gltf, .obj), or a folder
    `<category>/<object>` with a mesh in it. A folder with `models/model_normalized.obj` is a model
    of ShapeNetCore.v2, which counts only if it has an `images` folder, that is, textures.

    Objects without a level of categories are of one category with the folder's own name: mesh
    files in the folder itself, and folders of one object each. A folder is one object's where its
    meshes have a usual name (`scene.gltf`, `textured.obj`), the folder's own or, in three folders
    or more, the same name; or where they lie in subfolders for resolutions and formats
    (`google_16k`, `glTF-Binary`, `meshes`) alone.

    Of several meshes of one object (names that differ in a resolution such as `_2k` or `_low` are
    such) the least deep counts, a file before a folder of its name; at one depth the first by name;
    of one name .glb before .gltf before .obj. What `bridge.common.files.Folders` passes over does
    not count.

    Raises:
        InputError: the folder is missing or holds no mesh, its own name cannot be printed but is
            needed, two objects of different places have one id, or most objects would be folders
            of several meshes, which is how a collection looks from one level too high.
    """
    root = place(folder)
    if not root.is_dir():
        raise InputError(f"The mesh folder {shown(root)} does not exist.")
    layout, passed_over = read_layout(root)
    if not layout.objects:
        others = f"; passed over: {passed_over}" if passed_over else ""
        raise InputError(
            f"The mesh folder {shown(root)} holds no <category>/<object>.glb, .gltf or .obj file, "
            f"no <category>/<object> folder with one, and no ShapeNet model with textures{others}."
        )
    if len(layout.crowded) > max(1, len(layout.objects) // 2):
        raise InputError(
            f"Most objects of {root} would be folders of several meshes, such as "
            f"{layout.crowded[0]}: name the folder one level down."
        )
    entries = [
        ObjectEntry(f"{category}/{name}", category, path) for category, name, path in layout.objects
    ]
    entries.sort(key=lambda entry: (entry.object_id, entry.path))
    for one, other in pairwise(entries):
        if one.object_id == other.object_id:
            raise InputError(
                f"Both {one.path} and {other.path} would be the object {one.object_id}."
            )
    return Collection(entries, passed_over)


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
