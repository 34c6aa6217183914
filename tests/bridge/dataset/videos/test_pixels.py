from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from bridge.dataset.videos.config import Response
from bridge.dataset.videos.pixels import light_table, middle, resized, to_display


@pytest.mark.parametrize("response", get_args(Response))
def test_display_values_come_back(response: Response) -> None:
    assert to_display(light_table(response), response).tolist() == list(range(256))


def test_the_mean_of_black_and_white_depends_on_the_response() -> None:
    means = {
        response: int(to_display(light_table(response)[[0, 255]].mean(keepdims=True), response)[0])
        for response in get_args(Response)
    }
    # 255 * 0.5 ** (1 / 2.2), and what sRGB has for half the light.
    assert means == {"linear": 128, "gamma2.2": 186, "srgb": 188}


@pytest.mark.parametrize(
    ("shape", "kept"),
    [((480, 640), (480, 640)), ((1080, 1920), (1080, 1440)), ((650, 300), (225, 300))],
)
def test_the_middle_has_the_proportions_of_the_images(
    shape: tuple[int, int], kept: tuple[int, int]
) -> None:
    frame = np.arange(shape[0] * shape[1]).reshape(*shape, 1)
    part = middle(frame, (240, 320))
    assert part.shape[:2] == kept
    top, left = (shape[0] - kept[0]) // 2, (shape[1] - kept[1]) // 2
    assert part[0, 0, 0] == frame[top, left, 0]


def test_floats_are_resized_as_bytes_are() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    small = resized(frame.astype(np.float32), (24, 32))
    assert small.shape == (24, 32, 3)
    assert np.abs(small - resized(frame, (24, 32))).max() <= 1
    assert resized(frame, (48, 64)) is frame
