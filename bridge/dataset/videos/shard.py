"""What is in the shards of a DATASET made of videos, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge.common.images import encode
from bridge.dataset.manifest import Adjustment, Rejection, ShardResult
from bridge.dataset.schema import REAL_SPLIT, image_id, to_table
from bridge.dataset.shards import shard_path, write_shard
from bridge.dataset.videos.clip import Exposed, Exposure, expose
from bridge.dataset.videos.config import VideoConfig
from bridge.dataset.videos.frames import UnusableVideo
from bridge.dataset.videos.layout import Clip

STEPPY, UNSTEADY = "steppy", "unsteady_background"
"""Adjustments: an image whose frames may show side by side, and a video without labels."""
INCOMPLETE = "incomplete_image"
"""Rejection of an image that lacks frames; those of whole videos have reasons `UNUSABLE`."""


@dataclass(frozen=True)
class VideoShard:
    """A shard that is to be made of some clips."""

    path: str
    clips: tuple[Clip, ...]


def plan_shards(clips: Sequence[Clip], per_shard: int) -> list[VideoShard]:
    """The shards of all clips, in their order."""
    parts = [tuple(clips[start : start + per_shard]) for start in range(0, len(clips), per_shard)]
    return [
        VideoShard(shard_path(REAL_SPLIT, number, len(parts)), part)
        for number, part in enumerate(parts)
    ]


def make_video_shard(shard: VideoShard, config: VideoConfig, dataset: str) -> ShardResult:
    """Average the clips of a shard and write it (atomically) into the dataset.

    Videos that cannot be used, and images that lack frames, are left out and reported.
    """
    rows: list[dict[str, Any]] = []
    rejections: list[Rejection] = []
    adjustments: list[Adjustment] = []
    for clip in shard.clips:
        try:
            exposed = expose(clip, config)
        except UnusableVideo as error:
            rejections.append(Rejection(error.reason, clip.name, error.detail))
            continue
        rows += [_row(clip, exposure, config) for exposure in exposed.images]
        rejections += [
            Rejection(INCOMPLETE, f"{clip.name}, {frames} frames") for frames in exposed.missing
        ]
        adjustments += _adjustments(clip, exposed)
    table = to_table(rows)
    record = write_shard(dataset, shard.path, REAL_SPLIT, table)
    return ShardResult.of(record, table, rejections, adjustments)


def _adjustments(clip: Clip, exposed: Exposed) -> list[Adjustment]:
    found = [
        Adjustment(STEPPY, _name(clip, image), f"{image.motion.per_frame:.1f} pixels per frame")
        for image in exposed.images
        if image.is_steppy and image.motion is not None
    ]
    if not exposed.is_steady:
        found.append(Adjustment(UNSTEADY, clip.name, "what moves covers most of some frame"))
    return found


def _name(clip: Clip, exposure: Exposure) -> str:
    return image_id(clip.object_id, clip.trajectory, exposure.window)


def _row(clip: Clip, exposure: Exposure, config: VideoConfig) -> dict[str, Any]:
    name = _name(clip, exposure)
    return {
        "image": {
            "bytes": encode(exposure.image, config.image_format),
            "path": f"{name}.{config.image_format}",
        },
        "image_id": name,
        "object_id": clip.object_id,
        "category": clip.category,
        "trajectory": clip.trajectory,
        "window": exposure.window,
        "blur_severity": exposure.blur_severity,
        "blur_level": exposure.blur_level,
        "mean_opacity": exposure.mean_opacity,
        "bbox": exposure.bbox,
        "background_id": None,
    }
