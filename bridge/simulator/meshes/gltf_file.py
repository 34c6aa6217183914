"""glTF 2.0 files: their JSON, and the bytes of their buffers and pictures."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np

from bridge.common.places import Place
from bridge.simulator.meshes.materials import find_file
from bridge.simulator.meshes.surface import MeshError

Record = dict[str, Any]

_READ = {
    "EXT_mesh_gpu_instancing",
    "EXT_texture_avif",
    "EXT_texture_webp",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_mesh_quantization",
    "KHR_node_visibility",
    "KHR_texture_transform",
}

_WITHOUT_EFFECT = {
    "EXT_lights_image_based",
    "EXT_lights_ies",
    "KHR_animation_pointer",
    "KHR_lights_punctual",
    "KHR_materials_anisotropy",
    "KHR_materials_clearcoat",
    "KHR_materials_diffuse_transmission",
    "KHR_materials_dispersion",
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_iridescence",
    "KHR_materials_sheen",
    "KHR_materials_specular",
    "KHR_materials_transmission",
    "KHR_materials_unlit",
    "KHR_materials_variants",
    "KHR_materials_volume",
    "KHR_node_hoverability",
    "KHR_node_selectability",
    "KHR_xmp",
    "KHR_xmp_json_ld",
}
"""Extensions that change neither shape nor base colour, which is all that is drawn."""

COMPRESSED = ("EXT_meshopt_compression", "KHR_meshopt_compression")
"""Extensions of buffer views that hold nothing else where their buffer has no data."""

_WORDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


def field(record: Record, name: str, kind: type, default: Any = None) -> Any:
    """A value of a record, of the given JSON type.

    Raises:
        MeshError: it is of another type, or missing without a default.
    """
    value = record.get(name, default)
    kinds = (int, float) if kind is float else kind
    if value is None and name not in record:
        raise MeshError("unreadable", f"a part of its JSON lacks {name!r}")
    if not isinstance(value, kinds) or isinstance(value, bool) != (kind is bool):
        raise MeshError("unreadable", f"{name!r} in its JSON is not {_WORDS[kind]}")
    return value


def numbers(record: Record, name: str, default: Any) -> np.ndarray:
    """A vector of a record with as many finite numbers as its default, float64."""
    values = field(record, name, list, default)
    sound = all(type(value) in (int, float) and abs(value) < math.inf for value in values)
    if len(values) != len(default) or not sound:
        raise MeshError("unreadable", f"{name!r} in its JSON is not {len(default)} numbers")
    return np.array(values, np.float64)


def whole_numbers(record: Record, name: str) -> list[int]:
    """A list of whole numbers; empty where it is missing."""
    values: list[int] = field(record, name, list, [])
    if not all(type(value) is int for value in values):
        raise MeshError("unreadable", f"{name!r} in its JSON is not a list of whole numbers")
    return values


def records(record: Record, name: str) -> list[Record]:
    """A list of objects; empty where it is missing."""
    values: list[Record] = field(record, name, list, [])
    if not all(isinstance(value, dict) for value in values):
        raise MeshError("unreadable", f"{name!r} in its JSON is not a list of objects")
    return values


def extension(record: Record, name: str) -> Record | None:
    """What an extension adds to a record; None where it does not."""
    extensions = field(record, "extensions", dict, {})
    return field(extensions, name, dict) if name in extensions else None


class GltfFile:
    """An opened .glb or .gltf file.

    Attributes:
        header: its JSON.

    Raises:
        MeshError: it is not glTF 2.0, or needs an extension that is not supported.
    """

    def __init__(self, path: Place) -> None:
        data = path.read_bytes()
        self._folder = path.parent
        text, self._binary = _split(data) if data.startswith(b"glTF") else (data, None)
        self.header = _header(text)
        self._buffers: dict[int, bytes] = {}

    def row(self, kind: str, number: int) -> Record:
        """One of the file's meshes, nodes, accessors or the like."""
        rows = field(self.header, kind, list, [])
        if not 0 <= number < len(rows) or not isinstance(rows[number], dict):
            raise MeshError("unreadable", f"it has no {kind}[{number}]")
        row: Record = rows[number]
        return row

    def view(self, number: int) -> memoryview:
        """The bytes of a buffer view."""
        view = self.row("bufferViews", number)
        index = field(view, "buffer", int)
        buffer = self.row("buffers", index)
        if "uri" not in buffer and (index > 0 or self._binary is None):
            for name in COMPRESSED:
                if extension(view, name) is not None:
                    raise MeshError("unreadable", f"it needs the glTF extension {name}")
            raise MeshError("unreadable", f"its buffers[{index}] has no data")
        if index not in self._buffers:
            self._buffers[index] = self._data(buffer, self._binary)
        data = self._buffers[index]
        start, length = field(view, "byteOffset", int, 0), field(view, "byteLength", int)
        if not 0 <= start <= start + length <= len(data):
            raise MeshError("unreadable", f"its bufferViews[{number}] ends beyond its buffer")
        return memoryview(data)[start : start + length]

    def picture(self, number: int) -> bytes:
        """The encoded bytes of an image.

        Raises:
            OSError: the file that it names is missing.
        """
        image = self.row("images", number)
        if "uri" in image:
            return self._data(image, None)
        return bytes(self.view(field(image, "bufferView", int)))

    def _data(self, record: Record, binary: bytes | None) -> bytes:
        """What the URI of a buffer or an image names."""
        if "uri" not in record:
            assert binary is not None
            return binary
        uri = field(record, "uri", str)
        if uri.startswith("data:"):
            return _embedded(uri)
        # Not a few programs write names as they are, although a URI encodes them.
        path = find_file(self._folder, unquote(uri)) or find_file(self._folder, uri)
        if path is None:
            raise FileNotFoundError(f"{unquote(uri)} is missing")
        return path.read_bytes()


def _split(data: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the binary chunk of a .glb file."""
    if len(data) < 20:
        raise MeshError("unreadable", "the file ends within its header")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise MeshError("unreadable", f"it is glTF {version}.0, and only 2.0 is read")
    if length > len(data):
        raise MeshError("unreadable", f"it has {len(data):,} of its {length:,} bytes")
    chunks: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, place)
        if place + 8 + size > length:
            raise MeshError("unreadable", "a chunk ends beyond the end of the file")
        chunks.setdefault(kind, data[place + 8 : place + 8 + size])
        place += 8 + size
    if b"JSON" not in chunks:
        raise MeshError("unreadable", "it has no JSON chunk")
    return chunks[b"JSON"], chunks.get(b"BIN\0")


def _header(text: bytes) -> Record:
    try:
        header = json.loads(text.rstrip(b"\0"))
    except (ValueError, RecursionError) as error:
        raise MeshError("unreadable", f"its JSON cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise MeshError("unreadable", "its JSON is not an object")
    asset = field(header, "asset", dict, {})
    # In glTF 1.0, whose asset may be missing, things have names instead of numbers.
    is_old = isinstance(header.get("meshes"), dict)
    version = field(asset, "version", str, "1.0" if is_old else "2.0")
    needed = field(asset, "minVersion", str, "2.0")
    if not version.startswith("2.") or needed != "2.0":
        told = version if needed == "2.0" else needed
        raise MeshError("unreadable", f"it is glTF {told}, and only 2.0 is read")
    required = field(header, "extensionsRequired", list, [])
    unread = sorted(set(map(str, required)) - _READ - _WITHOUT_EFFECT)
    if unread:
        raise MeshError("unreadable", f"it needs the glTF extension {', '.join(unread)}")
    return header


def _embedded(uri: str) -> bytes:
    """The data in a data: URI."""
    start, _, content = uri.partition(",")
    if start.endswith(";base64"):
        return base64.b64decode(unquote(content))
    return unquote_to_bytes(content)
