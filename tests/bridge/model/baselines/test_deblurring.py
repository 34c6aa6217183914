"""A straight motion is found, and undone as far as that goes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

import bridge
from bridge.common.errors import InputError
from bridge.model.baselines.deblurring import DIRECTIONS, deblurred, motion, trace


def grain(seed: int = 0) -> np.ndarray:
    """A sharp picture that is the same in all directions: float [60, 80] in 0..1."""
    rng = np.random.default_rng(seed)
    blobs = np.zeros((60, 80))
    for _ in range(150):
        y, x, radius = rng.uniform(0, 60), rng.uniform(0, 80), rng.uniform(1, 5)
        rows, columns = np.ogrid[:60, :80]
        blobs[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.uniform(0.05, 0.95)
    return blobs


@pytest.mark.parametrize("number", [0, 2, 4, 6, 9])
@pytest.mark.parametrize("length", [6, 11])
def test_motion_is_found(number: int, length: int) -> None:
    angle = number * np.pi / DIRECTIONS
    found = [
        motion(convolve(grain(seed), trace(angle, length), mode="reflect")) for seed in range(5)
    ]
    turns = [abs((f - angle + np.pi / 2) % np.pi - np.pi / 2) for f, _ in found]
    assert sorted(turns)[2] <= 1.01 * np.pi / DIRECTIONS
    assert abs(sorted(n for _, n in found)[2] - length) <= 2


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.6, 3.0])
@pytest.mark.parametrize("length", [3, 4.5, 12])
def test_a_trace_is_a_line_with_the_sum_1(angle: float, length: float) -> None:
    kernel = trace(angle, length)
    assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0 and kernel.sum() == pytest.approx(1)
    places = np.arange(len(kernel)) - len(kernel) // 2
    y, x = (kernel * places[:, None] ** 2).sum(), (kernel * places**2).sum()
    # A line of n pixels has the variance n^2 / 12, to which bilinear weights add up to 1/4 each.
    assert y + x == pytest.approx(length**2 / 12, abs=0.75)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)


def test_a_blurred_picture_comes_closer_to_the_sharp_one() -> None:
    sharp = np.stack([grain(seed) for seed in range(3)])
    kernel = trace(0.0, 7)
    blurred = np.stack([convolve(channel, kernel, mode="reflect") for channel in sharp])
    batch, truth = (torch.from_numpy(p).float()[None] for p in (blurred, sharp))
    restored = deblurred(batch)
    assert restored.shape == batch.shape and restored.dtype == torch.float32
    assert restored.min() >= 0 and restored.max() <= 1
    assert (restored - truth).square().mean() < 0.8 * (batch - truth).square().mean()


def test_an_even_picture_stays_and_nothing_becomes_infinite() -> None:
    for value in (0.0, 0.5, 1.0):
        even = torch.full((1, 3, 24, 32), value)
        torch.testing.assert_close(deblurred(even), even, rtol=0, atol=0.02)


def test_delg_shows_itself_deblurred_pictures_and_trains_on_the_others() -> None:
    options = {"backbone": "resnet18", "image_size": (24, 32), "descriptor_dim": 8}
    torch.manual_seed(0)
    plain = bridge.create_model("delg", **options)
    torch.manual_seed(0)
    first = bridge.create_model("delg", deblur=True, **options)
    pictures = torch.rand(2, 3, 24, 32)
    assert torch.equal(first.eval()(pictures).descriptor, plain.eval()(pictures).descriptor)
    assert torch.equal(first.embed(pictures), plain.embed(deblurred(pictures)))


def test_without_the_library_a_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InputError, match=r"bridge-retrieval\[deblur\]"):
        bridge.create_model("delg", deblur=True)
