from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.common.errors import InputError
from bridge.dataset.videos.frames import (
    UNUSABLE,
    PictureFrames,
    UnusableVideo,
    VideoFrames,
    open_frames,
    trusted_ticks,
)
from tests.videos import SIZE, ball, moving, write_video


def test_frames_come_back_as_they_were_written(tmp_path: Path) -> None:
    frames = VideoFrames(str(write_video(tmp_path / "a.mkv", moving(30, 1))))
    assert len(frames) == 30 and frames.rate == 240 and not len(frames.holes)
    read = dict(frames.read(range(30)))
    assert list(read) == list(range(30))
    assert all((read[number] == ball(5 + number)).all() for number in read)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9")],
)
def test_frames_in_the_middle_keep_their_numbers(name: str, codec: str, tmp_path: Path) -> None:
    frames = VideoFrames(str(write_video(tmp_path / name, moving(40, 1), codec=codec)))
    read = dict(frames.read(range(20, 33)))
    assert list(read) == list(range(20, 33))
    for number, frame in read.items():
        assert np.abs(frame.astype(int) - ball(5 + number)).mean() < 2


def test_frames_are_turned_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [ball(10, 8)] * 3, codec="libx264", turned=90)
    (_, frame), *_ = VideoFrames(str(path)).read([0])
    upright = np.rot90(ball(10, 8))
    assert frame.shape == upright.shape and np.abs(frame.astype(int) - upright).mean() < 2


def test_frames_far_apart_are_read_alone(tmp_path: Path) -> None:
    frames = VideoFrames(str(write_video(tmp_path / "a.mkv", moving(300, 0.1))))
    asked = [0, 3, 120, 299]
    read = dict(frames.read(asked))
    assert list(read) == asked
    assert all((read[number] == ball(5 + 0.1 * number)).all() for number in asked)


def test_a_dropped_frame_leaves_a_hole(tmp_path: Path) -> None:
    times = [*range(20), *range(21, 41)]
    frames = VideoFrames(str(write_video(tmp_path / "a.mkv", moving(40, 1), times=times)))
    assert len(frames) == 40 and frames.holes.tolist() == [19]


def test_ticks_that_are_rounded_are_even(tmp_path: Path) -> None:
    # Matroska counts milliseconds, of which there are 2.08 from frame to frame.
    frames = VideoFrames(str(write_video(tmp_path / "a.mkv", moving(60, 1), rate=480)))
    assert not len(frames.holes)


def test_a_variable_rate_is_refused(tmp_path: Path) -> None:
    times = [number * number for number in range(40)]
    path = write_video(tmp_path / "a.mkv", moving(40, 1), times=times)
    with pytest.raises(UnusableVideo, match="of the intervals between frames") as refused:
        VideoFrames(str(path))
    assert refused.value.reason == "variable_rate"


def test_times_that_deny_reordering_are_not_trusted() -> None:
    same = [(0, 0), (1, 1), (2, 2)]
    assert trusted_ticks(same, is_reordered=True) is None
    assert trusted_ticks([(0, 0), (None, 1)], is_reordered=False) is None
    assert trusted_ticks(same, is_reordered=False).tolist() == [0, 1, 2]  # type: ignore[union-attr]
    assert trusted_ticks([(4, 0), (2, 1), (0, 2)], is_reordered=True).tolist() == [0, 2, 4]  # type: ignore[union-attr]


def test_a_file_of_such_times_is_read_in_the_order_it_is_shown(shared_assets: Path) -> None:
    path = shared_assets / "videos" / "clips" / "opencv_box.mp4"
    frames = VideoFrames(str(path))
    assert [number for number, _ in frames.read(range(100, 110))] == list(range(100, 110))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "unreadable"),
        (b"not a video" * 100, "unreadable"),
        (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "unreadable"),
    ],
)
def test_what_is_no_video_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "-a ü.mp4").write_bytes(content)
    with pytest.raises(UnusableVideo) as refused:
        VideoFrames(str(tmp_path / "-a ü.mp4"))
    assert refused.value.reason == reason and refused.value.detail


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux([*sound.encode(frame), *sound.encode()])
    with pytest.raises(UnusableVideo) as refused:
        VideoFrames(str(tmp_path / "a.mkv"))
    assert refused.value.reason == "no_frames"


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", moving(40, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    frames = VideoFrames(str(path))
    assert 0 < len(frames) < 40
    assert len(list(frames.read(range(len(frames))))) >= len(frames) - 1


def test_numbered_pictures_may_begin_anywhere_and_have_gaps(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        Image.fromarray(ball(number)).save(tmp_path / f"{number:08d}.png")
    (tmp_path / "00000005.png").write_bytes(b"damaged")
    (tmp_path / "gt.txt").touch()
    frames = open_frames(str(tmp_path))
    assert isinstance(frames, PictureFrames) and len(frames) == 5
    read = dict(frames.read(range(5)))
    assert list(read) == [0, 1, 3] and (read[3] == ball(4)).all()


def test_pictures_of_another_size_are_left_out(tmp_path: Path) -> None:
    for number, size in enumerate(((48, 64), (48, 64), (24, 32), (48, 64))):
        Image.fromarray(ball(9, 9, size=size)).save(tmp_path / f"{number}.png")
    assert [number for number, _ in open_frames(str(tmp_path)).read(range(4))] == [0, 1, 3]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9"), ("b.mkv", "ffv1")],
)
def test_damaged_videos_are_refused_or_lack_frames(name: str, codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, moving(30, 1), codec=codec)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(30):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 30)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: len(whole) if rng.random() < 0.7 else rng.integers(len(whole))])
        try:
            frames = VideoFrames(str(path))
            assert {frame.shape for _, frame in frames.read(range(len(frames)))} <= {(*SIZE, 3)}
        except UnusableVideo as refused:
            assert refused.reason in UNUSABLE


def test_an_empty_folder_has_no_frames(tmp_path: Path) -> None:
    with pytest.raises(UnusableVideo, match="no_frames"):
        open_frames(str(tmp_path))


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(UnusableVideo("no_frames", "why")))
    assert (error.reason, error.detail) == ("no_frames", "why")


def test_without_pyav_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'bridge-retrieval\[video\]'"):
        VideoFrames(str(tmp_path / "a.mp4"))
