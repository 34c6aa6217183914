"""The frames of a video, or of a folder of numbered pictures, one after the other.

Frames have numbers from 0. A frame that is not there, or cannot be decoded, leaves a hole: those
behind it keep their numbers where the file tells them, so that nothing is averaged over it unseen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from bridge.common.errors import InputError
from bridge.common.images import UnreadableImage, decode, without_addresses
from bridge.common.picture_options import MAX_PIXELS

SAMPLED = 50
"""Frames that a whole video is known by."""

_NUMBERED = re.compile(r"(\d+)\.(png|jpg|jpeg|bmp|webp)", re.IGNORECASE)
_NEAR = 64
"""Frames that are decoded for the next one, rather than looked for another place to enter."""
_JITTER = 0.25
"""Part of the usual interval by which one may differ from it."""
_UNEVEN = 0.05
"""Share of intervals that may differ more before the rate counts as variable."""


UNUSABLE = (
    "unreadable", "no_frames", "too_large", "variable_rate", "missing_frames", "too_short",
    "no_plate",
)  # fmt: skip
"""Reasons for which a video cannot be used."""


class UnusableVideo(ValueError):
    """There is nothing to average; `reason` is one of `UNUSABLE`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[UnusableVideo], tuple[str, str]]:
        return UnusableVideo, (self.reason, self.detail)


class Frames(Protocol):
    """Frames that can be read in their order, as often as wanted.

    Attributes:
        holes: int64, numbers of frames behind which others are missing.
        rate: frames per second; None where nothing tells.
    """

    holes: np.ndarray
    rate: float | None

    def __len__(self) -> int: ...

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Those of some frames, in ascending order, that can be read: uint8 RGB [H, W, 3]."""
        ...


def open_frames(path: str) -> Frames:
    """The frames of a video file or of a folder of numbered pictures.

    Raises:
        UnusableVideo: there are none, or they are not evenly spaced in time.
        InputError: PyAV is not installed.
    """
    return PictureFrames(path) if os.path.isdir(path) else VideoFrames(path)


def sampled(frames: Frames) -> Iterator[tuple[int, np.ndarray]]:
    """Up to `SAMPLED` frames with their numbers, evenly spread, whose median is the background."""
    numbers = np.linspace(0, len(frames) - 1, SAMPLED).astype(int)
    return frames.read(np.unique(numbers).tolist())


def pyav() -> ModuleType:
    """PyAV; InputError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise InputError(
            "Videos are read with PyAV: python -m pip install 'bridge-retrieval[video]'."
        ) from error
    # What it finds fault with in a file is told by its errors.
    av.logging.set_level(av.logging.PANIC)
    return av


class VideoFrames:
    """The frames of a video file."""

    def __init__(self, path: str) -> None:
        """Read the times of all frames; none is decoded."""
        self._path, self._av = path, pyav()
        with self._opened() as (container, stream):
            if stream.codec_context is None:
                raise UnusableVideo("unreadable", "it is of an unknown kind")
            self._size = stream.width, stream.height
            if stream.width * stream.height > MAX_PIXELS:
                raise UnusableVideo("too_large", f"more than {MAX_PIXELS} pixels in a frame")
            self.rate: float | None = float(stream.average_rate or 0) or None
            packets = [
                (packet.pts, packet.dts)
                for packet in container.demux(stream)
                # The last one is empty, as are those of frames that a camera dropped.
                if packet.size and not packet.is_discard
            ]
            is_reordered = bool(stream.codec_context.has_b_frames)
        if not packets:
            raise UnusableVideo("no_frames")
        self._ticks = trusted_ticks(packets, is_reordered)
        self._length = len(packets) if self._ticks is None else len(self._ticks)
        self.holes = np.zeros(0, np.int64) if self._ticks is None else _holes(self._ticks)

    def __len__(self) -> int:
        return self._length

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        # What is in a file may not name others: a playlist is no video.
        options = {"protocol_whitelist": "none"}
        errors = (self._av.error.FFmpegError, OSError)
        try:
            with (
                open(self._path, "rb") as file,
                self._av.open(file, options=options, metadata_errors="replace") as container,
            ):
                if not container.streams.video:
                    raise UnusableVideo("no_frames", "there is no picture in it")
                yield container, container.streams.video[0]
        except errors as error:
            raise UnusableVideo("unreadable", _told(error)) from error

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """As `Frames`; UnusableVideo where the file turns out to be unreadable."""
        place = 0
        while place < len(numbers):
            decoded, end = self._entered(numbers[place]), _end_of_run(numbers, place)
            if decoded is None:
                decoded, end = self._decoded(0), len(numbers)
            wanted = set(numbers[place:end])
            for number, frame in decoded:
                if number in wanted and (pixels := self._pixels(frame)) is not None:
                    yield number, pixels
                if number >= numbers[end - 1]:
                    break
            place = end

    def _pixels(self, frame: Any) -> np.ndarray | None:
        """uint8 RGB [H, W, 3], upright; None where damage made it of a kind that has no RGB."""
        try:
            pixels = frame.to_ndarray(format="rgb24")
        except (self._av.error.FFmpegError, OSError):
            return None
        turns = round((frame.rotation or 0) / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def _entered(self, first: int) -> Iterator[tuple[int, Any]] | None:
        """Frames from `first`, or from one before it, on; None where there is no way in there."""
        if self._ticks is None:
            return None
        decoded = self._decoded(first)
        head = next(decoded, None)
        # A file without a proper index is entered behind the place asked for.
        return chain([head], decoded) if head is not None and head[0] <= first else None

    def _decoded(self, start: int) -> Iterator[tuple[int, Any]]:
        """Frames from the last one up to `start` that needs no other, where the file tells it."""
        with self._opened() as (container, stream):
            if start and self._ticks is not None:
                container.seek(int(self._ticks[start]), stream=stream)
            number = -1
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except self._av.error.InvalidDataError:
                    continue
                for frame in frames:
                    number = self._number(frame, number + 1)
                    # Damage, and nothing else in videos of cameras, changes the size.
                    is_sound = not frame.is_corrupt and (frame.width, frame.height) == self._size
                    if is_sound and number < len(self):
                        yield number, frame

    def _number(self, frame: Any, counted: int) -> int:
        if self._ticks is None or frame.pts is None:
            return counted
        return int(np.searchsorted(self._ticks, frame.pts))


def trusted_ticks(
    packets: Sequence[tuple[int | None, int | None]], is_reordered: bool
) -> np.ndarray | None:
    """When each frame is shown, in ticks, ascending; None where the file does not tell.

    Args:
        packets: when each is shown and decoded, in the order of the file.
        is_reordered: whether frames are shown in another order than they are decoded in.
    """
    # Some programs write frames that are reordered as if they were not.
    if is_reordered and all(shown == decoded for shown, decoded in packets):
        return None
    shown = [ticks for ticks, _ in packets if ticks is not None]
    return np.unique(shown) if len(shown) == len(packets) else None


def _end_of_run(numbers: Sequence[int], place: int) -> int:
    """The place behind those from `place` on that are near enough to be decoded in one go."""
    places = range(place + 1, len(numbers))
    return next((p for p in places if numbers[p] - numbers[p - 1] > _NEAR), len(numbers))


def _holes(ticks: np.ndarray) -> np.ndarray:
    """Numbers of the frames that are followed by a longer interval than the others.

    UnusableVideo where intervals are of all lengths.
    """
    steps = np.diff(ticks)
    if not len(steps):
        return np.zeros(0, np.int64)
    usual = np.median(steps)
    # Times are rounded to ticks, of which there may be as few as two from frame to frame.
    uneven = np.abs(steps - usual) > max(_JITTER * usual, float(usual >= 2))
    if uneven.mean() > _UNEVEN:
        share = f"{uneven.mean():.0%} of the intervals between frames"
        raise UnusableVideo("variable_rate", f"{share} differ from the usual one")
    return np.flatnonzero(uneven)


def _told(error: BaseException) -> str:
    return without_addresses(getattr(error, "strerror", None) or str(error))


class PictureFrames:
    """Pictures `00000000.png` and on of a folder, which may begin with any number."""

    rate: float | None = None

    def __init__(self, folder: str) -> None:
        """List the folder."""
        named = (_NUMBERED.fullmatch(name) for name in sorted(os.listdir(folder)))
        files = {int(found[1]): os.path.join(folder, found[0]) for found in named if found}
        if not files:
            raise UnusableVideo("no_frames")
        start = min(files)
        self._files = {number - start: path for number, path in files.items()}
        self._shape: tuple[int, ...] | None = None
        self._length = max(self._files) + 1
        self.holes = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """As `Frames`; pictures of another size than the first one are left out."""
        for number in numbers:
            if number in self._files:
                try:
                    frame = decode(Path(self._files[number]).read_bytes())
                except (UnreadableImage, OSError):
                    continue
                self._shape = self._shape or frame.shape
                if frame.shape == self._shape:
                    yield number, frame
