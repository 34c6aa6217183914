"""Find an object of one frame of a video in all of its frames, however blurred it is there.

    python pipelines/search_video.py --video a.mp4 --frame 30 --box 0.4 0.5 0.1 0.2
    python pipelines/search_video.py --video a.mp4 --frame 30 --box 0.4 0.5 0.1 0.2 \
        --crops boxes.csv

Candidates are whatever moves before a still background, or the boxes of a CSV file
(frame,cx,cy,w,h, in units of the frame's size). The page shows those most like the object, and
over the whole video how like it the best one is and how blurred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from pipelines.stages.video_search_options import SearchVideoConfig

# What takes seconds to import is imported once the options and the video are known to be right.
if TYPE_CHECKING:
    from pipelines.stages.video_search import Sighting


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
