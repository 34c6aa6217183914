from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.blur import blur_severity
from bridge.dataset.videos.foreground import Motion, Track, mask_of, median_frame, spots
from tests.videos import GREY, ball, moving

BACKGROUND = np.full((48, 64, 3), GREY, np.uint8)


def test_the_median_frame_is_what_is_behind() -> None:
    assert (median_frame(moving(40, 1)) == BACKGROUND).all()


def test_the_mask_is_the_object_without_noise_and_holes() -> None:
    frame = ball(30)
    # A spot of another colour within, and noise beside.
    frame[22:25, 29:31] = GREY
    frame[2:4, 2:4] = 255
    mask = mask_of(frame, BACKGROUND, 0.1)
    assert mask.sum() == 100 and mask[19:29, 25:35].all()


def test_the_mask_has_the_largest_spot_and_others_of_its_order() -> None:
    frame = np.maximum(ball(12, side=12), ball(50, side=8))
    frame = np.maximum(frame, ball(30, side=5))
    _, count = spots(frame, BACKGROUND, 0.1)
    assert count == 3
    assert mask_of(frame, BACKGROUND, 0.1).sum() == 12 * 12 + 8 * 8


def test_nothing_moves_where_frames_are_the_background() -> None:
    assert not mask_of(BACKGROUND, BACKGROUND, 0.1).any()
    assert not mask_of(BACKGROUND + 20, BACKGROUND, 0.1).any()


def track_of(frames: list[np.ndarray]) -> Track:
    track = Track()
    for number, frame in enumerate(frames):
        track.add(number, mask_of(frame, BACKGROUND, 0.1))
    return track


def test_motion_is_what_was_drawn() -> None:
    motion = track_of(moving(20, 2, start=10)).motion(2, 12)
    assert motion is not None
    assert motion.length == pytest.approx(20) and motion.per_frame == pytest.approx(2)
    assert motion.size == pytest.approx(10) and motion.severity == pytest.approx(2 / 3)


def test_slow_motion_adds_up() -> None:
    motion = track_of(moving(41, 0.25, start=10)).motion(0, 40)
    assert motion is not None and motion.length == pytest.approx(10)


def test_jitter_is_no_motion() -> None:
    frames = [ball(30 + number % 2 * 0.6) for number in range(40)]
    motion = track_of([frame for frame in frames]).motion(0, 39)
    still = track_of([ball(30)] * 40).motion(0, 39)
    assert still is not None and still.length == 0
    # A whole pixel to and fro counts; parts of one, of an edge that flickers, do not.
    assert motion is not None and motion.per_frame <= 1


def test_frames_without_the_object_are_left_out() -> None:
    frames = [BACKGROUND, *moving(5, 1, start=20), BACKGROUND]
    track = track_of(frames)
    assert track.motion(0, 0) is None
    motion = track.motion(0, 6)
    assert motion is not None and motion.length == pytest.approx(4)
    assert motion.per_frame == pytest.approx(1)


def test_a_background_that_moves_is_noticed() -> None:
    assert track_of(moving(5, 1, start=20)).is_steady
    assert not track_of([ball(30), ball(32, side=46, size=(48, 64))]).is_steady


@given(st.integers(4, 12), st.integers(0, 40))
def test_proposed_severity_is_that_of_an_even_straight_motion(side: int, length: int) -> None:
    opacity = np.zeros((side + 4, 80))
    for shift in range(length + 1):
        opacity[2 : 2 + side, 10 + shift : 10 + shift + side] += 1 / (length + 1)
    proposed = Motion(length, side, 1).severity
    # Exact but for the frame more than steps, and without erosion.
    assert blur_severity(opacity, erosion=0) == pytest.approx(proposed, abs=0.01 + 1 / (10 * side))
