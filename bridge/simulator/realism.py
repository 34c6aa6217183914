"""What real photos have and the published synthetic images lack; all of it is off by default.

The labels stay exact whatever is switched on: they come from the object's opacity alone.
"""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from bridge.common.images import decode
from bridge.common.light import light_to_srgb, srgb_to_light
from bridge.simulator.renderers.lighting import GAMMA, Lamp, Lighting

JPEG_QUALITY = (25, 85)
"""Lowest and highest quality of images that were compressed before."""
LAMP_DISTANCE = (8, 14)
"""From the middle of the region, in scene units; objects have a diagonal of 3."""

_READ_SHARE = 0.01
"""Part of a mid-grey pixel's noise variance that does not depend on the light."""
_MID_GREY = 0.5
_OBJECTS_AT = np.array([0.0, 0.0, -6.3])
"""Middle of the region in which objects move."""


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """Draw a light: between soft and hard, from dim to a little overexposed.

    The key lamp is in front of the object or beside it, rarely below. The weaker second lamp is 60
    to 150 degrees further round the vertical axis, towards the other side.
    """
    exposure, soft = rng.uniform(0.55, 1.05), rng.uniform(0.35, 0.85)
    second = (1 - soft) * rng.uniform(0, 0.3)
    azimuth, elevation = rng.uniform(-110, 110), rng.uniform(-15, 75)
    other = azimuth - math.copysign(rng.uniform(60, 150), azimuth)
    key = _lamp(azimuth, elevation, rng.uniform(*LAMP_DISTANCE), exposure * (1 - soft - second))
    fill = _lamp(other, rng.uniform(-15, 45), rng.uniform(*LAMP_DISTANCE), exposure * second)
    return Lighting(exposure * soft, (key, fill))


def _lamp(azimuth: float, elevation: float, distance: float, light: float) -> Lamp:
    """A lamp as seen from the objects, 0 degrees being towards the camera.

    `light` is what a surface in the middle of the region receives that faces it.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    direction = np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    x, y, z = (_OBJECTS_AT + distance * direction).tolist()
    return Lamp((x, y, z), light * 4 * math.pi**2 * distance**2)


def composite_linear(premultiplied: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Place the blurred object over a background (Eq. 3) with linear intensities.

    Args:
        premultiplied: float32 [H, W, 4], linear RGB times opacity, and opacity, in 0..1.
        background: uint8 RGB [H, W, 3] in display space.

    Returns:
        uint8 RGB [H, W, 3] in display space, rounded to nearest.
    """
    light = (np.arange(256, dtype=np.float32) / 255) ** GAMMA
    mixed = premultiplied[..., :3] + light[background] * (1 - premultiplied[..., 3:])
    return _eight_bit(np.clip(mixed, 0, 1) ** (1 / GAMMA))


def add_sensor_noise(image: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Add the noise of a sensor, whose variance grows with the light, independently per value.

    Display values are those of sRGB here: under a pure power law, black would show any noise
    hugely enlarged.

    Args:
        image: uint8 RGB [H, W, 3].
        level: standard deviation at mid-grey in display values 0..255.
        rng: source of the noise.
    """
    table = srgb_to_light(np.arange(256, dtype=np.float32) / 255)
    middle = srgb_to_light(np.array([_MID_GREY - 0.01, _MID_GREY, _MID_GREY + 0.01]))
    variance = (level / 255 * (middle[2] - middle[0]) / 0.02) ** 2
    shot = (1 - _READ_SHARE) * variance / middle[1]
    deviation = np.sqrt(shot * table + _READ_SHARE * variance).astype(np.float32)
    noise = rng.standard_normal(image.shape, np.float32)
    return _eight_bit(light_to_srgb(np.clip(table[image] + deviation[image] * noise, 0, 1)))


def add_jpeg_artefacts(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress uint8 RGB [H, W, 3] at a random quality with halved colour resolution, and back."""
    low, high = JPEG_QUALITY
    buffer = io.BytesIO()
    quality = int(rng.integers(low, high, endpoint=True))
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return decode(buffer.getvalue())


def _eight_bit(display: np.ndarray) -> np.ndarray:
    return np.rint(display * 255).astype(np.uint8)
