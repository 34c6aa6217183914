"""Reading OBJ: shapes, and the material files (MTL) that belong to them.

trimesh mistakes numbers that count back, mixed faces and concave polygons, and drops pictures that
are not exactly where the material file says.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from bridge.common.errors import StoreError
from bridge.common.places import Place
from bridge.simulator.meshes.materials import Material, cut_out, display, find_file, read_picture
from bridge.simulator.meshes.obj_geometry import Geometry, read_geometry
from bridge.simulator.meshes.surface import MeshError, Remark, Surface
from bridge.simulator.meshes.text import keys, plain_text, readable
from bridge.simulator.meshes.wrap import Wrap, WrappedTexture

# Options of a map that are followed by up to three numbers, and those followed by one word.
_NUMBERS = {"-mm", "-o", "-s", "-t"}
_WORDS = {"-blendu", "-blendv", "-bm", "-boost", "-cc", "-clamp", "-imfchan", "-texres", "-type"}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)

_DEFAULT_GREY = 0.8


def read_obj(path: Place) -> tuple[list[Surface], list[Remark]]:
    """The surfaces of an .obj file, one or two for each material, and what could not be had.

    A texture replaces its material's Kd, as on import into Blender. Corners without a texture
    coordinate, where others of the material have one, show the texture's lower left corner, as
    elsewhere. What has an opacity of 0 (`d 0`) is left out, unless that were everything.

    Raises:
        MeshError: a face names a vertex that does not exist.
        OSError, ValueError: it cannot be read.
    """
    # What compiles kernels is imported where a mesh is read: catalogues of objects do without.
    from bridge.simulator.meshes.polygons import triangulate

    geometry = read_geometry(plain_text(path.read_bytes()))
    position = geometry.corners[:, 0]
    if len(position) and not 0 <= position.min() <= position.max() < len(geometry.positions):
        raise MeshError("bad_geometry", "a triangle names a vertex that does not exist")
    triangles, face = triangulate(geometry.positions, position, geometry.counts)
    library = _read_library(path, geometry.libraries)
    # Normals are taken where all of a triangle's corners have one.
    has_normals = (geometry.corners[triangles, 2] >= 0).all(axis=1)
    group = geometry.face_material[face] * 2 + has_normals
    order = np.argsort(group, kind="stable")
    numbers, starts = np.unique(group[order], return_index=True)
    materials = {n: library.material(geometry.materials[n]) for n in set((numbers // 2).tolist())}
    hide = not all(material.is_invisible for material in materials.values())
    surfaces: list[Surface] = []
    remarks: dict[Remark, None] = {}
    for number, some in zip(numbers.tolist(), np.split(triangles[order], starts[1:]), strict=False):
        material = materials[number // 2]
        if material.is_invisible and hide:
            continue
        remarks |= dict.fromkeys(material.remarks)
        corners = geometry.corners[some]
        surfaces.append(_surface(geometry, corners, material, bool(number % 2)))
        if material.texture is not None and (corners[..., 1] < 0).any():
            remarks[("missing_uv", readable(geometry.materials[number // 2] or ""))] = None
    return surfaces, list(remarks)


def _surface(
    geometry: Geometry, corners: np.ndarray, material: Material, has_normals: bool
) -> Surface:
    """The triangles [T, 3, 3] of corners (position, texture coordinate, normal)."""
    flat = corners.reshape(-1, 3)
    wrapped = material.texture if (flat[:, 1] >= 0).any() else None
    used = [True, wrapped is not None, has_normals]
    first, numbers = _distinct(flat[:, used])
    faces = numbers.reshape(-1, 3)
    position, coordinate, normal = flat[first].T
    texture, uv, normals, tint = None, None, None, material.tint
    if wrapped is not None:
        known = coordinate >= 0
        uv = np.where(known[:, None], geometry.coordinates[coordinate * known], 0)
        if material.uv_transform is not None:
            uv = uv @ material.uv_transform[:, :2].T + material.uv_transform[:, 2]
        texture, uv = wrapped.repeating(uv, faces)
    if has_normals:
        normals = geometry.normals[normal]
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    if geometry.colours is not None:
        tint = geometry.colours[position]
    return Surface(geometry.positions[position], faces, uv, tint, normals, texture)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One place of each distinct row of whole numbers from -1 on, and the number of each row."""
    key = rows[:, 0]
    for column in rows.T[1:]:
        size = int(column.max()) + 2
        # Distinct keys are far fewer than what a key may be.
        if int(key.max()) > np.iinfo(np.int64).max // size - 1:
            key = np.unique(key, return_inverse=True)[1]
        key = key * size + column + 1
    return np.unique(key, return_index=True, return_inverse=True)[1:]


@dataclass
class _Written:
    """The lines of a material by their lower-case keyword, and the folder of its file."""

    folder: Place
    lines: dict[str, str] = field(default_factory=dict)


class _Library:
    """The materials of some files, by their names."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder
        self._written: dict[str, _Written] = {}
        self._alike: dict[str, str] = {}
        self.missing: list[Remark] = []

    def add(self, file: Place) -> None:
        """Take the materials of a file."""
        current = _Written(file.parent)
        for line in filter(None, plain_text(file.read_bytes()).split("\n")):
            keyword, _, value = line.partition(" ")
            if keyword.lower() == "newmtl":
                name = value.strip()
                current = self._written.setdefault(name, _Written(file.parent))
                for key in keys(name):
                    self._alike.setdefault(key, name)
            elif value:
                current.lines[keyword.lower()] = value.strip()

    def material(self, name: str | None) -> Material:
        """The material of a name; a plain grey with a remark where there is none."""
        if name is None:
            return Material(_colour(""), remarks=tuple(self.missing))
        if name not in self._written:
            alike = (self._alike[key] for key in sorted(keys(name)) if key in self._alike)
            name = next(alike, name)
        if name in self._written:
            written = self._written[name]
            return _material(written.lines, list(dict.fromkeys((written.folder, self._folder))))
        unknown: Remark = ("missing_material", readable(name))
        return Material(_colour(""), remarks=tuple(self.missing) or (unknown,))


def _read_library(path: Place, names: list[str]) -> _Library:
    """The material files that an .obj file names."""
    library = _Library(path.parent)
    for name in names:
        for one in [name] if find_file(path.parent, name) else name.split():
            file = find_file(path.parent, one)
            if file is None:
                library.missing.append(("missing_material", readable(one)))
            else:
                library.add(file)
    return library


def _material(lines: dict[str, str], folders: list[Place]) -> Material:
    """A material whose pictures are looked for in the folders one after the other."""
    invisible = _is_zero(lines.get("d", ""))
    if "map_kd" not in lines:
        return Material(_colour(lines.get("kd", "")), is_invisible=invisible)
    options, name = _map(lines["map_kd"])
    texture = _picture(folders, name)
    if texture is None:
        remarks: tuple[Remark, ...] = (("missing_texture", readable(name)),)
        return Material(_colour(lines.get("kd", "")), is_invisible=invisible, remarks=remarks)
    remarks = ()
    if "map_d" in lines:
        _, opacity_name = _map(lines["map_d"])
        opacity = _picture(folders, opacity_name)
        if opacity is None:
            remarks = (("missing_texture", readable(opacity_name)),)
        else:
            texture = _with_opacity(texture, opacity)
    wrap: Wrap = "clamp" if "-clamp" in options else "repeat"
    wrapped = WrappedTexture(cut_out(texture), (wrap, wrap))
    return Material(np.ones(3), wrapped, _uv_transform(options), invisible, remarks)


def _is_zero(opacity: str) -> bool:
    """Whether `d` says so; `Tr`, which half of all programs mean the other way, is not asked."""
    try:
        return float(opacity.split()[-1]) == 0
    except (ValueError, IndexError):
        return False


def _colour(text: str) -> np.ndarray:
    """Red, green and blue (red alone stands for all), or grey where it is no such thing."""
    try:
        values = [float(word) for word in text.split()[:3]]
    except ValueError:
        values = []
    return display(np.array(values if len(values) == 3 else [*values, _DEFAULT_GREY][:1] * 3))


def _map(value: str) -> tuple[dict[str, list[float]], str]:
    """The numeric options of a map (`-clamp` is there if it is on) and its file.

    The name of the file may have spaces.
    """
    options: dict[str, list[float]] = {}
    words = re.findall(r"\S+\s*", value)
    while len(words) > 1 and (option := words[0].strip()) in _NUMBERS | _WORDS:
        del words[0]
        if option in _WORDS:
            if words.pop(0).strip().lower() == "on" and option == "-clamp":
                options[option] = []
            continue
        options[option] = []
        while len(words) > 1 and len(options[option]) < 3 and _NUMBER.fullmatch(words[0].strip()):
            options[option].append(float(words.pop(0)))
    return options, "".join(words).strip()


def _uv_transform(options: dict[str, list[float]]) -> np.ndarray | None:
    if "-s" not in options and "-o" not in options:
        return None
    scale, offset = options.get("-s", []), options.get("-o", [])
    wide, high = scale[:2] + [1.0, 1.0][len(scale) :]
    x, y = offset[:2] + [0.0, 0.0][len(offset) :]
    return np.array([[wide, 0, x], [0, high, y]])


def _picture(folders: list[Place], name: str) -> np.ndarray | None:
    """A picture, or None where it is missing or damaged."""
    found = (find_file(folder, name) for folder in folders)
    path: Place | None = next((file for file in found if file is not None), None)
    if path is None:
        return None
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            return read_picture(picture)
    except StoreError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _with_opacity(texture: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """The texture with alpha from a map of opacity: its own alpha, else its brightness."""
    grey = Image.fromarray(opacity[..., 3] if opacity.shape[2] == 4 else opacity[..., :3]).convert(
        "L"
    )
    height, width = texture.shape[:2]
    alpha = np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR))
    return np.concatenate([texture[..., :3], alpha[..., None]], axis=2)
