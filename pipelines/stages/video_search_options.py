"""The options of `search_video.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from bridge.common.record import Count, WholeNumber, check


@dataclass(frozen=True)
class SearchVideoConfig:
    """What to look for, and in which video."""

    video: Path
    """A video, or a folder of numbered pictures."""
    box: tuple[float, float, float, float]
    """The object: cx cy w h in units of the frame's size."""
    frame: WholeNumber = 0
    """The frame that the box is in, counted from 0."""
    model: str = "runs/bridge/model"
    """The model that describes crops."""
    out: str = "reports/video.html"
    """The page to write; it needs no other file."""
    crops: str | None = None
    """A CSV file of candidates, frame,cx,cy,w,h; default: whatever moves."""
    top: Count = 24
    """Results in the gallery."""
    apart: Count | None = None
    """Frames between two results of the gallery at least; default: those of a quarter of a
    second."""
    every: Count = 1
    """Look at every so many-th frame."""
    context: Annotated[float, Ge(1), Le(10)] = 2.0
    """How many times as large as its box a crop is, so that it shows what is around the object as
    training images do."""
    threshold: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Difference from the median frame, of the range of values, of what moves."""
    device: str = "cpu"
    """Where to embed, e.g. cuda."""

    def __post_init__(self) -> None:
        check(self)
