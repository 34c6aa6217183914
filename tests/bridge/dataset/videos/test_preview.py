from __future__ import annotations

from pathlib import Path

import numpy as np

from bridge.dataset.videos.clip import expose
from bridge.dataset.videos.config import VideoConfig
from bridge.dataset.videos.layout import Clip
from bridge.dataset.videos.preview import video_sheet
from tests.videos import SIZE, moving, write_video

YELLOW = (255, 214, 10)


def test_every_clip_has_a_row_with_boxes(tmp_path: Path) -> None:
    config = VideoConfig(image_size=SIZE, most_frames=3)
    drawn = []
    for name, count in (("a.mkv", 41), ("b.mkv", 2)):
        path = write_video(tmp_path / name, moving(count, 1, start=12))
        clip = Clip(name, str(path), "cup", None, 0)
        drawn.append((clip, expose(clip, config)))
    sheet = np.asarray(video_sheet(drawn))
    alone = np.asarray(video_sheet(drawn[:1]))
    assert sheet.shape[0] > alone.shape[0] and sheet.shape[1] == alone.shape[1]
    # Three boxes side by side, of which the first stands in the first column.
    columns = np.flatnonzero((alone == YELLOW).all(axis=2).any(axis=0))
    assert columns.min() < 216 and columns.max() > 2 * 200
