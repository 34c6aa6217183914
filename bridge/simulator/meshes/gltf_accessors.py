"""Arrays of glTF files: typed views of their buffers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge.simulator.meshes.gltf_file import GltfFile, Record, field
from bridge.simulator.meshes.surface import MeshError

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}

MAX_UNSTORED = 10_000_000
"""Longer arrays of zeros, which take no room in a file, are taken for damage."""


def is_stored(file: GltfFile, number: int) -> bool:
    """Whether the file holds an accessor's values, rather than an extension of a primitive."""
    accessor = file.row("accessors", number)
    return "bufferView" in accessor or "sparse" in accessor


def read_accessor(
    file: GltfFile, number: int, kinds: Sequence[str], *, shares: bool = False
) -> np.ndarray:
    """The values of an accessor, [count, width] in their own type.

    Args:
        file: the file.
        number: of the accessor.
        kinds: what it may be, of SCALAR, VEC2, VEC3, VEC4 and MAT4.
        shares: whole numbers are shares of their type's range even where it is not said.

    Returns:
        Numbers as they are stored; float64 where they are shares of a range, in 0..1 or -1..1.

    Raises:
        MeshError: it is of another kind, or lies beyond its buffer.
    """
    accessor = file.row("accessors", number)
    kind, count = field(accessor, "type", str), field(accessor, "count", int)
    if kind not in kinds:
        raise MeshError("unreadable", f"its accessors[{number}] is {kind}, not {kinds[0]}")
    width, component = _WIDTHS[kind], field(accessor, "componentType", int)
    if "bufferView" in accessor:
        values = _stored(file, accessor, component, count, width)
    elif 0 <= count <= MAX_UNSTORED:
        values = np.zeros((count, width), _type(component))
    else:
        raise MeshError("unreadable", f"its accessors[{number}] has {count:,} values of nothing")
    if "sparse" in accessor:
        values = _replaced(file, field(accessor, "sparse", dict), values, component)
    if values.dtype.kind != "f" and (shares or field(accessor, "normalized", bool, False)):
        return np.maximum(values / np.iinfo(values.dtype).max, -1)
    return values


def _type(component: int) -> np.dtype:
    if component not in _COMPONENTS:
        raise MeshError("unreadable", f"{component} is no type of numbers in glTF")
    return np.dtype(_COMPONENTS[component])


def _stored(file: GltfFile, place: Record, component: int, count: int, width: int) -> np.ndarray:
    """Values in a buffer view, from a record that names the view and an offset in it."""
    dtype = _type(component)
    number = field(place, "bufferView", int)
    data = file.view(number)
    offset, row = field(place, "byteOffset", int, 0), width * dtype.itemsize
    stride = field(file.row("bufferViews", number), "byteStride", int, row)
    if count < 0 or offset < 0 or stride < row or offset + (count - 1) * stride + row > len(data):
        raise MeshError("unreadable", f"an accessor ends beyond its bufferViews[{number}]")
    shape, strides = (count, width), (stride, dtype.itemsize)
    return np.ndarray(shape, dtype, data, offset, strides).copy()


def _replaced(file: GltfFile, sparse: Record, values: np.ndarray, component: int) -> np.ndarray:
    """The values with some rows replaced."""
    count = field(sparse, "count", int)
    rows, fresh = field(sparse, "indices", dict), field(sparse, "values", dict)
    places = _stored(file, rows, field(rows, "componentType", int), count, 1).ravel()
    if places.dtype.kind != "u" or (places >= len(values)).any():
        raise MeshError("unreadable", "a sparse accessor replaces values that it does not have")
    values[places] = _stored(file, fresh, component, count, values.shape[1])
    return values
