"""What a person notes of videos, in a table: blur levels, and the frame in the middle."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bridge.blur import NUM_LEVELS
from bridge.common import storage
from bridge.common.errors import InputError

COLUMNS = ("video", "frames", "blur_level", "centre")


@dataclass(frozen=True)
class Note:
    """What is noted of a video.

    Attributes:
        centre: the frame in the middle of every exposure; None: that of the video.
        level: blur level of all its images; None where it is not noted.
        levels: blur level by number of frames averaged, before `level`.
    """

    centre: int | None = None
    level: int | None = None
    levels: tuple[tuple[int, int], ...] = ()

    def level_of(self, frames: int) -> int | None:
        """The blur level noted of an exposure of so many frames."""
        return dict(self.levels).get(frames, self.level)


def read_notes(path: str) -> Mapping[str, Note]:
    """Notes by the name of the video from a CSV file.

    Its columns are `video`, and any of `frames`, `blur_level` and `centre`. A row without `frames`
    is about all images of a video.

    Raises:
        InputError: it cannot be read, has other columns, or a value is none; names the line.
    """
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no CSV file in UTF-8.") from error
    reader = csv.DictReader(io.StringIO(text), strict=True)
    notes: dict[str, Note] = {}
    try:
        _check_columns(path, reader.fieldnames or ())
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"{place}: there are not as many values as columns.")
            name = row["video"]
            notes[name] = _with(notes.get(name, Note()), row, place)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}.") from error
    return notes


def _check_columns(path: str, names: Sequence[str]) -> None:
    if "video" not in names or set(names) - set(COLUMNS) or len(set(names)) < max(len(names), 2):
        told = ", ".join(names) or "none"
        raise InputError(
            f"{path} must have the column video and some of {', '.join(COLUMNS[1:])}, not: {told}."
        )


def _with(note: Note, row: Mapping[str, str], place: str) -> Note:
    frames, level, centre = (
        _number(row.get(name) or "", name, least, most, place)
        for name, least, most in (
            ("frames", 1, None),
            ("blur_level", 1, NUM_LEVELS),
            ("centre", 0, None),
        )
    )
    if centre is not None:
        note = replace(note, centre=centre)
    if level is not None and frames is not None:
        note = replace(note, levels=(*note.levels, (frames, level)))
    elif level is not None:
        note = replace(note, level=level)
    return note


def _number(text: str, name: str, least: int, most: int | None, place: str) -> int | None:
    if not text.strip():
        return None
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least or (most is not None and value > most):
        limits = f"from {least} to {most}" if most is not None else f"of {least} or more"
        raise InputError(f"{place}: {name} must be a whole number {limits}, not {text!r}.")
    return value
