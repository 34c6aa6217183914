"""Images of one trajectory under eleven exposures (paper Sec. 4, Eq. 3).

The exposures are nested, so one pass of sub-frames serves them all: each is a running sum.
"""

from __future__ import annotations

import math

import numpy as np

from bridge.simulator.lighting import Lighting
from bridge.simulator.mesh import Mesh
from bridge.simulator.renderers import FOCAL_BY_SENSOR, OBJECT_SCALE, Canvas, Subframe
from bridge.simulator.trajectory import Trajectory

CENTRE_FRAME = 12
NUM_WINDOWS = 10

_NEAR = 0.1
_SHARP_OFFSETS = [(x, y) for x in (-0.125, 0.125) for y in (-0.125, 0.125)]
"""The sharp image is drawn once for all, so its edges get 4x4 samples per pixel."""

_PLASTIC = 1.32471795724474602596
"""Its powers place points evenly over a square, whatever their number (Roberts' R2 sequence)."""


def window(index: int) -> tuple[int, int]:
    """First and last frame of an exposure of `index` sub-trajectories, 0 (sharp) to 10."""
    start = CENTRE_FRAME - (index + 1) // 2
    return start, start + index


def added_frame(index: int) -> int:
    """First frame of the sub-trajectory that window `index` (1..10) has and `index` - 1 has not."""
    start, end = window(index)
    return start if start < window(index - 1)[0] else end - 1


class SubframeRenderer:
    """A `Renderer` that averages sub-frames, as many as the motion on the screen asks for.

    The average over time is the trapezoidal rule: an exposure includes its first and its last
    instant, without which its silhouette, and so its blur severity, would come out too small.
    Sub-frames are shifted by fractions of a pixel, so that edges along the motion are smooth too.

    Args:
        canvas: draws the sub-frames.
        step: pixels that the fastest point of the object moves from one to the next.
    """

    def __init__(self, canvas: Canvas, step: float) -> None:
        self.canvas = canvas
        self.step = step

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.canvas.image_size

    def expose(
        self, mesh: Mesh, trajectory: Trajectory, lighting: Lighting, *, linear: bool = False
    ) -> np.ndarray:
        """The sharp image and the ten blurred ones; see `Renderer.expose`."""

        def draw(frames: np.ndarray, offsets: list[tuple[float, float]]) -> np.ndarray:
            out = np.zeros((*self.image_size, 4), np.float32)
            subframes = [
                Subframe(*trajectory.pose(frame), offset)
                for frame, offset in zip(frames, offsets, strict=True)
            ]
            self.canvas.accumulate(mesh, subframes, lighting, linear, out)
            return out

        parts = self.parts(mesh, trajectory)
        inside = np.arange(1, parts) / parts
        layers = np.empty((NUM_WINDOWS + 1, *self.image_size, 4), np.float32)
        layers[0] = draw(np.full(4, float(CENTRE_FRAME)), _SHARP_OFFSETS) / 4
        ends = {CENTRE_FRAME: layers[0]}
        total = np.zeros_like(layers[0])
        for index in range(1, NUM_WINDOWS + 1):
            first = added_frame(index)
            old, new = (first, first + 1) if first in ends else (first + 1, first)
            ends[new] = draw(np.array([float(new)]), _offsets(index, 1))
            total += draw(first + inside, _offsets(index * parts, parts - 1))
            total += (ends[old] + ends[new]) / 2
            np.multiply(total, 1 / (index * parts), out=layers[index])
        # A sum of equal shares may exceed 1 in the last bit; opacity 1 must stay exact.
        return np.minimum(layers, 1, out=layers)

    def parts(self, mesh: Mesh, trajectory: Trajectory) -> int:
        """Into how many equal parts each sub-trajectory of the motion is cut."""
        first, last = window(NUM_WINDOWS)
        frames = range(first, last + 1)
        points = np.stack([self._screen(mesh, trajectory, frame) for frame in frames])
        steps = np.linalg.norm(np.diff(points, axis=0), axis=2)
        return max(1, math.ceil(float(steps.max()) / self.step))

    def _screen(self, mesh: Mesh, trajectory: Trajectory, frame: float) -> np.ndarray:
        """Where the vertices are on the screen, in pixels, [V, 2]."""
        rotation, translation = trajectory.pose(frame)
        points = mesh.vertices @ (OBJECT_SCALE * rotation.T) + translation
        focal = max(self.image_size) * FOCAL_BY_SENSOR
        return points[:, :2] * (focal / np.maximum(-points[:, 2:], _NEAR))


def _offsets(first: int, count: int) -> list[tuple[float, float]]:
    """Members `first`.. of a sequence that fills the square of a quarter pixel to each side."""
    numbers = np.arange(first, first + count)
    x = (0.5 + numbers / _PLASTIC) % 1
    y = (0.5 + numbers / _PLASTIC**2) % 1
    return list(zip((x - 0.5) / 2, (y - 0.5) / 2, strict=True))
