"""The light of a scene: as in Blender, but without shadows, bounces and highlights."""

from __future__ import annotations

from dataclasses import dataclass

GAMMA = 2.2
"""A display of pure gamma: display value = linear light ** (1 / GAMMA)."""


@dataclass(frozen=True)
class Lamp:
    """A point lamp. Its power spreads over the sphere, and Lambert's law divides by pi.

    Attributes:
        position: in camera space, scene units.
        watts: power.
    """

    position: tuple[float, float, float]
    watts: float


@dataclass(frozen=True)
class Lighting:
    """What shines on an object. The default is the scene of the published data.

    A surface whose unit normal n (of the side that is seen) points to a lamp at d receives
    watts * (n . d) / (4 pi^2 |d|^3) of it, and `ambient` everywhere.

    Attributes:
        ambient: light from everywhere, 1 shows a white surface as white.
        lamps: point lamps.
    """

    ambient: float = 0.6
    lamps: tuple[Lamp, ...] = (Lamp((4.08, 1.01, 5.90), 1000.0),)
