"""Images of one trajectory under eleven exposures (paper Sec. 4, Eq. 3).

The exposures are nested, so one pass of sub-frames serves them all: each is a running sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bridge.blur import NUM_WINDOWS
from bridge.simulator import camera
from bridge.simulator.meshes.mesh import Mesh
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Canvas, Subframe
from bridge.simulator.trajectory import Trajectory
from bridge.simulator.windows import CENTRE_FRAME, added_frame, window

_MARGIN = 3
"""Pixels around the vertices that a sub-frame may touch, being shifted and between two frames."""

_SHARP_OFFSETS = [(x / 6, y / 6) for x in (-1, 0, 1) for y in (-1, 0, 1)]
"""The sharp image is drawn once for all, so its edges get 6x6 samples per pixel."""

_STILL_PARTS = 8
"""Parts of the shortest exposure of an object that hardly moves: edges must be smooth too."""

_PLASTIC = 1.32471795724474602596
"""Its powers place points evenly over a square, whatever their number (Roberts' R2 sequence)."""


class SubframeRenderer:
    """A `Renderer` that averages sub-frames, as many as the motion on the screen asks for.

    The average over time is the trapezoidal rule: an exposure includes its first and its last
    instant, without which its silhouette, and so its blur severity, would come out too small.
    Sub-frames are shifted by fractions of a pixel, so that edges along the motion are smooth too.

    Args:
        canvas: draws the sub-frames.
        step: pixels that the fastest point of the object moves from one sub-frame to the next.
            The sub-trajectory that window k adds has step * k / 4, between a quarter of the step
            and one and a half: its error weighs 1/k in that window and less in all longer ones.
    """

    def __init__(self, canvas: Canvas, step: float) -> None:
        self.canvas = canvas
        self.step = step

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.canvas.image_size

    def expose(
        self, mesh: Mesh, trajectory: Trajectory, lighting: Lighting, *, linear: bool
    ) -> np.ndarray:
        """The sharp image and the ten blurred ones; see `Renderer.expose`."""
        seen = np.stack([self._vertices(mesh, trajectory, frame) for frame in _FRAMES])
        box = camera.touched_pixels(seen, self.image_size, _MARGIN).slices
        speed = float(np.linalg.norm(np.diff(seen[..., :2], axis=0), axis=2).max())
        out = np.zeros((*self.image_size, 4), np.float32)

        def draw(frames: Sequence[float], offsets: Sequence[tuple[float, float]]) -> np.ndarray:
            out[box] = 0
            subframes = [
                Subframe(*trajectory.pose(frame), offset)
                for frame, offset in zip(frames, offsets, strict=True)
            ]
            self.canvas.accumulate(mesh, subframes, lighting, linear, out)
            return out[box]

        layers = np.zeros((NUM_WINDOWS + 1, *self.image_size, 4), np.float32)
        inside = [layer[box] for layer in layers]
        passes = len(_SHARP_OFFSETS)
        inside[0] += draw([CENTRE_FRAME] * passes, _SHARP_OFFSETS) / passes
        ends = {CENTRE_FRAME: inside[0]}
        total = np.zeros_like(inside[0])
        drawn = 0
        for index in range(1, NUM_WINDOWS + 1):
            first = added_frame(index)
            old, new = (first, first + 1) if first in ends else (first + 1, first)
            parts = self.parts(speed, index)
            offsets = _offsets(drawn, parts)
            ends[new] = draw([new], offsets[:1]).copy()
            share = draw([first + part / parts for part in range(1, parts)], offsets[1:])
            share += (ends[old] + ends[new]) / 2
            total += share / parts
            np.multiply(total, 1 / index, out=inside[index])
            # A sum of equal shares may exceed 1 in the last bit; opacity 1 must stay exact.
            np.minimum(inside[index], 1, out=inside[index])
            drawn += parts
        return layers

    def parts(self, speed: float, index: int) -> int:
        """Into how many parts to cut what window `index` adds, at so many pixels per frame."""
        still = math.ceil(_STILL_PARTS / index)
        return max(still, math.ceil(speed / (self.step * min(index / 4, 1.5))))

    def _vertices(self, mesh: Mesh, trajectory: Trajectory, frame: float) -> np.ndarray:
        """Where the vertices are seen at a frame, [V, 3] as `camera.project` has it."""
        points = camera.to_camera(mesh.vertices, *trajectory.pose(frame))
        return camera.project(points, self.image_size)


_FRAMES = range(window(NUM_WINDOWS)[0], window(NUM_WINDOWS)[1] + 1)


def _offsets(first: int, count: int) -> list[tuple[float, float]]:
    """Members `first`.. of a sequence that fills the square of a quarter pixel to each side."""
    numbers = np.arange(first, first + count)
    x = (0.5 + numbers / _PLASTIC) % 1
    y = (0.5 + numbers / _PLASTIC**2) % 1
    return list(zip((x - 0.5) / 2, (y - 0.5) / 2, strict=True))
