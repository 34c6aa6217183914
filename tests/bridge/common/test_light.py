from __future__ import annotations

import numpy as np
import pytest

from bridge.common.light import light_to_srgb, srgb_to_light


def test_every_display_value_comes_back() -> None:
    values = np.arange(256) / 255
    assert np.rint(light_to_srgb(srgb_to_light(values)) * 255).tolist() == list(range(256))


def test_known_values_of_the_standard() -> None:
    assert srgb_to_light(np.array([0.0, 0.04045, 0.5, 1.0])) == pytest.approx(
        [0, 0.0031308, 0.2140411, 1], abs=1e-6
    )
