"""From an object and a trajectory number to the eleven labelled images (paper Sec. 4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from bridge.blur import blur_level, blur_severity, bounding_box, composite, eight_bit
from bridge.simulator.background import Backgrounds
from bridge.simulator.filters import stays_in_view
from bridge.simulator.lighting import Lighting
from bridge.simulator.mesh import Mesh
from bridge.simulator.renderers import Renderer, RendererName
from bridge.simulator.trajectory import sample_trajectory


@dataclass(frozen=True)
class SimulatorConfig:
    """Everything besides object and background that decides the pixels.

    Attributes:
        image_size: (H, W) in pixels.
        renderer: a name that `make_renderer` knows.
        subframe_step: pixels that the fastest point of the object moves between two sub-frames.
        tries: motions drawn for a trajectory before it is given up.
        seed: of the whole dataset.
        background_per_image: one background per image instead of one per trajectory.
    """

    image_size: tuple[int, int] = (240, 320)
    renderer: RendererName = "raster"
    subframe_step: float = 1.0
    tries: int = 5
    seed: int = 0
    background_per_image: bool = False


@dataclass(frozen=True)
class Sample:
    """One image with its labels.

    Attributes:
        window: exposure in sub-trajectories, 0 (sharp) to 10.
        image: uint8 RGB [H, W, 3].
        blur_severity: BS in 0..1 (Eq. 5).
        blur_level: BL in 1..10 (Eq. 6).
        bbox: (cx, cy, w, h) in units of the image size.
        background_id: name of the background.
    """

    window: int
    image: np.ndarray
    blur_severity: float
    blur_level: int
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
    rng = _rng(config.seed, object_id, trajectory)
    for _ in range(config.tries):
        motion = sample_trajectory(rng, mesh.extents, config.image_size)
        if not stays_in_view(mesh, motion, config.image_size):
            continue
        layers = renderer.expose(mesh, motion, Lighting(), linear=False)
        if layers[..., 3].any(axis=(1, 2)).all():
            return _label(layers, config, rng, backgrounds)
    return []


def _rng(seed: int, object_id: str, trajectory: int) -> np.random.Generator:
    name = int.from_bytes(hashlib.sha256(object_id.encode()).digest(), "big")
    return np.random.default_rng([seed, name, trajectory])


def _label(
    layers: np.ndarray, config: SimulatorConfig, rng: np.random.Generator, backgrounds: Backgrounds
) -> list[Sample]:
    samples: list[Sample] = []
    background = backgrounds.sample(rng, config.image_size)
    for index, layer in enumerate(layers):
        if config.background_per_image and index > 0:
            background = backgrounds.sample(rng, config.image_size)
        alpha = eight_bit(layer[..., 3])
        severity = blur_severity(alpha)
        samples.append(
            Sample(
                window=index,
                image=composite(layer, background.pixels),
                blur_severity=severity,
                blur_level=blur_level(severity),
                bbox=bounding_box(alpha),
                background_id=background.background_id,
            )
        )
    return samples
