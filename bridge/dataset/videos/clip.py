"""The images of a clip, and what can be told of the object that moves in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path

import numpy as np

from bridge.blur import blur_level, blur_value, bounding_box
from bridge.common.images import UnreadableImage, decode
from bridge.dataset.videos import exposures
from bridge.dataset.videos.config import LONGEST, VideoConfig
from bridge.dataset.videos.exposures import Exposures
from bridge.dataset.videos.foreground import Motion, Track, mask_of, median_frame
from bridge.dataset.videos.frames import UnusableVideo, open_frames, sampled
from bridge.dataset.videos.layout import PLATE, Clip
from bridge.dataset.videos.pixels import light_table, middle, resized, to_display

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Exposure:
    """One image of a clip; what is not known is None.

    Attributes:
        window: its place among the exposures, 0 being a single frame.
        frames: consecutive frames that it is the mean of.
        image: uint8 RGB [H, W, 3].
        blur_severity, mean_opacity, bbox: of the object, as of a simulated one.
        blur_level: noted, or proposed from how far the object moves for its size.
        motion: of the object while the image was exposed.
    """

    window: int
    frames: int
    image: np.ndarray
    blur_severity: float | None = None
    blur_level: int | None = None
    mean_opacity: float | None = None
    bbox: Box | None = None
    motion: Motion | None = None

    @property
    def is_steppy(self) -> bool:
        """Whether the object moves so far between frames that their edges may show."""
        return self.frames > 1 and self.motion is not None and self.motion.per_frame > 1


@dataclass(frozen=True)
class Exposed:
    """All images of a clip, shortest exposure first.

    Attributes:
        images: those that could be made.
        missing: frames of the exposures that lack one.
        is_steady: whether what is behind stood still; else nothing is told of the object.
    """

    images: tuple[Exposure, ...]
    missing: tuple[int, ...] = ()
    is_steady: bool = True


def expose(clip: Clip, config: VideoConfig) -> Exposed:
    """Average the frames around the middle of a clip.

    One frame at a time is in memory, and those of `sampled` at the size of the images.

    Raises:
        UnusableVideo: it cannot be read, or holds no frames that can be averaged.
        InputError: PyAV is not installed.
    """
    frames = open_frames(clip.path)
    look = _look(clip.path, clip.plate, config)
    centre, lengths = _plan(clip, config, len(frames), look)
    taken = _Taken(centre, lengths, config, look.background)
    first, last = exposures.window(centre, lengths[-1])
    for number, frame in frames.read(range(first, last + 1)):
        taken.add(number, frame)
    whole = taken.whole(frames.holes)
    if not any(whole):
        raise UnusableVideo("missing_frames", f"frame {centre} is not there")
    images = (
        exposure
        for exposure, is_whole in zip(taken.exposures(clip), whole, strict=True)
        if is_whole
    )
    missing = (length for length, is_whole in zip(lengths, whole, strict=True) if not is_whole)
    return Exposed(tuple(images), tuple(missing), taken.is_steady)


@dataclass(frozen=True)
class _Look:
    """What is behind, uint8 at the size of the images, and frames in which something moves."""

    background: np.ndarray | None = None
    moving: tuple[int, ...] = ()


def _plan(clip: Clip, config: VideoConfig, count: int, look: _Look) -> tuple[int, list[int]]:
    """The frame in the middle, and the frames of each exposure that lies within the clip.

    The middle is that of what moves, of a whole video. The longest exposures are left out of a
    short one, so that an exposure is as long in all videos.
    """
    stop = count if clip.stop is None else min(clip.stop, count)
    centre = (clip.start + stop) // 2
    if clip.note.centre is not None:
        centre = clip.note.centre
    elif clip.stop is None and look.moving:
        centre = look.moving[len(look.moving) // 2]
    most = config.most_frames or (LONGEST if clip.stop is None else clip.stop - clip.start)
    lengths = [
        length
        for length in exposures.lengths(most, config.images)
        if exposures.fits(centre, length, clip.start, stop)
    ]
    if not lengths:
        frames = "1 frame" if stop == 1 else f"{stop - clip.start} frames"
        raise UnusableVideo("too_short", f"there is no frame {centre} among {frames}")
    return centre, lengths


@lru_cache(maxsize=2)
def _look(path: str, plate: str | None, config: VideoConfig) -> _Look:
    """Look through a file for what is behind; clips of one file share it."""
    if config.truth == "none":
        return _Look()
    size, found = config.image_size, {}
    for number, frame in sampled(open_frames(path)):
        shape = frame.shape
        found[number] = resized(middle(frame, size), size)
    if not found:
        raise UnusableVideo("unreadable", "none of its frames can be decoded")
    if config.truth == "median":
        background = median_frame(found.values())
    else:
        background = resized(middle(_plate(plate, shape), size), size)
    moving = [n for n, frame in found.items() if mask_of(frame, background, config.threshold).any()]
    return _Look(background, tuple(moving))


def _plate(path: str | None, shape: tuple[int, ...]) -> np.ndarray:
    """A picture of what is behind frames of a shape."""
    if path is None:
        raise UnusableVideo("no_plate", f"there is no {PLATE}.png beside it")
    try:
        picture = decode(Path(path).read_bytes())
    except (UnreadableImage, OSError) as error:
        raise UnusableVideo("no_plate", f"the clean plate cannot be read: {error}") from error
    if picture.shape != shape:
        raise UnusableVideo("no_plate", "the clean plate has another size than the frames")
    return picture


class _Taken:
    """The frames of a clip, added up as they come."""

    def __init__(
        self,
        centre: int,
        lengths: Sequence[int],
        config: VideoConfig,
        background: np.ndarray | None,
    ) -> None:
        self._config, self._background = config, background
        self._windows = [exposures.window(centre, length) for length in lengths]
        self._table = light_table(config.response)
        self._shrink = partial(resized, size=config.image_size)
        self._light = Exposures(centre, lengths, self._shrink)
        self._opacity, self._track = Exposures(centre, lengths), Track()
        self._seen: set[int] = set()

    def add(self, number: int, frame: np.ndarray) -> None:
        """Add a frame, uint8 [H, W, 3]."""
        self._seen.add(number)
        frame = middle(frame, self._config.image_size)
        self._light.add(number, self._table[frame])
        if self._background is not None:
            mask = mask_of(self._shrink(frame), self._background, self._config.threshold)
            self._opacity.add(number, mask.astype(np.float32))
            self._track.add(number, mask)

    @property
    def is_steady(self) -> bool:
        return self._track.is_steady

    def whole(self, holes: np.ndarray) -> list[bool]:
        """Of each exposure, whether it has all of its frames, and nothing is missing between."""
        seen = np.array(sorted(self._seen), np.int64)
        return [
            np.count_nonzero((seen >= first) & (seen <= last)) == last - first + 1
            and not ((holes >= first) & (holes < last)).any()
            for first, last in self._windows
        ]

    def exposures(self, clip: Clip) -> Iterator[Exposure]:
        """All exposures, shortest first, whole or not."""
        known = self._background is not None and self.is_steady
        alphas = self._opacity.means() if known else repeat(None)
        for place, (light, alpha) in enumerate(zip(self._light.means(), alphas, strict=False)):
            first, last = self._windows[place]
            frames = last - first + 1
            noted = clip.note.level_of(frames)
            exposure = Exposure(
                place, frames, to_display(light, self._config.response), blur_level=noted
            )
            motion = self._track.motion(first, last) if known else None
            if alpha is not None and motion is not None:
                value = blur_value(alpha, self._config.erosion_pixels)
                exposure = replace(
                    exposure,
                    # Nothing is left of a spot that is too small to be eroded.
                    blur_severity=1 - value if value else None,
                    blur_level=noted or blur_level(motion.severity),
                    mean_opacity=blur_value(alpha, 0),
                    bbox=bounding_box(alpha),
                    motion=motion,
                )
            yield exposure
