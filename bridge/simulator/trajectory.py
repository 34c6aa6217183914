"""How an object moves: a straight line with a steady turn (paper Sec. 4, synthetic data).

Real motion is rarely either, so a straight trajectory can be bent into a Bezier curve that the
object runs along with a constant acceleration (`curve`).

The published generator draws start and end points until a pair fits, which fails for 96 % of the
start points. Here the same distribution is drawn directly: start points are uniform over those
that have a feasible end, and ends uniform over the feasible ones of their start.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from bridge.simulator.camera import LENS, SENSOR

NUM_FRAMES = 24
START_DEPTH = (-6.0, -3.0)
MAX_DEPTH_STEP = 1.0
SIDEWAYS_DISTANCE = (2.1, 2.5)
MAX_TURN = np.deg2rad(30)

_TANGENT = (1 - 0.05) * SENSOR / (2 * LENS)
"""Half the opening of the camera along the longer side, less a margin of 5 %."""
_OBJECT_RADIUS = 1.0
_INSET = _OBJECT_RADIUS / _TANGENT * np.sqrt(1 + _TANGENT**2)

MAX_BEND = 0.4
"""Shift of a curve's inner control points, as a share of the distance from start to end."""
MAX_ROTATION_BEND = MAX_TURN / 2
MAX_ACCELERATION = 0.5
"""The speed changes between 0.5 and 1.5 times its mean at most."""
_BEND_STEPS = 8

_STARTS_PER_DRAW = 256
_ENDS_PER_DRAW = 64
_DRAWS_PER_START = 200


def _no_bend() -> np.ndarray:
    return np.zeros((2, 3))


@dataclass(frozen=True)
class Trajectory:
    """Motion over frames 0..23, camera space; linear unless it is bent or accelerated.

    Location and Euler angles follow cubic Bezier curves. Their inner control points lie a third
    and two thirds of the way from start to end, shifted by the bends.

    Attributes:
        location: [2, 3], start and end in scene units; the camera looks along -z.
        rotation: [2, 3], start and end as XYZ Euler angles in radians.
        location_bend: [2, 3], shifts of the inner control points in scene units.
        rotation_bend: [2, 3], shifts of the inner control points in radians.
        acceleration: -1 < a < 1; the speed falls (rises, if negative) steadily from 1 + a to 1 - a
            times its mean.
    """

    location: np.ndarray
    rotation: np.ndarray
    location_bend: np.ndarray = field(default_factory=_no_bend)
    rotation_bend: np.ndarray = field(default_factory=_no_bend)
    acceleration: float = 0.0

    def pose(self, frame: float) -> tuple[np.ndarray, np.ndarray]:
        """Rotation [3, 3] (Rz Ry Rx) and translation [3] at a frame, which may be fractional."""
        time = frame / (NUM_FRAMES - 1)
        share = time + self.acceleration * time * (1 - time)
        angles = _bezier(self.rotation, self.rotation_bend, share)
        return euler_matrix(angles), _bezier(self.location, self.location_bend, share)


def _bezier(ends: np.ndarray, bend: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Point [3] (or [N, 3] for shares [N, 1]) of a cubic Bezier curve: its chord and the rest."""
    rest = 1 - share
    line = ends[0] + share * (ends[1] - ends[0])
    return line + 3 * share * rest * (rest * bend[0] + share * bend[1])


def euler_matrix(angles: np.ndarray) -> np.ndarray:
    """Rotation [3, 3] that turns about x first, then y, then z; angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    return np.array(
        [
            [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
            [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
            [-sy, sx * cy, cx * cy],
        ]
    )


def sample_trajectory(
    rng: np.random.Generator, extents: tuple[float, float, float], image_size: tuple[int, int]
) -> Trajectory:
    """Draw a motion that crosses the picture.

    Args:
        rng: source of randomness.
        extents: size of the object along x, y and z; only the proportions matter.
        image_size: (H, W); objects stay further inside along the shorter side.
    """
    start = initial_rotation(rng, extents)
    end = start + MAX_TURN * rng.uniform(-1, 1, 3)
    return Trajectory(sample_locations(rng, image_size), np.stack([start, end]))


def curve(
    trajectory: Trajectory, rng: np.random.Generator, image_size: tuple[int, int]
) -> Trajectory:
    """Bend and accelerate a straight motion at random; start and end stay.

    The path leaves the line across its direction, in an arc or an S. A bend that would take it
    out of the region in which `sample_locations` draws is reduced until it does not.

    Args:
        trajectory: a straight motion.
        rng: source of randomness.
        image_size: (H, W), which shapes the region.
    """
    start, end = trajectory.location
    distance = float(np.linalg.norm(end - start))
    direction = (end - start) / distance
    bend = MAX_BEND * distance * rng.uniform(-1, 1, (2, 3))
    bend -= (bend @ direction)[:, None] * direction
    shares = np.linspace(0, 1, NUM_FRAMES)[:, None]
    for step in range(_BEND_STEPS, -1, -1):
        location_bend = bend * step / _BEND_STEPS
        if _inside(_bezier(trajectory.location, location_bend, shares), image_size).all():
            break
    return replace(
        trajectory,
        location_bend=location_bend,
        rotation_bend=MAX_ROTATION_BEND * rng.uniform(-1, 1, (2, 3)),
        acceleration=MAX_ACCELERATION * rng.uniform(-1, 1),
    )


def _inside(points: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Which points [N, 3] lie where the centres of objects may be, bool [N]."""
    height, width = image_size
    longer, shorter, z = (points if width >= height else points[:, [1, 0, 2]]).T
    half_longer, half_shorter = _half_widths(z, min(height, width) / max(height, width))
    in_depth = (z >= START_DEPTH[0] - MAX_DEPTH_STEP) & (z <= START_DEPTH[1])
    return in_depth & (np.abs(longer) <= half_longer) & (np.abs(shorter) <= half_shorter)


def sample_locations(rng: np.random.Generator, image_size: tuple[int, int]) -> np.ndarray:
    """Start and end point [2, 3]."""
    height, width = image_size
    ratio = min(height, width) / max(height, width)
    while True:
        start = _sample_start(rng, ratio)
        for _ in range(_DRAWS_PER_START):
            end = _sample_end(rng, ratio, start)
            if end is not None:
                points = np.stack([start, end])
                return points if width >= height else points[:, [1, 0, 2]]


def initial_rotation(rng: np.random.Generator, extents: tuple[float, float, float]) -> np.ndarray:
    """Euler angles [3] in radians that show a large face of the object to the camera."""
    x, y, z = extents
    largest = max(y * z, x * y, x * z)
    turn_z = rng.uniform(-180, 180)
    if largest == y * z and z > 10 * x:
        signs = rng.choice([-1, 1], 2)
        turn_x, turn_y = signs * rng.uniform(30, 150, 2)
    elif largest == x * y and y > 10 * z:
        signs = rng.choice([-1, 1], 2)
        turn_x, turn_y = signs * rng.uniform([150, 15], [180, 60])
    elif largest == x * z and x > 10 * y:
        turn_x, turn_y = rng.uniform([45, -45], [135, 45])
    else:
        turn_x, turn_y = rng.uniform([135, 15], [150, 60])
    return np.deg2rad([turn_x, turn_y, turn_z])


def _half_widths(z: np.ndarray | float, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Half the region for an object's centre at depth z, along the longer and shorter side."""
    return np.abs(_TANGENT * (z + _INSET)), np.abs(_TANGENT * (np.multiply(z, ratio) + _INSET))


def _widest_end(z: np.ndarray | float, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the half widths over all end depths that a start depth allows."""
    near, far = (_half_widths(z + step, ratio) for step in (MAX_DEPTH_STEP, -MAX_DEPTH_STEP))
    return np.maximum(near[0], far[0]), np.maximum(near[1], far[1])


def _sample_start(rng: np.random.Generator, ratio: float) -> np.ndarray:
    """A uniform start point from which some end is at least the shortest distance away."""
    while True:
        z = rng.uniform(*START_DEPTH, _STARTS_PER_DRAW)
        half = np.stack(_half_widths(z, ratio))
        xy = rng.uniform(-1, 1, (2, _STARTS_PER_DRAW)) * half
        farthest = np.hypot(*(np.abs(xy) + np.stack(_widest_end(z, ratio))))
        feasible = np.flatnonzero(farthest >= SIDEWAYS_DISTANCE[0])
        if feasible.size:
            first = feasible[0]
            return np.array([*xy[:, first], z[first]])


def _sample_end(rng: np.random.Generator, ratio: float, start: np.ndarray) -> np.ndarray | None:
    """A uniform end point among the feasible ones, or None where this draw had none.

    Where the object must cross the picture, candidates come from a smaller box around the
    feasible ends: on the other side, at least `reach` from the middle, which is what remains of
    the distance after the largest possible step along the shorter side.
    """
    x, y, z = start
    widest_x, widest_y = _widest_end(z, ratio)
    shortest = SIDEWAYS_DISTANCE[0]
    reach = float(np.sqrt(max(shortest**2 - (abs(y) + widest_y) ** 2, 0))) - abs(x)
    low_z, high_z, low_x = z - MAX_DEPTH_STEP, z + MAX_DEPTH_STEP, -1.0
    if reach > 0 and reach + 2 * abs(x) > widest_x and high_z < -_INSET:
        high_z = min(high_z, -(_INSET + reach / _TANGENT))
        low_x = reach / widest_x
    z2 = rng.uniform(low_z, high_z, _ENDS_PER_DRAW)
    half_x, half_y = _half_widths(z2, ratio)
    x2 = -np.sign(x) * rng.uniform(low_x, 1, _ENDS_PER_DRAW) * half_x
    y2 = rng.uniform(-1, 1, _ENDS_PER_DRAW) * half_y
    distance = np.hypot(x2 - x, y2 - y)
    feasible = np.flatnonzero((distance >= shortest) & (distance <= SIDEWAYS_DISTANCE[1]))
    if feasible.size == 0:
        return None
    first = feasible[0]
    return np.array([x2[first], y2[first], z2[first]])
