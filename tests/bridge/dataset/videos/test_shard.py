from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bridge.dataset.checks import verify_shard
from bridge.dataset.videos.config import VideoConfig
from bridge.dataset.videos.layout import find_folders
from bridge.dataset.videos.shard import INCOMPLETE, STEPPY, make_video_shard, plan_shards
from tests.videos import SIZE, moving, write_video

CONFIG = VideoConfig(image_size=SIZE, image_format="png", most_frames=4)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    write_video(root / "toys" / "a car" / "1.mkv", moving(41, 1, start=12))
    write_video(root / "toys" / "a car" / "2.mkv", moving(21, 2.5, start=6))
    write_video(root / "cup" / "ü.mkv", moving(41, 1, start=12), times=[*range(20), *range(21, 42)])
    (root / "cup" / "-damaged.mp4").write_bytes(b"no video")
    return root


def test_shards_have_so_many_clips_each(videos: Path) -> None:
    clips = find_folders(str(videos)).clips
    shards = plan_shards(clips, 3)
    assert [shard.path for shard in shards] == [
        "data/real-00000-of-00002.parquet",
        "data/real-00001-of-00002.parquet",
    ]
    assert [clip for shard in shards for clip in shard.clips] == list(clips)


def test_a_shard_has_the_images_and_tells_what_it_lacks(videos: Path, tmp_path: Path) -> None:
    (shard,) = plan_shards(find_folders(str(videos)).clips, 10)
    result = make_video_shard(shard, CONFIG, str(tmp_path / "data"))
    rows = pq.read_table(tmp_path / "data" / shard.path).to_pylist()
    assert result.objects == ("cup", "toys/a car") and result.trajectories == 3
    names = [row["image_id"] for row in rows]
    assert names[-5:] == [
        f"toys/a car/{name}" for name in ("000/3", "001/0", "001/1", "001/2", "001/3")
    ]
    by_name = {row["image_id"]: row for row in rows}
    car, cup = by_name["toys/a car/000/3"], by_name["cup/001/0"]
    assert (car["category"], cup["category"]) == ("toys", None)
    assert car["image"]["path"] == "toys/a car/000/3.png" and car["window"] == 3
    assert 0 < car["blur_severity"] < 1 and 1 <= car["blur_level"] <= 10 and len(car["bbox"]) == 4
    reasons = {(one.reason, one.item) for one in result.rejections}
    assert ("unreadable", "cup/-damaged.mp4") in reasons
    assert {item for reason, item in reasons if reason == INCOMPLETE}
    assert {one.item for one in result.adjustments if one.reason == STEPPY} == {
        f"toys/a car/001/{window}" for window in (1, 2, 3)
    }
    assert verify_shard(result, str(tmp_path / "data"), SIZE).problems == ()


def test_a_shard_has_the_same_bytes_whenever_it_is_made(videos: Path, tmp_path: Path) -> None:
    (shard,) = plan_shards(find_folders(str(videos)).clips, 10)
    first, again = (
        make_video_shard(shard, CONFIG, str(tmp_path / name)).record for name in ("a", "b")
    )
    assert first == again
    other = make_video_shard(shard, replace(CONFIG, response="linear"), str(tmp_path / "c"))
    assert other.record.sha256 != first.sha256
