"""Which videos there are in a folder, what they show, and what a person has noted of them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.common.errors import InputError
from bridge.common.files import PICTURE_SUFFIXES, Folders, natural, shown
from bridge.dataset.videos.config import VIDEO_SUFFIXES
from bridge.dataset.videos.notes import Note

PLATE = "background"
"""Pictures of what is behind: `<video>.background.png`, or `background.png` for a whole folder."""

SPLITS, SPLITS_12 = 8, 12
"""High-speed frames of a blurred one in the benchmark of fast moving objects."""


@dataclass(frozen=True)
class Clip:
    """The frames of one trajectory.

    Attributes:
        name: path of the video below the folder, or of a sequence with the number of its frame.
        path: a video file, or a folder of numbered pictures.
        object_id, category, trajectory: what it shows.
        start, stop: its frames in the file, `stop` not included; None: to the end.
        plate: a picture of what is behind; None where there is none.
        size: bytes of the file, by which a later change is noticed.
        note: what a person says of it.
    """

    name: str
    path: str
    object_id: str
    category: str | None
    trajectory: int
    start: int = 0
    stop: int | None = None
    plate: str | None = None
    size: int = 0
    note: Note = Note()


@dataclass(frozen=True)
class Found:
    """The trajectories of a folder, and in words what was passed over."""

    clips: tuple[Clip, ...]
    passed_over: str = ""


def find_folders(root: str) -> Found:
    """Videos as `<object>/<trajectory>.mp4` or `<category>/<object>/<trajectory>.mp4`.

    A video that lies in no folder is an object of its own. Trajectories are numbered in natural
    order of the names.

    Raises:
        InputError: there is no video.
    """
    folders = Folders(root, (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES))
    files = sorted((os.path.relpath(path, root) for path in folders.files()), key=natural)
    pictures = {name for name in files if name.lower().endswith(PICTURE_SUFFIXES)}
    videos = [name for name in files if name not in pictures]
    plates = {os.path.splitext(name)[0]: os.path.join(root, name) for name in pictures}
    passed_over = folders.summary()
    if not videos:
        others = f"; passed over: {passed_over}" if passed_over else ""
        raise InputError(f"{root} holds no videos ({', '.join(VIDEO_SUFFIXES)}){others}.")
    numbers: defaultdict[str, int] = defaultdict(int)
    clips = []
    for name in videos:
        folder, file = os.path.split(name)
        stem = os.path.splitext(file)[0]
        object_id = folder or stem
        own, common = os.path.join(folder, f"{stem}.{PLATE}"), os.path.join(folder, PLATE)
        clips.append(
            Clip(
                name=name,
                path=os.path.join(root, name),
                object_id=object_id,
                category=object_id.split(os.sep)[0] if os.sep in object_id else None,
                trajectory=numbers[object_id],
                plate=plates.get(own) or plates.get(common),
                size=os.path.getsize(os.path.join(root, name)),
            )
        )
        numbers[object_id] += 1
    return Found(tuple(clips), passed_over)


def find_fmo(root: str) -> Found:
    """The benchmark of fast moving objects (TbD, TbD-3D, Falling Objects).

    `imgs_gt/<sequence>/00000000.png` and on are high-speed frames, `SPLITS` of them (`SPLITS_12`
    where the name has "-12") for each blurred one of `imgs/<sequence>`. A sequence is an object,
    and every blurred frame a trajectory.

    Raises:
        InputError: there is no such sequence.
    """
    fast = Path(root) / "imgs_gt"
    sequences = sorted((p for p in fast.glob("*") if p.is_dir()), key=lambda p: natural(p.name))
    clips: list[Clip] = []
    empty = 0
    for folder in sequences:
        splits = SPLITS_12 if "-12" in folder.name else SPLITS
        numbers = [int(f.stem) for f in folder.iterdir() if f.stem.isdecimal()]
        count = (max(numbers) - min(numbers) + 1) // splits if numbers else 0
        empty += not count
        size = sum(f.stat().st_size for f in folder.iterdir())
        clips += [
            Clip(
                name=f"{folder.name}/{number}",
                path=str(folder),
                object_id=folder.name,
                category=None,
                trajectory=number,
                start=number * splits,
                stop=(number + 1) * splits,
                size=size,
            )
            for number in range(count)
        ]
    if not clips:
        raise InputError(
            f"{root} holds no sequences of high-speed frames: they lie as "
            f"imgs_gt/<sequence>/00000000.png, {SPLITS} and more of them."
        )
    return Found(tuple(clips), f"sequences too short for a blurred frame: {empty}" if empty else "")


def with_notes(clips: Sequence[Clip], notes: Mapping[str, Note], source: str) -> tuple[Clip, ...]:
    """The clips with what `notes` say of them, by name.

    Raises:
        InputError: a note is of no clip.
    """
    unknown = sorted(notes.keys() - {clip.name for clip in clips})
    if unknown:
        raise InputError(f"{source}: there is no video {shown(unknown[0])}.")
    return tuple(replace(clip, note=notes.get(clip.name, clip.note)) for clip in clips)
