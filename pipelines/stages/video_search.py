"""Retrieval within a video: crops of its frames, most like an object of one frame first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bridge.blur import blur_level
from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.common.progress import progress
from bridge.dataset.videos.candidates import Box, background_of, crop, moving_boxes
from bridge.dataset.videos.frames import Frames
from bridge.model.checkpoint import load
from bridge.model.device import usable
from bridge.model.embedding import default_batch_size
from bridge.model.method import RetrievalModel
from bridge.report.gallery import Tile
from bridge.report.video import Timeline, video_page
from pipelines.stages.video_search_options import SearchVideoConfig

BoxesIn = Callable[[int, np.ndarray], Sequence[Box]]
"""The candidates in a frame, given its number and its pixels."""

QUARTER_SECOND = 0.25
PAGE_WIDTH = 224
"""Pixels of a crop on the page, which networks for small images see smaller."""
FEW_FRAMES = 5
"""Between results where nothing tells how many frames a second has."""


@dataclass(frozen=True)
class Sighting:
    """A candidate: its frame and box, and how like the object it is (cosine, -1..1).

    `blur_severity`, in 0..1, is the network's; None where it does not tell.
    """

    frame: int
    box: Box
    similarity: float
    blur_severity: float | None = None

    @property
    def blur_level(self) -> int | None:
        """The level 1..10 of the severity (Eq. 6)."""
        return None if self.blur_severity is None else blur_level(self.blur_severity)


def search_video(
    config: SearchVideoConfig, frames: Frames, boxes: Mapping[int, Sequence[Box]] | None
) -> tuple[str, list[Sighting]]:
    """The page, and the results of its gallery, best first.

    One batch of crops is in memory at a time; the pictures of the page are read again at the end.

    Raises:
        InputError: there is no model, no such frame, or no candidate in any frame.
        UnusableVideo: the video turns out to be unreadable.
    """
    model = load(config.model, usable(config.device))
    height, width = model.config.image_size
    on_page = round(PAGE_WIDTH * height / width), PAGE_WIDTH
    marked = _marked(config, frames)
    query = crop(marked, config.box, config.context, model.config.image_size)
    descriptor, (severity,) = _described(model, [query])
    sightings = _sightings(config, frames, boxes, model, descriptor[0])
    results = spaced(sightings, config.top, config.apart or _apart(frames))
    tile = Tile(
        encode(crop(marked, config.box, config.context, on_page)),
        None,
        _when(config.frame, frames.rate),
        predicted_blur_severity=severity,
    )
    timeline = Timeline(*_timeline(sightings), rate=frames.rate, query=config.frame)
    provenance = {
        "video": str(config.video),
        "frames": len(frames),
        "model": storage.absolute(config.model),
        "frame": config.frame,
        "box": list(config.box),
        "candidates": len(sightings),
        "candidates_from": config.crops or "motion",
    }
    tiles = _tiles(config, frames, results, on_page)
    return video_page(config.video.name, tile, tiles, timeline, provenance), results


def _marked(config: SearchVideoConfig, frames: Frames) -> np.ndarray:
    """The frame that the object is marked in."""
    for _, frame in frames.read([config.frame]):
        return frame
    raise InputError(f"Frame {config.frame} of the video cannot be decoded.")


def _sightings(
    config: SearchVideoConfig,
    frames: Frames,
    boxes: Mapping[int, Sequence[Box]] | None,
    model: RetrievalModel,
    descriptor: np.ndarray,
) -> list[Sighting]:
    """Every candidate, frame by frame, compared with a descriptor, float32 [d]."""
    found: list[Sighting] = []
    numbers = range(0, len(frames), config.every) if boxes is None else sorted(boxes)
    boxes_in = _moving_in(frames, config.threshold) if boxes is None else _named_in(boxes)
    with progress("search", len(numbers), "frames") as counter:
        for crops, places in _batches(config, frames, numbers, boxes_in, model):
            descriptors, severities = _described(model, crops)
            found += [
                Sighting(number, box, float(similarity), severity)
                for (number, box), similarity, severity in zip(
                    places, descriptors @ descriptor, severities, strict=True
                )
            ]
            counter.advance(bisect_right(numbers, places[-1][0]) - counter.done)
    if not found:
        raise InputError(
            "Nothing moves in the video: name candidates with `crops`, or lower `threshold`."
        )
    return found


def _moving_in(frames: Frames, threshold: float) -> BoxesIn:
    background = background_of(frames)
    return lambda _, frame: moving_boxes(frame, background, threshold)


def _named_in(boxes: Mapping[int, Sequence[Box]]) -> BoxesIn:
    return lambda number, _: boxes[number]


def _batches(
    config: SearchVideoConfig,
    frames: Frames,
    numbers: Sequence[int],
    boxes_in: BoxesIn,
    model: RetrievalModel,
) -> Iterator[tuple[list[np.ndarray], list[tuple[int, Box]]]]:
    """Crops of the candidates, and the frames and boxes that they are of."""
    size, batch_size = model.config.image_size, default_batch_size(model)
    crops: list[np.ndarray] = []
    places: list[tuple[int, Box]] = []
    for number, frame in frames.read(numbers):
        for box in boxes_in(number, frame):
            crops.append(crop(frame, box, config.context, size))
            places.append((number, box))
        if len(crops) >= batch_size:
            yield crops, places
            crops, places = [], []
    if crops:
        yield crops, places


def _described(
    model: RetrievalModel, crops: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[float | None]]:
    """Descriptors, float32 [B, d], and blur severities of crops, uint8 RGB [H, W, 3] each."""
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    found = model.describe(images.to(model.device))
    severities: list[float | None] = [None] * len(crops)
    if found.visibility is not None:
        severities = (1 - found.visibility).cpu().tolist()
    return found.descriptor.cpu().numpy(), severities


def spaced(sightings: Sequence[Sighting], top: int, apart: int) -> list[Sighting]:
    """The `top` best sightings, best first, whose frames are `apart` from each other at least."""
    chosen: list[Sighting] = []
    for one in sorted(sightings, key=lambda sighting: -sighting.similarity):
        if len(chosen) == top:
            break
        if all(abs(one.frame - other.frame) >= apart for other in chosen):
            chosen.append(one)
    return chosen


def _apart(frames: Frames) -> int:
    return max(round(QUARTER_SECOND * frames.rate), 1) if frames.rate else FEW_FRAMES


def _tiles(
    config: SearchVideoConfig,
    frames: Frames,
    results: Sequence[Sighting],
    size: tuple[int, int],
) -> list[tuple[int, Tile]]:
    """The crops of the results, in their order, with their frames."""
    by_frame = {one.frame: one for one in results}
    crops = {
        number: encode(crop(frame, by_frame[number].box, config.context, size))
        for number, frame in frames.read(sorted(by_frame))
    }
    return [
        (
            one.frame,
            Tile(
                crops[one.frame],
                None,
                _when(one.frame, frames.rate),
                similarity=one.similarity,
                predicted_blur_severity=one.blur_severity,
            ),
        )
        for one in results
    ]


def _when(frame: int, rate: float | None) -> str:
    return f"frame {frame}" if rate is None else f"frame {frame}, {frame / rate:.2f} s"


def _timeline(sightings: Sequence[Sighting]) -> tuple[list[int], list[float], list[int | None]]:
    """Of each frame that has candidates: its number, and likeness and blur level of the best."""
    best: dict[int, Sighting] = {}
    for one in sightings:
        if one.frame not in best or one.similarity > best[one.frame].similarity:
            best[one.frame] = one
    numbers = sorted(best)
    return (
        numbers,
        [best[number].similarity for number in numbers],
        [best[number].blur_level for number in numbers],
    )
