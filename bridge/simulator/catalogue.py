"""The objects that can be simulated: files in a folder, or the built-in procedural ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.errors import InputError
from bridge.simulator.mesh import Mesh
from bridge.simulator.mesh_file import load_mesh
from bridge.simulator.procedural import FAMILIES, procedural_mesh

MESH_SUFFIXES = (".glb", ".obj")


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
    """Objects under `<folder>/<category>/<object>.glb` (or .obj), sorted by id.

    Raises:
        InputError: the folder is missing, holds no mesh, or holds two files with one id.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"The mesh folder {root} does not exist.")
    entries: dict[str, ObjectEntry] = {}
    for path in sorted(root.glob("*/*")):
        if path.suffix.lower() not in MESH_SUFFIXES or not path.is_file():
            continue
        object_id = f"{path.parent.name}/{path.stem}"
        if object_id in entries:
            raise InputError(
                f"Both {entries[object_id].path} and {path} would be the object {object_id}."
            )
        entries[object_id] = ObjectEntry(object_id, path.parent.name, str(path))
    if not entries:
        raise InputError(f"The mesh folder {root} holds no <category>/<object>.glb or .obj file.")
    return [entries[object_id] for object_id in sorted(entries)]


def procedural_objects(per_category: int, seed: int, first: int = 0) -> list[ObjectEntry]:
    """Instances first..first + per_category - 1 of every built-in family, sorted by id."""
    return [
        ObjectEntry(f"{category}/{instance:05d}", category, None, seed, instance)
        for category in sorted(FAMILIES)
        for instance in range(first, first + per_category)
    ]
