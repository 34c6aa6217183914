"""How mesh collections lie in folders: which folders are categories, and which are objects."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bridge.common.errors import InputError
from bridge.common.files import Folders, is_printable, shown
from bridge.common.places import Place, folders_in

MESH_SUFFIXES = (".glb", ".gltf", ".obj")
"""Of mesh files, in order of preference."""
MAX_DEPTH = 3
"""Levels of folders, from the object's own, in which its mesh is looked for."""

_UNREAD_TYPES = (
    *(".fbx", ".dae", ".stl", ".ply", ".off", ".3ds", ".blend", ".x3d", ".wrl", ".max", ".mb"),
    *(".usd", ".usda", ".usdc", ".usdz", ".zip", ".7z", ".rar", ".tar", ".gz", ".tgz"),
)
"""Files that hold or may hold meshes, but none that are read."""

_RESOLUTION = r"(\d+k|lod\d*|low|mid|medium|high|hd|sd)"
_RESOLUTION_ENDING = re.compile(rf"[-_. ]{_RESOLUTION}$", re.IGNORECASE)
_VERSION_FOLDER = re.compile(
    rf"(.*[-_. ])?{_RESOLUTION}|gltf([-_](binary|embedded|draco|quantized))?|glb|obj|source|scan"
    r"|mesh(es)?|models?|tsdf|poisson|visual|collision",
    re.IGNORECASE,
)
"""Folders that hold one object again in another resolution, format or make."""
_USUAL_NAMES = frozenset(
    ("scene", "model", "model_normalized", "mesh", "object", "scan", "source", "texture")
    + ("textured", "textured_simple", "nontextured", "visual", "collision")
)
"""Files that have the name of their role, their folder that of the object."""
_LAST_CHOICES = ("nontextured", "collision")
_SHARED_BY = 3
"""So many folders with one mesh each, all of one name, are objects whatever that name is."""


@dataclass
class Layout:
    """The objects of a collection.

    Attributes:
        objects: (category, name, path of the mesh).
        crowded: folders of several meshes that were taken for one object.
        passed_over: how many files and folders, by reason.
    """

    objects: list[tuple[str, str, str]] = field(default_factory=list)
    crowded: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def read_layout(root: Place) -> tuple[Layout, str]:
    """Find the objects in a folder that exists, and tell in words what was passed over.

    Raises:
        InputError: its name, or that of a category, cannot be printed but is needed.
    """
    folders, layout = folders_in(root, MESH_SUFFIXES), Layout()
    subfolders, meshes = folders.listing(folders.root)
    shared = _shared_names(folders, subfolders)
    objects = [path for path in subfolders if _is_object(folders, path, shared)]
    _add_category(layout, folders, folders.root, objects, meshes)
    for path in subfolders:
        if path not in objects:
            _add_category(layout, folders, path, *folders.listing(path))
    folders.passed_over.update(layout.passed_over)
    return layout, folders.summary(_UNREAD_TYPES)


def _add_category(
    layout: Layout, folders: Folders, folder: str, subfolders: list[str], meshes: list[str]
) -> None:
    """The objects in subfolders and mesh files of a category, which has the folder's name."""
    category = Path(folder).resolve().name
    found: dict[str, str] = {}
    heads: set[str] = set()
    for path in sorted(meshes, key=_preference):
        name = Path(path).stem
        head = _RESOLUTION_ENDING.sub("", name)
        if name not in found and head not in heads:
            found[name] = path
        else:
            layout.passed_over["further meshes of an object"] += 1
        heads.add(head)
    for path in subfolders:
        choice, spare = _choices(folders, path)
        layout.passed_over.update(spare)
        if choice and Path(path).name not in found:
            found[Path(path).name] = choice[0]
            layout.passed_over["further meshes of an object"] += len(choice) - 1
            if _is_crowded(choice):
                layout.crowded.append(path)
        elif choice:
            layout.passed_over["further meshes of an object"] += len(choice)
    if found and not is_printable(category):
        raise InputError(
            f"The name {shown(category)!r} cannot be part of an id; rename {shown(folder)!r}."
        )
    layout.objects += [(category, name, path) for name, path in found.items()]


def _is_object(folders: Folders, folder: str, shared: set[str]) -> bool:
    """Whether a folder is one object's rather than a category's."""
    subfolders, meshes = folders.listing(folder)
    if any(
        os.path.basename(path) in ("meshes", "models") and folders.listing(path)[1]
        for path in subfolders
    ):
        return True
    for path in subfolders:
        if not _VERSION_FOLDER.fullmatch(os.path.basename(path)) and _choices(folders, path)[0]:
            return False
    if not meshes:
        return any(_choices(folders, path)[0] for path in subfolders)
    names = {_head(path) for path in meshes}
    own = _RESOLUTION_ENDING.sub("", os.path.basename(folder)).lower()
    return names <= _USUAL_NAMES or (len(names) == 1 and names <= {own} | shared)


def _shared_names(folders: Folders, subfolders: list[str]) -> set[str]:
    """Names of the only meshes of several folders; numbers alone tell nothing."""
    names = [{_head(mesh) for mesh in folders.listing(path)[1]} for path in subfolders]
    counts = Counter(next(iter(some)) for some in names if len(some) == 1)
    return {n for n, count in counts.items() if count >= _SHARED_BY and not n.isdigit()}


def _choices(folders: Folders, folder: str) -> tuple[list[str], Counter[str]]:
    """The meshes that an object's folder may stand for, the preferred one first.

    Besides, how many were passed over, by reason.
    """
    shapenet = os.path.join(folder, "models", "model_normalized.obj")
    if folders.has_file(shapenet):
        if folders.has_folder(os.path.join(folder, "images")):
            return [shapenet], Counter()
        return [], Counter({"ShapeNet models without images": 1})
    level = [folder]
    for _ in range(MAX_DEPTH):
        listings = [folders.listing(path) for path in level]
        meshes = [mesh for _, found in listings for mesh in sorted(found, key=_preference)]
        if meshes:
            return sorted(meshes, key=_is_last_choice), Counter()
        level = [path for subfolders, _ in listings for path in subfolders]
    return [], Counter({"folders too deep": len(level)} if level else {})


def _is_crowded(meshes: list[str]) -> bool:
    """Whether the meshes are more than one object in several resolutions, formats or makes."""
    kinds = set()
    for mesh in meshes:
        place, name = Path(mesh).parent, _head(mesh)
        version = _VERSION_FOLDER.fullmatch(place.name)
        kinds.add(("" if version else str(place), "" if name in _USUAL_NAMES else name))
    return len(kinds) > 1


def _head(mesh: str) -> str:
    """The name of a mesh file without its resolution, in lower case."""
    return _RESOLUTION_ENDING.sub("", Path(mesh).stem).lower()


def _is_last_choice(mesh: str) -> bool:
    place, name = os.path.split(mesh.lower())
    return name.startswith(_LAST_CHOICES) or os.path.basename(place).startswith(_LAST_CHOICES)


def _preference(mesh: str) -> tuple[str, int]:
    name, suffix = os.path.splitext(mesh)
    return name, MESH_SUFFIXES.index(suffix.lower())
