"""The lines of OBJ files as arrays."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """What an OBJ file says of shapes.

    Attributes:
        positions: [V, 3].
        colours: [V, 3] in 0..1, 1 where a vertex has none; None where no vertex has one.
        coordinates: [T, 2], of textures.
        normals: [N, 3].
        corners: int64 [C, 3], position, texture coordinate and normal of each corner, face by face;
            the latter two are -1 where there is none.
        counts: int64 [F], corners of each face.
        face_material: int64 [F], index into `materials`.
        materials: their names as written; None is that of faces before the first name.
        libraries: what the lines `mtllib` say.
    """

    positions: np.ndarray
    colours: np.ndarray | None
    coordinates: np.ndarray
    normals: np.ndarray
    corners: np.ndarray
    counts: np.ndarray
    face_material: np.ndarray
    materials: list[str | None]
    libraries: list[str]


def read_geometry(text: str) -> Geometry:
    """Parse an OBJ file that `plain_text` has read.

    Lines, points, curves and groups are left out.

    Raises:
        ValueError: a face has something that is not a whole number.
    """
    lines = text.split("\n")
    heads = np.array([line[:2] for line in lines])
    is_face = _begins(heads, "f ")
    vertex_lines = {keyword: _begins(heads, keyword) for keyword in ("v ", "vt", "vn")}
    vertices, sizes = _table(_chosen(lines, vertex_lines["v "]), 1, 7)
    corners, counts = _faces(_chosen(lines, is_face))
    if (corners < 0).any():
        earlier = [np.cumsum(mask)[is_face] for mask in vertex_lines.values()]
        before = np.repeat(np.stack(earlier, axis=1), counts, axis=0)
        corners = np.where(corners < 0, before + corners + 1, corners)
    corners = corners - 1
    coordinates = _table(_chosen(lines, vertex_lines["vt"]), 2, 2)[0]
    coordinates[np.isnan(coordinates[:, 1]), 1] = 0
    normals = _table(_chosen(lines, vertex_lines["vn"]), 2, 3)[0]
    for column, there in ((1, coordinates), (2, normals)):
        known = (corners[:, column] >= 0) & (corners[:, column] < len(there))
        corners[:, column] = np.where(known, corners[:, column], -1)
    face_material, materials = _materials(lines, heads, is_face)
    return Geometry(
        positions=vertices[:, :3],
        colours=_colours(vertices, sizes),
        coordinates=coordinates,
        normals=normals,
        corners=corners,
        counts=counts,
        face_material=face_material,
        materials=materials,
        libraries=[name for _, name in _named(lines, heads, "mtllib") if name],
    )


def _begins(heads: np.ndarray, keyword: str) -> np.ndarray:
    """Which lines begin with a keyword of one or two letters, in any case."""
    return np.isin(heads, [keyword, keyword.upper(), keyword.capitalize()])


def _chosen(lines: Sequence[str], mask: np.ndarray) -> list[str]:
    """Some of the lines, with one blank wherever there are several."""
    chosen = list(compress(lines, mask.tolist()))
    joined = "\n".join(chosen)
    return re.sub(" {2,}", " ", joined).split("\n") if "  " in joined else chosen


def _named(lines: Sequence[str], heads: np.ndarray, keyword: str) -> list[tuple[int, str]]:
    """The places of the lines of a keyword, and what follows it."""
    found = []
    for place in np.flatnonzero(_begins(heads, keyword[:2])).tolist():
        word, _, name = lines[place].partition(" ")
        if word.lower() == keyword:
            found.append((place, name.strip()))
    return found


def _table(lines: list[str], start: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers behind a keyword of `start` letters, float64 [N, width], and how many, [N].

    Missing numbers, and what is none, are NaN.
    """
    counts = np.array([line.count(" ") for line in lines], np.int64)
    values = _numbers("".join([line[start:] for line in lines]), np.float64)
    if len(values) != counts.sum():
        words = (word for line in lines for word in line.split(" ")[1:])
        values = np.array([_number(word) for word in words], np.float64)
    return _rows(values, counts, width, np.nan), counts


def _numbers(text: str, kind: type) -> np.ndarray:
    """Numbers between blanks, up to the first that is none."""
    # NumPy reads a number out of nothing.
    if not text.strip():
        return np.empty(0, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return np.fromstring(text.encode("ascii", "replace"), kind, sep=" ")
        except ValueError:
            return np.empty(0, kind)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan


def _rows(values: np.ndarray, counts: np.ndarray, width: int, fill: float) -> np.ndarray:
    """The first `width` of each row of values, [N, width], given the lengths of the rows."""
    if len(counts) and (counts == counts[0]).all() and counts[0] >= width:
        return values.reshape(len(counts), counts[0])[:, :width].copy()
    place = np.arange(width)
    index = (np.cumsum(counts) - counts)[:, None] + place
    filled = np.append(values, np.array(fill, values.dtype))
    return filled[np.where(place < counts[:, None], index, len(values))]


def _faces(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of each corner as written, int64 [C, 3] with 0 for none, and corners per face."""
    counts = np.array([line.count(" ") for line in lines], np.int64)
    text = "".join([line[1:] for line in lines]) + " "
    if "//" in text or "/ " in text:
        text = text.replace("//", "/0/").replace("/ ", "/0 ")
    signs = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    slashes, blanks = np.flatnonzero(signs == ord("/")), np.flatnonzero(signs == ord(" "))
    fields = np.diff(np.searchsorted(slashes, blanks)) + 1
    values = _numbers(text.replace("/", " "), np.int64)
    if len(values) != fields.sum():
        raise ValueError("a face has something that is not a whole number")
    return _rows(values, fields, 3, 0), counts


def _colours(vertices: np.ndarray, sizes: np.ndarray) -> np.ndarray | None:
    """Colours behind the positions, an extension of scanners: as written, or of 0..255."""
    coloured = sizes >= 6
    if not coloured.any():
        return None
    colours = np.where(coloured[:, None], np.nan_to_num(vertices[:, 3:6]), np.nan)
    high = np.nanmax(colours)
    return np.clip(np.nan_to_num(colours / (255 if high > 1 else 1), nan=1.0), 0, 1)


def _materials(
    lines: Sequence[str], heads: np.ndarray, is_face: np.ndarray
) -> tuple[np.ndarray, list[str | None]]:
    """The material of each face, int64 [F], and the names of all."""
    earlier = np.cumsum(is_face)
    numbers: dict[str | None, int] = {None: 0}
    starts, chosen = [0], [0]
    for place, name in _named(lines, heads, "usemtl"):
        starts.append(int(earlier[place]))
        chosen.append(numbers.setdefault(name, len(numbers)))
    lengths = np.diff([*starts, int(is_face.sum())])
    return np.repeat(np.array(chosen, np.int64), lengths), list(numbers)
