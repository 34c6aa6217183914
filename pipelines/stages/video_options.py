"""The options of `import_videos.py`: their defaults and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro
from annotated_types import Ge, Gt, Le, Lt

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.picture_options import ImageFormat
from bridge.common.record import Count, Share, check, to_json
from bridge.common.watch_options import WatchOptions
from bridge.dataset.videos.config import MOST_IMAGES, Layout, Response, Truth, VideoConfig
from bridge.simulator.config import ImageSide


@dataclass(frozen=True)
class ImportVideosConfig:
    """Which videos become images, and how.

    Raises:
        InputError: an option out of its range, or two that do not go together.
    """

    videos: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """Folder of the videos."""
    out: str = "data/real"
    """Folder of the dataset."""
    layout: Layout = "folders"
    """folders: <object>/<trajectory>.mp4, with or without a category above. fmo: sequences of the
    benchmark of fast moving objects (TbD, TbD-3D, Falling Objects)."""
    most_frames: Count | None = None
    """Consecutive frames of the longest exposure; default: 200, as the paper averages of 240 in a
    second, or with --layout fmo as many as a blurred frame has."""
    images: Annotated[int, Ge(1), Le(MOST_IMAGES)] = 11
    """Exposures of a trajectory, of 1 frame to the most in even steps, around its middle."""
    response: Response = "srgb"
    """How the camera turned light into values; frames are averaged in linear light."""
    image_size: tuple[ImageSide, ImageSide] = (240, 320)
    """Height and width in pixels; of frames of other proportions the middle is taken."""
    image_format: ImageFormat = "jpeg"
    """Encoding: jpeg (quality 95, full colour resolution), png or webp (both lossless)."""
    truth: Truth = "median"
    """What boxes, blur severity and blur levels are told from: how frames differ from the median
    frame, or from a clean plate (background.png in the folder, or <video>.background.png); none
    leaves them unknown. The camera has to stand still."""
    threshold: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Difference from what is behind, of the range of values, that shows the object."""
    erosion_pixels: Count = 1
    """Pixels that the silhouette loses on each side before blur severity is measured."""
    labels: str | None = None
    """A CSV file of blur levels that replace the proposed ones, and of the frames to centre on:
    video,frames,blur_level,centre."""
    trajectories_per_shard: Count = 10
    """Size of a shard."""
    max_rejected: Share = 0.5
    """Give up when more than this share of the videos is unusable."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    preview: Count | None = None
    """Only draw so many trajectories on a contact sheet, <out>/preview.png."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        check(self)
        if self.layout == "fmo" and self.truth == "plate":
            raise InputError("--layout fmo has no clean plates: choose --truth median or none.")

    @property
    def folder(self) -> str:
        """Absolute path of the dataset."""
        return storage.absolute(self.out)

    @property
    def averaging(self) -> VideoConfig:
        """What decides the images of a video."""
        return VideoConfig(
            image_size=self.image_size,
            image_format=self.image_format,
            response=self.response,
            truth=self.truth,
            most_frames=self.most_frames,
            images=self.images,
            threshold=self.threshold,
            erosion_pixels=self.erosion_pixels,
        )

    def identity(self) -> dict[str, Any]:
        """The options that decide the rows, as they are read back from a manifest."""
        options = {name: value for name, value in to_json(self).items() if name not in _NO_ROWS}
        for name in ("videos", "labels"):
            options[name] = options[name] and storage.absolute(options[name])
        return options


_NO_ROWS = {"out", "max_rejected", "num_cpus", "preview", "watch"}
"""Options that change no row."""
