from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.blur import composite
from bridge.common.errors import InputError
from bridge.simulator.config import Realism
from bridge.simulator.realism import (
    add_jpeg_artefacts,
    add_sensor_noise,
    composite_linear,
    sample_lighting,
)

PLACE = np.array([0, 0, -6.3])


def grey(value: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def noise_at(value: int, level: float) -> np.ndarray:
    noisy = add_sensor_noise(grey(value), level, np.random.default_rng(value))
    return noisy.astype(float) - value


@pytest.mark.parametrize("noise", [-0.1, 51, float("nan")])
def test_noise_out_of_range_is_refused(noise: float) -> None:
    with pytest.raises(InputError, match="`sensor_noise` must be at"):
        Realism(sensor_noise=noise)
    assert Realism(sensor_noise=50).sensor_noise == 50


def test_jpeg_quality_varies() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(128, 30, (24, 32, 3)).clip(0, 255).astype(np.uint8)
    smooth = picture.repeat(4, axis=0).repeat(4, axis=1)
    errors = [
        np.abs(add_jpeg_artefacts(smooth, np.random.default_rng(i)).astype(int) - smooth).mean()
        for i in range(12)
    ]
    assert all(1 < error < 40 for error in errors)
    assert max(errors) > 1.3 * min(errors)


def test_an_opaque_object_hides_and_an_absent_one_shows_the_background() -> None:
    background = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    layer = np.zeros((16, 16, 4), np.float32)
    assert (composite_linear(layer, background) == background).all()
    layer[...] = 1
    assert (composite_linear(layer, background) == 255).all()


def test_half_the_light_of_white_is_brighter_than_half_the_display_value() -> None:
    layer = np.full((4, 4, 4), 0.5, np.float32)
    black = grey(0, (4, 4))
    assert (composite(layer, black) == 128).all()
    assert (composite_linear(layer, black) == round(255 * 0.5 ** (1 / 2.2))).all()


@given(st.integers(0, 2**32))
def test_light_is_neither_too_little_nor_too_much(seed: int) -> None:
    lighting = sample_lighting(np.random.default_rng(seed))
    lamps = [(np.array(lamp.position) - PLACE, lamp.watts) for lamp in lighting.lamps]
    key, second = (watts / (4 * np.pi**2 * (d @ d)) for d, watts in lamps)
    assert 0.55 <= lighting.ambient + key + second <= 1.05 + 1e-9
    assert key > second >= 0
    assert lighting.ambient >= 0.35 * 0.55
    # Lamps are outside the region in which objects move, and far apart.
    assert all(8 - 1e-9 <= np.linalg.norm(d) <= 14 + 1e-9 for d, _ in lamps)
    azimuths = [np.rad2deg(np.arctan2(d[0], d[2])) for d, _ in lamps]
    apart = abs(azimuths[0] - azimuths[1])
    assert 60 - 1e-6 <= apart <= 150 + 1e-6


def test_lights_differ() -> None:
    lights = [sample_lighting(np.random.default_rng(seed)) for seed in range(200)]
    assert np.ptp([light.ambient for light in lights]) > 0.4
    sides = [light.lamps[0].position[0] > 0 for light in lights]
    assert 0.35 < np.mean(sides) < 0.65
