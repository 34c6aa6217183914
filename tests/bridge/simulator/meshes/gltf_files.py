"""Small glTF files, written by hand."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bridge.simulator.meshes.mesh import Mesh

CORNERS = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
COORDINATES = np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]])
"""Of the corners in a texture, v pointing down."""

RED, GREEN, BLUE, YELLOW = [250, 10, 10], [10, 200, 10], [10, 10, 250], [240, 220, 40]
QUARTERS = np.array([[RED, GREEN], [BLUE, YELLOW]], np.uint8).repeat(8, 0).repeat(8, 1)
"""A texture: red and green above, blue and yellow below."""

_CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Gltf:
    """A file in the making; every method that adds something returns its number."""

    def __init__(self) -> None:
        self.header: dict[str, Any] = {"asset": {"version": "2.0"}}
        self.data = bytearray()

    def add(self, kind: str, row: dict[str, Any]) -> int:
        rows = self.header.setdefault(kind, [])
        rows.append(row)
        return len(rows) - 1

    def view(self, data: bytes, **more: object) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        start = len(self.data)
        self.data += data
        place = {"buffer": 0, "byteOffset": start, "byteLength": len(data)}
        return self.add("bufferViews", place | more)

    def accessor(self, values: Any, kind: str = "f4", **more: object) -> int:
        rows = np.asarray(values, f"<{kind}")
        rows = rows.reshape(len(rows), -1)
        row = {
            "bufferView": self.view(rows.tobytes()),
            "componentType": _CODES[kind],
            "count": len(rows),
            "type": _KINDS[rows.shape[1]],
        }
        return self.add("accessors", row | more)

    def texture(self, pixels: np.ndarray = QUARTERS, **more: object) -> int:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        image = {"bufferView": self.view(file.getvalue()), "mimeType": "image/png"}
        return self.add("textures", {"source": self.add("images", image)} | more)

    def material(self, texture: int | None = None, **more: object) -> int:
        number = self.texture() if texture is None else texture
        return self.add(
            "materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": number}}} | more
        )

    def plain(self, *colour: float, **more: object) -> int:
        """A material without a texture."""
        return self.add("materials", {"pbrMetallicRoughness": {"baseColorFactor": colour}} | more)

    def square(self, material: int | None = None, **more: object) -> dict[str, Any]:
        """A primitive 2 wide and high around the origin."""
        return {
            "attributes": {
                "POSITION": self.accessor(CORNERS),
                "TEXCOORD_0": self.accessor(COORDINATES),
            },
            "indices": self.accessor(FACES.ravel(), "u2"),
            "material": self.material() if material is None else material,
        } | more

    def mesh(self, *primitives: dict[str, Any], **more: object) -> int:
        return self.add("meshes", {"primitives": primitives or [self.square()]} | more)

    def node(self, **row: object) -> int:
        return self.add("nodes", row)

    def scene(self, *nodes: int) -> None:
        self.header["scene"] = self.add("scenes", {"nodes": nodes})

    def save(self, folder: Path) -> Path:
        """Write the file; without nodes, one for each mesh is made."""
        if "nodes" not in self.header:
            self.scene(*(self.node(mesh=i) for i in range(len(self.header.get("meshes", [])))))
        self.header.setdefault("buffers", [{"byteLength": len(self.data)}])
        path = folder / "a.glb"
        path.write_bytes(packed(self.header, bytes(self.data)))
        return path


def packed(header: dict[str, Any], data: bytes, version: int = 2) -> bytes:
    """A binary glTF file."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    length = 12 + 8 + len(text) + 8 + len(data)
    return (
        struct.pack("<4sII", b"glTF", version, length)
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(data), b"BIN\0")
        + data
    )


def proportions(mesh: Mesh) -> list[float]:
    """Width, height and depth in units of the width."""
    width, height, depth = mesh.extents
    return [1.0, height / width, depth / width]


def colour_at(mesh: Mesh, vertex: int, shift: tuple[float, float] = (0, 0)) -> list[int]:
    """The texel at a vertex, or so far from it in texture coordinates, as a renderer finds it."""
    (face, *_) = np.flatnonzero((mesh.faces == vertex).any(axis=1))
    first, height, width = mesh.mips[mesh.face_texture[face], 0]
    u, v = mesh.uv[vertex] + shift
    column, row = int((u % 1) * width), int((1 - v % 1) * height)
    texel = mesh.texels[first + min(row, height - 1) * width + min(column, width - 1)]
    return [int(value) for value in texel[:3]]
