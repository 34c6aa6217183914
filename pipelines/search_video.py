"""Find an object of one frame of a video in all of its frames, however blurred it is there.

    python pipelines/search_video.py --video a.mp4 --frame 30 --box 0.4 0.5 0.1 0.2
    python pipelines/search_video.py --video a.mp4 --frame 30 --box 0.4 0.5 0.1 0.2 \
        --crops boxes.csv

Candidates are whatever moves before a still background, or the boxes of a CSV file
(frame,cx,cy,w,h, in units of the frame's size). The page shows those most like the object, and
over the whole video how like it the best one is and how blurred.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le, Lt

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.record import Count, WholeNumber, check

# What takes seconds to import is imported once the options and the video are known to be right.
if TYPE_CHECKING:
    from pipelines.stages.video_search import Sighting


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


def run(config: SearchVideoConfig) -> list[Sighting]:
    """Search and write the page; returns the results of the gallery, best first.

    Raises:
        InputError: the video, the box or the candidates are none.
    """
    if not config.video.exists():
        raise InputError(f"{shown(config.video)} does not exist.")
    out = storage.prepare_file(config.out)
    from bridge.dataset.videos.candidates import check_box, read_boxes
    from bridge.dataset.videos.frames import UnusableVideo, open_frames

    check_box(config.box, "`box`")
    try:
        frames = open_frames(str(config.video))
        if config.frame >= len(frames):
            raise InputError(f"`frame` is {config.frame}, but the video has {len(frames)}.")
        boxes = None if config.crops is None else read_boxes(config.crops, len(frames))
        from pipelines.stages.video_search import search_video

        page, results = search_video(config, frames, boxes)
    except UnusableVideo as error:
        raise InputError(f"{shown(config.video)} cannot be used: {error}.") from error
    storage.write_bytes(out, page.encode())
    for rank, one in enumerate(results, start=1):
        level = "" if one.blur_level is None else f"   BL {one.blur_level}"
        print(f"{rank:>3}   frame {one.frame:>6}   {one.similarity:.4f}{level}")
    print(f"written: {shown(out)}")
    return results


def main() -> None:
    """The command."""
    cli.main(run, SearchVideoConfig, description=__doc__)


if __name__ == "__main__":
    main()
