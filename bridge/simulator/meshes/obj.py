"""Reading OBJ: the geometry by trimesh, the material file here.

trimesh drops pictures that are not exactly where the material file says, and knows no holes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bridge.simulator.meshes.materials import Material, cut_out, display, find_file, read_picture
from bridge.simulator.meshes.surface import MeshError, Remark

# Options of a map that are followed by up to three numbers, and those followed by one word.
_NUMBERS = {"-mm", "-o", "-s", "-t"}
_WORDS = {"-blendu", "-blendv", "-bm", "-boost", "-cc", "-clamp", "-imfchan", "-texres", "-type"}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)

_DEFAULT_GREY = 0.8


def read_obj(path: Path) -> tuple[Any, Callable[[Any], Material]]:
    """An .obj file as a trimesh scene, and the function from its parts to materials.

    A texture replaces its material's Kd, as on import into Blender.

    Raises:
        MeshError: its numbering of vertices is not supported.
    """
    import trimesh

    data = path.read_bytes()
    _refuse_relative_numbers(data)
    written: dict[str, dict[str, str]] = {}
    missing: list[Remark] = []
    for line in re.findall(rb"^\s*mtllib\s+(.+?)\s*$", data, re.MULTILINE):
        name = line.decode(errors="replace")
        for one in [name] if find_file(path.parent, name) else name.split():
            file = find_file(path.parent, one)
            if file is None:
                missing.append(("missing_material", one))
            else:
                written |= _parse(file.read_text(errors="replace"))
    scene = trimesh.load_scene(
        BytesIO(data), file_type="obj", resolver=_Names(written), process=False
    )
    known: dict[str | None, Material] = {}

    def material_of(part: Any) -> Material:
        name = getattr(getattr(part.visual, "material", None), "name", None)
        if name not in known:
            known[name] = (
                _material(written[name], path.parent)
                if name in written
                else Material(_colour(""), remarks=tuple(missing))
            )
        return known[name]

    return scene, material_of


class _Names:
    """Answers trimesh's question for any material file with the names of all materials."""

    def __init__(self, names: dict[str, dict[str, str]]) -> None:
        self._text = "".join(f"newmtl {name}\n" for name in names)

    def __getitem__(self, _: str) -> str:
        return self._text


def _refuse_relative_numbers(data: bytes) -> None:
    """Numbers that count back from the face; trimesh counts them back from the end."""
    first = re.search(rb"^f[^\n]*[\s/]-\d", data, re.MULTILINE)
    if first and re.search(rb"^v\s", data[first.start() :], re.MULTILINE):
        raise MeshError("unreadable", "its faces count back to vertices among later vertices")


def _parse(text: str) -> dict[str, dict[str, str]]:
    """The lines of each material by their lower-case keyword."""
    materials: dict[str, dict[str, str]] = {}
    lines: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        keyword, *value = line.split(maxsplit=1)
        if keyword.lower() == "newmtl":
            lines = materials.setdefault(" ".join(value[0].split()), {})
        elif value:
            lines[keyword.lower()] = value[0].strip()
    return materials


def _material(lines: dict[str, str], folder: Path) -> Material:
    if "map_kd" not in lines:
        return Material(_colour(lines.get("kd", "")))
    options, name = _map(lines["map_kd"])
    texture = _picture(folder, name)
    if texture is None:
        return Material(_colour(lines.get("kd", "")), remarks=(("missing_texture", name),))
    remarks: tuple[Remark, ...] = ()
    if "map_d" in lines:
        _, opacity_name = _map(lines["map_d"])
        opacity = _picture(folder, opacity_name)
        if opacity is None:
            remarks = (("missing_texture", opacity_name),)
        else:
            texture = _with_opacity(texture, opacity)
    return Material(np.ones(3), cut_out(texture), _uv_transform(options), remarks)


def _colour(text: str) -> np.ndarray:
    """Red, green and blue (red alone stands for all), or grey where it is no such thing."""
    try:
        values = [float(word) for word in text.split()[:3]]
    except ValueError:
        values = []
    return display(np.array(values if len(values) == 3 else [*values, _DEFAULT_GREY][:1] * 3))


def _map(value: str) -> tuple[dict[str, list[float]], str]:
    """The numeric options of a map and its file, whose name may have spaces."""
    options: dict[str, list[float]] = {}
    words = re.findall(r"\S+\s*", value)
    while len(words) > 1 and (option := words[0].strip()) in _NUMBERS | _WORDS:
        del words[0]
        if option in _WORDS:
            del words[0]
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


def _picture(folder: Path, name: str) -> np.ndarray | None:
    """A picture, or None where it is missing or damaged."""
    path = find_file(folder, name)
    if path is None:
        return None
    try:
        with Image.open(path) as picture:
            return read_picture(picture)
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
