"""The built-in objects: fifteen families of textured shapes, as many of each as one asks for.

They make the system usable with no data at hand. As in a catalogue of real products, some
objects of a family differ in their texture only, and one texture occurs on several shapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bridge.simulator.meshes.mesh import Mesh, Surface, build_mesh
from bridge.simulator.objects.shapes import box, moved, prism, revolve, sweep
from bridge.simulator.objects.textures import make_texture
from bridge.simulator.trajectory import euler_matrix

NUM_TEXTURES = 256

Rng = np.random.Generator


def procedural_mesh(seed: int, category: str, instance: int) -> Mesh:
    """Make an object; the same arguments give the same one everywhere.

    Args:
        seed: of the whole catalogue.
        category: a key of `FAMILIES`.
        instance: 0, 1, ...; every third object has the shape of the one before it.
    """
    shape = instance - 1 if instance % 3 == 2 else instance
    surfaces = FAMILIES[category](_rng(seed, "shape", category, shape))
    texture = make_texture(_rng(seed, "texture", texture_number(seed, category, instance)))
    return build_mesh([replace(_join(surfaces), texture=texture)])


def texture_number(seed: int, category: str, instance: int) -> int:
    """Which of the textures an object wears; never that of an object with the same shape."""
    number = int(_rng(seed, "wears", category, instance).integers(NUM_TEXTURES))
    if instance % 3 == 2 and number == texture_number(seed, category, instance - 1):
        return (number + 1) % NUM_TEXTURES
    return number


def _join(surfaces: list[Surface]) -> Surface:
    """One surface of all parts, so that the mesh holds its texture once."""
    starts = np.cumsum([0] + [len(part.vertices) for part in surfaces])
    vertices = np.concatenate([part.vertices for part in surfaces])
    faces = np.concatenate(
        [part.faces + start for part, start in zip(surfaces, starts, strict=False)]
    )
    uv = np.concatenate([part.uv for part in surfaces if part.uv is not None])
    return Surface(vertices, faces, uv)


def _rng(*key: object) -> Rng:
    digest = hashlib.sha256(repr(key).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _curve(knots: np.ndarray, count: int = 40) -> np.ndarray:
    """A smooth curve [count, D] through evenly spaced knots [K, D] (Catmull-Rom)."""
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    position = np.linspace(0, len(knots) - 1 - 1e-9, count)
    piece = position.astype(int)
    t = (position - piece)[:, None]
    a, b, c, d = (padded[piece + k] for k in range(4))
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )


def _torus(rng: Rng) -> list[Surface]:
    angle = np.linspace(0, 2 * np.pi, 33)
    thickness = rng.uniform(0.2, 0.48)
    height = thickness * rng.uniform(0.7, 1.6)
    profile = np.stack([1 - thickness * np.cos(angle), -height * np.sin(angle)], -1)
    return [revolve(profile, (4, 1))]


def _vase(rng: Rng) -> list[Surface]:
    radius = rng.uniform([0.25, 0.35, 0.3, 0.12, 0.2], [0.5, 0.9, 0.8, 0.4, 0.6])
    outer = _curve(np.stack([radius, np.linspace(0, rng.uniform(1.6, 2.4), 5)], -1))
    inner = (outer * [0.9, 1])[:4:-1]
    return [revolve(np.concatenate([[[0, 0]], outer, inner]), (2, 2))]


def _box(rng: Rng) -> list[Surface]:
    return box(rng.uniform(0.35, 1, 3).tolist())


def _gear(rng: Rng) -> list[Surface]:
    teeth, depth = int(rng.integers(6, 15)), rng.uniform(0.12, 0.35)
    angle = np.arange(4 * teeth) * 2 * np.pi / (4 * teeth)
    radius = np.tile([1, 1, 1 - depth, 1 - depth], teeth)
    outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    hub = rng.uniform(0.2, 0.45)
    axle = revolve(np.array([[0, -1], [1, -1], [1, 1], [0, 1]]) * [hub, rng.uniform(0.3, 0.8)])
    return [*prism(outline, rng.uniform(0.3, 0.7)), axle]


def _star(rng: Rng) -> list[Surface]:
    points, inner = int(rng.integers(4, 9)), rng.uniform(0.35, 0.7)
    angle = np.arange(2 * points) * np.pi / points
    radius = np.tile([1, inner], points)
    outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return prism(outline, rng.uniform(0.4, 1.2), rng.uniform(0.4, 1))


def _capsule(rng: Rng) -> list[Surface]:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 24)
    length = rng.uniform(0.3, 1.4)
    height = np.sin(angle) + np.where(angle > 0, length, -length)
    return [revolve(np.stack([np.cos(angle), height], -1), (2, 2))]


def _cone(rng: Rng) -> list[Surface]:
    """A traffic cone: a slender cone on a plate."""
    top, height = rng.uniform(0.05, 0.3), rng.uniform(1.4, 2.6)
    cone = np.array([[0.75, 0], [top, height], [0, height]])
    plate = rng.uniform(1.6, 2.2)
    return [revolve(cone, (2, 2)), *box((plate, 0.15, plate))]


def _spring(rng: Rng) -> list[Surface]:
    turns, height = rng.uniform(2.5, 5), rng.uniform(1.4, 2.6)
    t = np.linspace(0, 1, int(40 * turns))
    radius = 0.8 + rng.uniform(-0.3, 0.3) * t
    angle = 2 * np.pi * turns * t
    path = np.stack([radius * np.cos(angle), height * t, radius * np.sin(angle)], -1)
    return [sweep(path, rng.uniform(0.12, 0.22), (1, 3 * turns), sides=12)]


def _knot(rng: Rng) -> list[Surface]:
    p, q = [(2, 3), (3, 2), (2, 5), (3, 4)][rng.integers(4)]
    angle = np.linspace(0, 2 * np.pi, 161)
    radius = 1 + rng.uniform(0.3, 0.5) * np.cos(q * angle)
    depth = rng.uniform(0.35, 0.6)
    path = np.stack(
        [radius * np.cos(p * angle), radius * np.sin(p * angle), -depth * np.sin(q * angle)], -1
    )
    return [sweep(path, rng.uniform(0.14, 0.24), (1, 12), sides=12)]


def _pyramid(rng: Rng) -> list[Surface]:
    sides = int(rng.integers(3, 7))
    angle = np.arange(sides) * 2 * np.pi / sides
    outline = np.stack([np.cos(angle), np.sin(angle)], -1)
    return prism(outline, rng.uniform(0.9, 2.0), rng.uniform(0.0, 0.4))


def _mug(rng: Rng) -> list[Surface]:
    radius, height = rng.uniform(0.45, 0.75), rng.uniform(1, 1.6)
    flare = rng.uniform(0.8, 1.2)
    profile = np.array(
        [
            [0, 0],
            [radius, 0],
            [radius * flare, height],
            [radius * flare - 0.08, height],
            [radius - 0.08, 0.1],
            [0, 0.1],
        ]
    )
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 24)
    reach = rng.uniform(0.3, 0.5)
    loop = np.stack([reach * np.cos(angle), 0.33 * height * np.sin(angle), 0 * angle], -1)
    handle = sweep(loop, rng.uniform(0.07, 0.12), (1, 2))
    return [revolve(profile, (2, 3)), moved(handle, (radius * (1 + flare) / 2, height / 2, 0))]


def _bowl(rng: Rng) -> list[Surface]:
    depth, foot = rng.uniform(0.35, 0.9), rng.uniform(0.25, 0.5)
    t = np.linspace(0, 1, 20)
    outer = np.stack([foot + (1 - foot) * np.sin(t * np.pi / 2), depth * (1 - np.cos(t * 1.5))], -1)
    inner = (outer * [0.93, 1] + [0, 0.04])[::-1]
    base = [[0, -0.1], [foot, -0.1]]
    return [revolve(np.concatenate([base, outer, inner, [[0, 0.05]]]), (3, 2))]


def _table(rng: Rng) -> list[Surface]:
    width, depth, height = rng.uniform([1.4, 0.8, 0.6], [2.2, 1.4, 1.3])
    leg, top = rng.uniform([0.08, 0.08], [0.2, 0.2])
    x, z = (width - leg) / 2, (depth - leg) / 2
    parts = box((width, top, depth), (0, height, 0))
    for corner in ((-x, -z), (-x, z), (x, -z), (x, z)):
        parts += box((leg, height, leg), (corner[0], height / 2, corner[1]))
    return parts


def _chair(rng: Rng) -> list[Surface]:
    seat, height, back = rng.uniform([0.8, 0.6, 0.8], [1.2, 1.0, 1.4])
    leg = rng.uniform(0.08, 0.16)
    place = (seat - leg) / 2
    tilt = euler_matrix(np.array([-rng.uniform(0, 0.3), 0, 0]))
    parts = box((seat, 0.15, seat), (0, height, 0))
    parts += [
        moved(side, (0, height, -seat / 2), tilt)
        for side in box((seat, back, 0.12), (0, back / 2, 0))
    ]
    for corner in ((-place, -place), (-place, place), (place, -place), (place, place)):
        parts += box((leg, height, leg), (corner[0], height / 2, corner[1]))
    return parts


def _superquadric(rng: Rng) -> list[Surface]:
    """A pillow to a rounded box to a double cone, after two exponents."""
    east, north = rng.uniform(0.3, 2.2, 2)
    latitude = np.linspace(-np.pi / 2, np.pi / 2, 28)
    ball = revolve(np.stack([np.cos(latitude), np.sin(latitude)], -1), (3, 2))
    around = np.arctan2(ball.vertices[:, 0], ball.vertices[:, 2])
    lift = np.arcsin(np.clip(ball.vertices[:, 1], -1, 1))
    ring = _power(np.cos(lift), north)
    vertices = np.stack(
        [
            ring * _power(np.sin(around), east),
            _power(np.sin(lift), north),
            ring * _power(np.cos(around), east),
        ],
        -1,
    )
    return [Surface(vertices * rng.uniform(0.5, 1, 3), ball.faces, ball.uv)]


def _power(value: np.ndarray, exponent: float) -> np.ndarray:
    return np.sign(value) * np.abs(value) ** exponent


FAMILIES: dict[str, Callable[[Rng], list[Surface]]] = {
    "bowl": _bowl,
    "box": _box,
    "capsule": _capsule,
    "chair": _chair,
    "cone": _cone,
    "gear": _gear,
    "knot": _knot,
    "mug": _mug,
    "pyramid": _pyramid,
    "spring": _spring,
    "star": _star,
    "superquadric": _superquadric,
    "table": _table,
    "torus": _torus,
    "vase": _vase,
}
"""Shape generators by category."""
