from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.dataset.videos.candidates import (
    MOST,
    SIDE,
    Box,
    background_of,
    check_box,
    crop,
    moving_boxes,
    read_boxes,
)
from bridge.dataset.videos.frames import open_frames
from tests.videos import GREY, ball, moving, write_video

BACKGROUND = np.full((48, 64, 3), GREY, np.uint8)


def test_what_moves_is_boxed(tmp_path: Path) -> None:
    frames = open_frames(str(write_video(tmp_path / "a.mkv", moving(40, 1, start=10))))
    background = background_of(frames)
    assert (background == BACKGROUND).all()
    for number, frame in frames.read([0, 7, 39]):
        (box,) = moving_boxes(frame, background, 0.1)
        assert box == pytest.approx(((10 + number) / 64, 0.5, 10 / 64, 10 / 48))


def test_pieces_that_blur_has_torn_are_one_and_the_largest_is_first() -> None:
    frame = np.maximum(ball(12, side=8), ball(22, side=8))
    frame = np.maximum(frame, ball(50, side=6))
    first, second = moving_boxes(frame, BACKGROUND, 0.1)
    assert first == pytest.approx((17 / 64, 0.5, 18 / 64, 8 / 48))
    assert second[0] == pytest.approx(50 / 64)
    assert moving_boxes(BACKGROUND, BACKGROUND, 0.1) == []


def test_a_frame_has_only_so_many_candidates() -> None:
    frame = np.full((200, SIDE, 3), GREY, np.uint8)
    for number in range(40):
        top, left = 10 + 40 * (number // 10), 10 + 30 * (number % 10)
        frame[top : top + 6, left : left + 6] = 250
    assert len(moving_boxes(frame, np.full_like(frame, GREY), 0.1)) == MOST


def test_large_frames_are_looked_at_small() -> None:
    frame = ball(400, 300, 100, (600, 800))
    small = np.full((240, SIDE, 3), GREY, np.uint8)
    (box,) = moving_boxes(frame, small, 0.1)
    assert box == pytest.approx((0.5, 0.5, 1 / 8, 1 / 6), abs=0.01)


def test_a_crop_shows_the_box_and_what_is_around_it() -> None:
    frame = ball(100, 80, 20, (160, 200))
    box = (0.5, 0.5, 0.1, 0.125)
    picture = crop(frame, box, 1, (20, 20))
    assert (picture == 200).all()
    wide = crop(frame, box, 2, (40, 80))
    # 80 pixels wide for the proportions, with the 20 of the object in the middle.
    bright = np.flatnonzero((wide[20] == 200).all(axis=1))
    assert wide.shape == (40, 80, 3) and bright.min() == 30 and bright.max() == 49


boxes = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(1e-6, 1), st.floats(1e-6, 1))


@given(boxes, st.floats(1, 10))
def test_every_box_has_a_crop(box: Box, context: float) -> None:
    frame = np.zeros((30, 50, 3), np.uint8)
    assert crop(frame, box, context, (24, 32)).shape == (24, 32, 3)


def test_boxes_are_read_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("frame,cx,cy,w,h,who\n3,.5,.5,.1,.2,a\n0,0.1,0.2,1,1,b\n3,0,1,0.5,0.5,c\n")
    assert read_boxes(str(path), 4) == {
        3: [(0.5, 0.5, 0.1, 0.2), (0, 1, 0.5, 0.5)],
        0: [(0.1, 0.2, 1, 1)],
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must have the columns frame, cx, cy, w, h"),
        ("frame,x\n", "must have the columns frame, cx, cy, w, h"),
        ("frame,cx,cy,w,h\n", "has no boxes"),
        ("frame,cx,cy,w,h\n4,.5,.5,.1,.1\n", "line 2: there is no frame 4 among 4"),
        ("frame,cx,cy,w,h\n1,.5,.5,.1\n", "line 2: a value is no number"),
        ("frame,cx,cy,w,h\n1,.5,.5,.1,x\n", "line 2: a value is no number"),
        ("frame,cx,cy,w,h\n1,.5,.5,.1,0\n", "line 2: the box must be cx cy w h in 0..1"),
        ("frame,cx,cy,w,h\n1,.5,.5,.1,nan\n", "line 2: the box must be cx cy w h in 0..1"),
    ],
)
def test_mistakes_in_boxes_are_told_with_their_line(
    text: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_boxes(str(tmp_path / "boxes.csv"), 4)
    with pytest.raises(InputError, match="does not exist"):
        read_boxes(str(tmp_path / "gone.csv"), 4)


def test_a_box_outside_is_refused() -> None:
    check_box((0.5, 0.5, 1, 1), "the box")
    for box in ((1.5, 0.5, 0.1, 0.1), (0.5, 0.5, -0.1, 0.1), (0.5, float("inf"), 0.1, 0.1)):
        with pytest.raises(InputError, match="the box must be"):
            check_box(box, "the box")
