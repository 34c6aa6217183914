"""Tests of pipelines/search_video.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge.common.errors import InputError
from pipelines import search_video
from pipelines.search_video import SearchVideoConfig
from pipelines.stages.video_search import Sighting, spaced
from tests.searchable import make_model
from tests.videos import GREY, write_video

SIZE = (96, 128)


def scene(number: int) -> np.ndarray:
    """Two patterned squares that cross the picture, one above and one below."""
    frame = np.full((*SIZE, 3), GREY, np.uint8)
    patterns = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    for pattern, top in zip(patterns, (12, 60), strict=True):
        left = 4 + 3 * number
        frame[top : top + 24, left : left + 24] = pattern.repeat(6, 0).repeat(6, 1)
    return frame


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [scene(number) for number in range(32)]
    return write_video(tmp_path_factory.mktemp("video") / "-a b.mkv", frames, rate=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_model(folder)
    return folder


@pytest.fixture
def config(video: Path, model: Path, tmp_path: Path) -> SearchVideoConfig:
    """The upper square in frame 10."""
    return SearchVideoConfig(
        video=video,
        model=str(model),
        box=((4 + 30 + 12) / 128, 24 / 96, 24 / 128, 24 / 96),
        frame=10,
        out=str(tmp_path / "pages" / "page.html"),
        top=8,
        context=1.0,
    )


def test_the_same_object_is_found_over_the_video(
    config: SearchVideoConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    results = search_video.run(config)
    assert len(results) == 8
    # The other square is below; a quarter of a second has two frames.
    assert all(one.box[1] < 0.5 for one in results)
    frames = sorted(one.frame for one in results)
    assert min(np.diff(frames)) >= 2
    # It moves without blur, by whole pixels, so that all crops of it are the same.
    assert [one.similarity for one in results] == pytest.approx([1] * 8, abs=1e-4)
    assert all(one.blur_level is not None and 1 <= one.blur_level <= 10 for one in results)
    page = Path(config.out).read_text()
    assert "frame 10, 1.25 s" in page and "-a b.mkv" in page
    assert "written: " in capsys.readouterr().out


def test_candidates_may_be_named(config: SearchVideoConfig, tmp_path: Path) -> None:
    crops = tmp_path / "boxes.csv"
    crops.write_text("frame,cx,cy,w,h\n3,.2,.75,.19,.25\n20,.6,.25,.19,.25\n20,.6,.75,.19,.25\n")
    results = search_video.run(replace(config, crops=str(crops), apart=1))
    assert [one.frame for one in results] == [20, 3]
    assert results[0].box == (0.6, 0.25, 0.19, 0.25)


def test_frames_may_be_left_out(config: SearchVideoConfig) -> None:
    assert {one.frame % 5 for one in search_video.run(replace(config, every=5))} == {0}


def test_results_are_apart_and_best_first() -> None:
    box = (0.5, 0.5, 0.1, 0.1)
    sightings = [Sighting(n, box, s) for n, s in enumerate((0.1, 0.9, 0.8, 0.2, 0.5, 0.3))]
    assert [one.frame for one in spaced(sightings, 10, 2)] == [1, 4]
    assert [one.frame for one in spaced(sightings, 3, 1)] == [1, 2, 4]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"video": Path("gone.mp4")}, "gone.mp4 does not exist"),
        ({"frame": 32}, "`frame` is 32, but the video has 32"),
        ({"box": (0.5, 0.5, 0.0, 0.1)}, "`box` must be cx cy w h"),
        ({"model": "gone"}, "gone"),
        ({"crops": "gone.csv"}, "gone.csv does not exist"),
        ({"threshold": 0.99}, "Nothing moves in the video"),
        ({"top": 0}, "`top` must be at least 1"),
        ({"context": 0.5}, "`context` must be at least 1"),
    ],
)
def test_mistakes_are_named(config: SearchVideoConfig, change: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        search_video.run(replace(config, **change))
    assert not Path(config.out).exists()


def test_what_is_no_video_is_refused(config: SearchVideoConfig, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="a.mp4 cannot be used"):
        search_video.run(replace(config, video=tmp_path / "a.mp4"))
