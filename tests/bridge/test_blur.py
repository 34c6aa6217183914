from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bridge.blur import blur_level, blur_severity, blur_value, bounding_box, composite

ALPHAS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.75, 1.0]),
)


def corner_block() -> np.ndarray:
    alpha = np.zeros((10, 12))
    alpha[:4, :5] = [1, 1, 1, 0.5, 0.2]
    return alpha


def eroded_mean(alpha: np.ndarray, erosion: int) -> float:
    """The definition, pixel by pixel: outside the image counts as part of the object."""
    height, width = alpha.shape
    values = [
        alpha[r, c]
        for r in range(height)
        for c in range(width)
        if (
            alpha[max(r - erosion, 0) : r + erosion + 1, max(c - erosion, 0) : c + erosion + 1] > 0
        ).all()
    ]
    return float(np.mean(values)) if values else 0.0


def test_block_in_the_corner_keeps_the_border_pixels() -> None:
    alpha = corner_block()
    assert blur_value(alpha) == pytest.approx(0.875)
    assert blur_severity(alpha) == pytest.approx(0.125)
    assert blur_level(blur_severity(alpha)) == 2
    assert blur_value(alpha, erosion=0) == pytest.approx(0.74)


@given(ALPHAS, st.integers(0, 3))
def test_blur_value_is_the_mean_over_the_eroded_mask(alpha: np.ndarray, erosion: int) -> None:
    assert blur_value(alpha, erosion) == pytest.approx(eroded_mean(alpha, erosion), abs=1e-6)


def test_nothing_left_of_the_silhouette_is_the_strongest_blur() -> None:
    thin = np.zeros((8, 8))
    thin[3, 2:6] = 1
    assert blur_severity(thin) == 1.0
    assert blur_level(1.0) == 10
    assert blur_severity(np.zeros((8, 8))) == 1.0


@given(st.integers(0, 1000))
def test_level_is_the_ceiling_of_ten_times_the_severity(thousandths: int) -> None:
    severity = Fraction(thousandths, 1000)
    expected = max(math.ceil(10 * severity), 1)
    value = thousandths / 1000
    assert blur_level(value) == expected
    assert blur_level(1 - (1 - value)) == expected
    assert blur_level(float(np.float32(value))) == expected


@given(ALPHAS)
def test_box_spans_the_outermost_pixels(alpha: np.ndarray) -> None:
    box = bounding_box(alpha)
    rows, columns = np.nonzero(alpha)
    if box is None:
        assert rows.size == 0
        return
    height, width = alpha.shape
    assert box == pytest.approx(
        (
            (columns.min() + columns.max()) / 2 / width,
            (rows.min() + rows.max()) / 2 / height,
            (columns.max() - columns.min()) / width,
            (rows.max() - rows.min()) / height,
        )
    )


def test_composite_shows_object_background_and_their_mixture() -> None:
    layer = np.zeros((1, 3, 4), np.float32)
    layer[0, 1] = [0.2, 0.4, 0.6, 1]
    layer[0, 2] = [0.25, 0.25, 0.25, 0.5]
    background = np.full((1, 3, 3), 200, np.uint8)
    image = composite(layer, background)
    assert image.dtype == np.uint8
    assert image[0].tolist() == [[200, 200, 200], [51, 102, 153], [164, 164, 164]]


@given(ALPHAS, st.integers(0, 255))
def test_object_of_the_background_colour_is_invisible(alpha: np.ndarray, grey: int) -> None:
    layer = np.repeat(alpha[..., None], 4, axis=2)
    layer[..., :3] *= np.float32(grey / 255)
    background = np.full((*alpha.shape, 3), grey, np.uint8)
    assert (composite(layer, background) == background).all()
