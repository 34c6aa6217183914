"""The lines of OBJ files as arrays."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

_END, _BLANK, _SMALL = ord("\n"), ord(" "), 0x20
"""The last makes small letters of large ones."""
_BLANKS = bytes(max(sign, _BLANK) for sign in range(256))
"""Blanks for all that comes before them."""


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
    lines = _Lines(text)
    kinds = [lines.of_keyword(keyword) for keyword in ("v ", "vt", "vn")]
    is_face = lines.of_keyword("f ")
    vertices, sizes = _table(lines.numbers_in(kinds[0], 1), 6)
    corners, counts = _faces(lines.numbers_in(is_face, 1))
    if (corners < 0).any():
        earlier = [np.cumsum(mask)[is_face] for mask in kinds]
        before = np.repeat(np.stack(earlier, axis=1), counts, axis=0)
        corners = np.where(corners < 0, before + corners + 1, corners)
    corners -= 1
    coordinates = _table(lines.numbers_in(kinds[1], 2), 2)[0]
    coordinates[np.isnan(coordinates[:, 1]), 1] = 0
    normals = _table(lines.numbers_in(kinds[2], 2), 3)[0]
    for column, there in ((1, coordinates), (2, normals)):
        known = (corners[:, column] >= 0) & (corners[:, column] < len(there))
        corners[:, column] = np.where(known, corners[:, column], -1)
    face_material, materials = _materials(lines, is_face)
    return Geometry(
        positions=vertices[:, :3],
        colours=_colours(vertices, sizes),
        coordinates=coordinates,
        normals=normals,
        corners=corners,
        counts=counts,
        face_material=face_material,
        materials=materials,
        libraries=[name for _, name in lines.named("mtllib") if name],
    )


class _Lines:
    """The lines of a text as bytes: loops over millions of them would take longer than NumPy."""

    def __init__(self, text: str) -> None:
        self._bytes = f"{text}\n".encode("utf-8", "surrogateescape")
        self._signs = np.frombuffer(self._bytes, np.uint8)
        ends = np.flatnonzero(self._signs == _END)
        self._starts = np.append(0, ends[:-1] + 1)
        self._lengths = ends + 1 - self._starts
        # Of a line without letters they are those of no keyword.
        self._first = self._signs[self._starts] | _SMALL
        self._second = self._signs[np.minimum(self._starts + 1, ends)] | _SMALL

    def of_keyword(self, keyword: str) -> np.ndarray:
        """Which lines begin with two letters, in any case."""
        return (self._first == ord(keyword[0])) & (self._second == ord(keyword[1]))

    def numbers_in(self, chosen: np.ndarray, skipped: int) -> bytes:
        """Some of the lines, with blanks for their first letters."""
        places, lengths = np.flatnonzero(chosen), self._lengths[chosen]
        if len(places) and places[-1] - places[0] + 1 == len(places):
            # In one piece, as most programs write them.
            start = self._starts[places[0]]
            signs = self._signs[start : start + lengths.sum()].copy()
        else:
            signs = self._signs[np.repeat(chosen, self._lengths)]
        starts = np.cumsum(lengths) - lengths
        for letter in range(skipped):
            signs[starts + letter] = _BLANK
        return signs.tobytes()

    def named(self, keyword: str) -> list[tuple[int, str]]:
        """The places of the lines of a keyword, and what follows it."""
        found = []
        for place in np.flatnonzero(self.of_keyword(keyword[:2])).tolist():
            start = int(self._starts[place])
            line = self._bytes[start : start + int(self._lengths[place])]
            word, _, name = line.decode("utf-8", "surrogateescape").strip().partition(" ")
            if word.lower() == keyword:
                found.append((place, name.strip()))
        return found


def _words(signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the words of lines begin, and how many each line has."""
    filled = signs > _BLANK
    starts = np.flatnonzero(filled[1:] & ~filled[:-1]) + 1
    ends = np.flatnonzero(signs == _END)
    return starts, np.diff(np.searchsorted(starts, ends), prepend=0)


def _table(lines: bytes, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers in lines, float64 [N, width], and how many there are in each, [N].

    Missing numbers, and what is none, are NaN.
    """
    starts, counts = _words(np.frombuffer(lines, np.uint8))
    values = _numbers(lines, np.float64)
    if len(values) != len(starts):
        words = lines.translate(_BLANKS).split()
        values = np.array([_number(word) for word in words], np.float64)
    return _rows(values, counts, width, np.nan), counts


def _numbers(text: bytes, kind: type) -> np.ndarray:
    """Numbers between blanks, up to the first that is none."""
    # NumPy reads a number out of nothing.
    if not text.strip():
        return np.empty(0, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return np.fromstring(text, kind, sep=" ")
        except ValueError:
            return np.empty(0, kind)


def _number(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan


def _rows(values: np.ndarray, counts: np.ndarray, width: int, fill: float) -> np.ndarray:
    """The first `width` of each row of values, [N, width], given the lengths of the rows."""
    if len(counts) and (counts == counts[0]).all():
        rows = np.full((len(counts), width), fill, values.dtype)
        rows[:, : counts[0]] = values.reshape(len(counts), counts[0])[:, :width]
        return rows
    place = np.arange(width)
    index = (np.cumsum(counts) - counts)[:, None] + place
    filled = np.append(values, np.array(fill, values.dtype))
    return filled[np.where(place < counts[:, None], index, len(values))]


def _faces(lines: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of each corner as written, int64 [C, 3] with 0 for none, and corners per face."""
    if b"//" in lines or b"/ " in lines or b"/\n" in lines:
        lines = lines.replace(b"//", b"/0/").replace(b"/ ", b"/0 ").replace(b"/\n", b"/0\n")
    signs = np.frombuffer(lines, np.uint8)
    starts, counts = _words(signs)
    slashes = np.flatnonzero(signs == ord("/"))
    fields = np.diff(np.searchsorted(slashes, np.append(starts, len(signs)))) + 1
    values = _numbers(lines.replace(b"/", b" "), np.int64)
    if len(values) != len(slashes) + len(starts):
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


def _materials(lines: _Lines, is_face: np.ndarray) -> tuple[np.ndarray, list[str | None]]:
    """The material of each face, int64 [F], and the names of all."""
    earlier = np.cumsum(is_face)
    numbers: dict[str | None, int] = {None: 0}
    starts, chosen = [0], [0]
    for place, name in lines.named("usemtl"):
        starts.append(int(earlier[place]))
        chosen.append(numbers.setdefault(name, len(numbers)))
    lengths = np.diff([*starts, int(is_face.sum())])
    return np.repeat(np.array(chosen, np.int64), lengths), list(numbers)
