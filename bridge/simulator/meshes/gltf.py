"""Reading glTF: the scene by trimesh, and of the materials what trimesh leaves out."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from bridge.simulator.meshes.materials import Material, cut_out, display, find_file, read_picture
from bridge.simulator.meshes.surface import MeshError

_UNREAD = {"EXT_meshopt_compression", "KHR_mesh_quantization"}
_DRACO = "KHR_draco_mesh_compression"
_SPECULAR = "KHR_materials_pbrSpecularGlossiness"
_TRANSFORM = "KHR_texture_transform"
_FLOAT = 5126


def read_gltf(path: Path) -> tuple[Any, Callable[[Any], Material]]:
    """A .glb or .gltf file as a trimesh scene, and the function from its parts to materials.

    Raises:
        MeshError: the file needs an extension that is not supported.
    """
    import trimesh

    is_binary = path.suffix.lower() == ".glb"
    data = path.read_bytes()
    header, rest = _split(data) if is_binary else (json.loads(data), b"")
    _refuse_unsupported(header)
    materials = header.get("materials", [])
    for number, material in enumerate(materials):
        materials[number] = _base_colour_only(material, number)
    _use_named_coordinates(header)
    text = json.dumps(header).encode()
    scene = trimesh.load_scene(
        BytesIO(_pack(text, rest) if is_binary else text),
        file_type="glb" if is_binary else "gltf",
        resolver=_Files(path.parent),
        process=False,
    )
    known: dict[str, Material] = {}

    def material_of(part: Any) -> Material:
        loaded = getattr(part.visual, "material", None)
        name = getattr(loaded, "name", None)
        # A part without a material may still have one that trimesh made up.
        if name is None:
            return Material()
        if name not in known:
            known[name] = _material(loaded, materials[int(name)], header)
        return known[name]

    return scene, material_of


class _Files:
    """Finds what a .gltf file names; trimesh asks for it by item."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> bytes:
        path = find_file(self._folder, unquote(name))
        if path is None:
            raise FileNotFoundError(f"{name} is missing")
        return path.read_bytes()


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a binary file, and the chunks behind it."""
    magic, _, length, size, kind = struct.unpack_from("<4sIII4s", data)
    if magic != b"glTF" or kind != b"JSON" or length > len(data):
        raise ValueError("not a whole binary glTF file of version 2")
    return json.loads(data[20 : 20 + size]), data[20 + size : length]


def _pack(text: bytes, rest: bytes) -> bytes:
    text += b" " * (-len(text) % 4)
    length = 20 + len(text) + len(rest)
    return struct.pack("<4sIII4s", b"glTF", 2, length, len(text), b"JSON") + text + rest


def _refuse_unsupported(header: dict[str, Any]) -> None:
    unread = _UNREAD if find_spec("DracoPy") else _UNREAD | {_DRACO}
    needed = sorted(unread & set(header.get("extensionsRequired", [])))
    if needed:
        raise MeshError("unreadable", f"it needs the glTF extension {', '.join(needed)}")


def _base_colour_only(material: dict[str, Any], number: int) -> dict[str, Any]:
    """A material that names itself by its number and keeps base colour and opacity."""
    colour = material.get("pbrMetallicRoughness", {})
    specular = material.get("extensions", {}).get(_SPECULAR)
    if specular is not None:
        names = {"diffuseFactor": "baseColorFactor", "diffuseTexture": "baseColorTexture"}
        colour = {names[key]: value for key, value in specular.items() if key in names}
    kept = {k: colour[k] for k in ("baseColorFactor", "baseColorTexture") if k in colour}
    opacity: dict[str, Any] = {
        k: material[k] for k in ("alphaMode", "alphaCutoff") if k in material
    }
    return {"name": str(number), "pbrMetallicRoughness": kept, **opacity}


def _use_named_coordinates(header: dict[str, Any]) -> None:
    """Put first the set of texture coordinates that each primitive's base colour uses."""
    for mesh in header.get("meshes", []):
        for primitive in mesh["primitives"]:
            if "material" not in primitive:
                continue
            material = header["materials"][primitive["material"]]
            texture = material["pbrMetallicRoughness"].get("baseColorTexture")
            if texture is None:
                continue
            options = texture.get("extensions", {}).get(_TRANSFORM, {})
            chosen = f"TEXCOORD_{options.get('texCoord', texture.get('texCoord', 0))}"
            accessor = primitive["attributes"].get(chosen)
            primitive["attributes"].pop("TEXCOORD_0", None)
            if accessor is not None:
                if header["accessors"][accessor]["componentType"] != _FLOAT:
                    raise MeshError("unreadable", "its texture coordinates are whole numbers")
                primitive["attributes"]["TEXCOORD_0"] = accessor


def _material(loaded: Any, written: dict[str, Any], header: dict[str, Any]) -> Material:
    colour = written["pbrMetallicRoughness"]
    factor = np.asarray(colour.get("baseColorFactor", (1, 1, 1, 1)), float)
    tint = display(factor[:3])
    if "baseColorTexture" not in colour:
        return Material(tint)
    try:
        texture = read_picture(loaded.baseColorTexture)
    # AttributeError: trimesh found no picture.
    except (AttributeError, OSError, ValueError, SyntaxError):
        return Material(tint, remarks=(("missing_texture", _picture_name(colour, header)),))
    mode = written.get("alphaMode", "OPAQUE")
    if mode == "OPAQUE":
        texture = texture[..., :3]
    elif mode == "MASK":
        texture = cut_out(texture, written.get("alphaCutoff", 0.5) / max(factor[3], 1e-6))
    else:
        texture = cut_out(texture)
    return Material(tint, np.ascontiguousarray(texture), _uv_transform(colour))


def _picture_name(colour: dict[str, Any], header: dict[str, Any]) -> str:
    number = colour["baseColorTexture"]["index"]
    image = header["images"][header["textures"][number].get("source", 0)]
    uri = image.get("uri", "")
    if uri and not uri.startswith("data:"):
        return unquote(uri)
    return image.get("name") or f"texture {number}"


def _uv_transform(colour: dict[str, Any]) -> np.ndarray | None:
    """The texture's offset, rotation and scale, which are given for v pointing down."""
    options = colour["baseColorTexture"].get("extensions", {}).get(_TRANSFORM)
    if options is None:
        return None
    (x, y), (wide, high) = options.get("offset", (0, 0)), options.get("scale", (1, 1))
    angle = options.get("rotation", 0.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    down = np.array([[wide * cosine, high * sine, x], [-wide * sine, high * cosine, y], [0, 0, 1]])
    flip = np.array([[1.0, 0, 0], [0, -1, 1], [0, 0, 1]])
    return (flip @ down @ flip)[:2]
