from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.dataset.videos.exposures import Exposures, fits, lengths, window
from bridge.simulator import windows


def test_exposures_are_nested_and_centred_as_simulated_ones() -> None:
    for index in range(11):
        assert window(windows.CENTRE_FRAME, index + 1) == windows.window(index)


def test_lengths_go_from_one_frame_to_the_most() -> None:
    assert lengths(11, 11) == tuple(range(1, 12))
    assert lengths(200, 11)[0] == 1 and lengths(200, 11)[-1] == 200 and len(lengths(200, 11)) == 11
    assert lengths(5, 11) == (1, 2, 3, 4, 5)
    assert lengths(1, 11) == lengths(9, 1) == (1,)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 10), st.integers(1, 40))
def test_an_exposure_fits_where_all_its_frames_are(
    centre: int, frames: int, first: int, stop: int
) -> None:
    start, end = window(centre, frames)
    inside = all(first <= number < stop for number in range(start, end + 1))
    assert fits(centre, frames, first, stop) == inside


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6, unique=True), st.integers(20, 30))
def test_means_are_those_of_the_frames_of_each_exposure(counts: list[int], centre: int) -> None:
    counts = sorted(counts)
    frames = np.random.default_rng(0).random((60, 2, 3)).astype(np.float32)
    taken = Exposures(centre, counts)
    first, last = window(centre, counts[-1])
    for number in range(first, last + 1):
        taken.add(number, frames[number])
    for mean, count in zip(taken.means(), counts, strict=True):
        start, end = window(centre, count)
        assert end - start + 1 == count
        assert mean == pytest.approx(frames[start : end + 1].mean(axis=0), abs=1e-6)


def test_sums_are_shrunk_and_not_every_frame() -> None:
    shrunk = []

    def shrink(values: np.ndarray) -> np.ndarray:
        shrunk.append(values.shape)
        return values[::2]

    taken = Exposures(50, (1, 40), shrink)
    first, last = window(50, 40)
    for number in range(first, last + 1):
        taken.add(number, np.ones((4, 4), np.float32))
    assert [mean.shape for mean in taken.means()] == [(2, 4), (2, 4)]
    assert len(shrunk) == 3
