"""From an object and a trajectory number to the eleven labelled images (paper Sec. 4).

All chance of a trajectory comes from generators that are keyed by the dataset's seed, the object's
id and the trajectory's number. One draws the straight motions, try by try, and then the
backgrounds. Each realism option has one of its own, so that it changes nothing else; only `curved`
can, since a curve may fail the filter where its line passes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bridge.blur import (
    blur_level,
    blur_severity,
    blur_value,
    bounding_box,
    composite,
    eight_bit,
)
from bridge.simulator.background import Backgrounds
from bridge.simulator.config import Realism, SimulatorConfig
from bridge.simulator.filters import is_kept
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.realism import (
    add_jpeg_artefacts,
    add_sensor_noise,
    composite_linear,
    sample_lighting,
)
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Renderer
from bridge.simulator.trajectory import Trajectory, curve, sample_trajectory


@dataclass(frozen=True)
class Sample:
    """One image with its labels.

    Attributes:
        window: exposure in sub-trajectories, 0 (sharp) to 10.
        image: uint8 RGB [H, W, 3].
        blur_severity: BS in 0..1 (Eq. 5).
        blur_level: BL in 1..10 (Eq. 6).
        mean_opacity: mean opacity over the silhouette without erosion, in 0..1.
        bbox: (cx, cy, w, h) in units of the image size.
        background_id: name of the background.
    """

    window: int
    image: np.ndarray
    blur_severity: float
    blur_level: int
    mean_opacity: float
    bbox: tuple[float, float, float, float] | None
    background_id: str


def simulate(
    mesh: Mesh,
    object_id: str,
    trajectory: int,
    config: SimulatorConfig,
    renderer: Renderer,
    backgrounds: Backgrounds,
) -> list[Sample]:
    """The images of one trajectory, or an empty list where no try passed the filter.

    The result depends on the arguments alone, whichever process asks for it: all chance comes
    from the seed, the object's id and the trajectory's number.
    """
    chance = _chance(config.seed, object_id, trajectory)
    realism = config.realism
    lighting = sample_lighting(chance.light) if realism.varied_light else Lighting()
    for _ in range(config.tries):
        motion = _sample_motion(chance, mesh, config)
        if not is_kept(mesh, motion, config.image_size, config.filter):
            continue
        layers = renderer.expose(mesh, motion, lighting, linear=realism.linear_blur)
        if layers[..., 3].any(axis=(1, 2)).all():
            return _label(layers, config, chance, backgrounds)
    return []


class _Chance(NamedTuple):
    """The generators of one trajectory; all but the first serve one realism option each."""

    scene: np.random.Generator
    curve: np.random.Generator
    light: np.random.Generator
    noise: np.random.Generator
    jpeg: np.random.Generator


def _chance(seed: int, object_id: str, trajectory: int) -> _Chance:
    name = int.from_bytes(hashlib.sha256(object_id.encode()).digest(), "big")
    scene = np.random.default_rng([seed, name, trajectory])
    return _Chance(scene, *scene.spawn(len(_Chance._fields) - 1))


def _sample_motion(chance: _Chance, mesh: Mesh, config: SimulatorConfig) -> Trajectory:
    motion = sample_trajectory(chance.scene, mesh.extents, config.image_size)
    if not config.realism.curved:
        return motion
    return curve(motion, chance.curve, config.image_size)


def _label(
    layers: np.ndarray,
    config: SimulatorConfig,
    chance: _Chance,
    backgrounds: Backgrounds,
) -> list[Sample]:
    samples: list[Sample] = []
    background = backgrounds.sample(chance.scene, config.image_size)
    for index, layer in enumerate(layers):
        if config.background_per_image and index > 0:
            background = backgrounds.sample(chance.scene, config.image_size)
        alpha = eight_bit(layer[..., 3])
        severity = blur_severity(alpha, config.erosion_pixels)
        samples.append(
            Sample(
                window=index,
                image=_photograph(layer, background.pixels, config.realism, chance),
                blur_severity=severity,
                blur_level=blur_level(severity),
                mean_opacity=blur_value(alpha, erosion=0),
                bbox=bounding_box(alpha),
                background_id=background.background_id,
            )
        )
    return samples


def _photograph(
    layer: np.ndarray,
    background: np.ndarray,
    realism: Realism,
    chance: _Chance,
) -> np.ndarray:
    """The image uint8 RGB [H, W, 3], in the order of a camera: light, noise, compression."""
    place = composite_linear if realism.linear_blur else composite
    image = place(layer, background)
    if realism.sensor_noise > 0:
        image = add_sensor_noise(image, realism.sensor_noise, chance.noise)
    return add_jpeg_artefacts(image, chance.jpeg) if realism.jpeg_artefacts else image
