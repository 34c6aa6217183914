"""CPU time of the stages that make the images of an object, measured in the real simulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from bridge.blur import blur_level, blur_severity, blur_value, bounding_box, composite, eight_bit
from bridge.simulator import (
    Background,
    Backgrounds,
    Mesh,
    ObjectEntry,
    SimulatorConfig,
    Trajectory,
    simulate,
)
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Subframe
from bridge.simulator.renderers.raster import RasterCanvas
from bridge.simulator.renderers.subframes import SubframeRenderer
from bridge.synthesis.shard import make_rows

SAMPLES_PER_PIXEL = 4
"""Of the rasteriser."""

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class ObjectCost:
    """What one trajectory of an object cost.

    Attributes:
        object_id: which.
        opening: CPU seconds to open the mesh.
        stages: CPU seconds by stage.
        rows: the images as they go into a shard; none where no motion passed the filter.
        subframes: number that was drawn.
        samples: of the object's surface in all of them together, about.
    """

    object_id: str
    opening: float
    stages: dict[str, float]
    rows: list[dict[str, Any]]
    subframes: int
    samples: float

    @property
    def seconds(self) -> float:
        """CPU seconds of all stages; opening the mesh is apart, as it serves many trajectories."""
        return sum(self.stages.values())


def timed(function: Callable[[], Value]) -> tuple[Value, float]:
    """What a function returns, and the CPU seconds of this process that it took."""
    started = time.process_time()
    value = function()
    return value, time.process_time() - started


class CountingCanvas(RasterCanvas):
    """The rasteriser, which also counts the sub-frames that it draws."""

    subframes = 0

    def accumulate(
        self,
        mesh: Mesh,
        subframes: Sequence[Subframe],
        lighting: Lighting,
        linear: bool,
        out: np.ndarray,
    ) -> None:
        """See `RasterCanvas.accumulate`."""
        self.subframes += len(subframes)
        super().accumulate(mesh, subframes, lighting, linear, out)


class TimedRenderer:
    """A `Renderer` that keeps its last images, and how many CPU seconds all of them took."""

    def __init__(self, image_size: tuple[int, int], step: float) -> None:
        self.image_size = image_size
        self.canvas = CountingCanvas(image_size)
        self.seconds = 0.0
        self.layers = np.zeros((0, *image_size, 4), np.float32)
        self._renderer = SubframeRenderer(self.canvas, step)

    def expose(
        self, mesh: Mesh, trajectory: Trajectory, lighting: Lighting, *, linear: bool
    ) -> np.ndarray:
        """See `Renderer.expose`."""
        self.layers, seconds = timed(
            lambda: self._renderer.expose(mesh, trajectory, lighting, linear=linear)
        )
        self.seconds += seconds
        return self.layers


class TimedBackgrounds:
    """`Backgrounds` that keep the last one, and how many CPU seconds all of them took."""

    def __init__(self, source: Backgrounds) -> None:
        self.names = source.names
        self.rejected = source.rejected
        self.seconds = 0.0
        self.pixels = np.zeros((0, 0, 3), np.uint8)
        self._source = source

    def sample(self, rng: np.random.Generator, image_size: tuple[int, int]) -> Background:
        """See `Backgrounds.sample`."""
        background, seconds = timed(lambda: self._source.sample(rng, image_size))
        self.seconds += seconds
        self.pixels = background.pixels
        return background


def measure_object(
    entry: ObjectEntry, config: SimulatorConfig, renderer: TimedRenderer, source: Backgrounds
) -> ObjectCost:
    """Make the images of an object's first trajectory; raises MeshError where it does not open."""
    mesh, opening = timed(entry.load)
    backgrounds = TimedBackgrounds(source)
    renderer.seconds, renderer.canvas.subframes = 0.0, 0
    samples, total = timed(
        lambda: simulate(mesh, entry.object_id, 0, config, renderer, backgrounds)
    )
    layers = renderer.layers if samples else renderer.layers[:0]
    _, labels = timed(lambda: [_label(layer) for layer in layers])
    _, compositing = timed(lambda: [composite(layer, backgrounds.pixels) for layer in layers])
    rows, encoding = timed(lambda: make_rows(entry, 0, samples, "jpeg"))
    # The longest exposure is the mean of all sub-frames.
    covered = float(layers[-1, ..., 3].sum()) if samples else 0.0
    inside = renderer.seconds + backgrounds.seconds + labels + compositing
    stages = {
        "motion and filter": total - inside,
        "render and average": renderer.seconds,
        "background": backgrounds.seconds,
        "labels": labels,
        "composite": compositing,
        "JPEG": encoding,
    }
    subframes = renderer.canvas.subframes
    touched = subframes * covered * SAMPLES_PER_PIXEL
    return ObjectCost(entry.object_id, opening, stages, rows, subframes, touched)


def _label(layer: np.ndarray) -> tuple[int, float, object]:
    """What the simulator derives from an image's opacity."""
    alpha = eight_bit(layer[..., 3])
    return blur_level(blur_severity(alpha)), blur_value(alpha, erosion=0), bounding_box(alpha)
