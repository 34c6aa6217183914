"""CPU time of the stages that make the images of an object, measured in the real simulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from bridge.blur import blur_level, blur_severity, blur_value, bounding_box, composite, eight_bit
from bridge.simulator import Backgrounds, Mesh, ObjectEntry, SimulatorConfig, simulate
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


class Timed(Generic[Value]):
    """A function that keeps what it last returned, and the CPU seconds of all its calls."""

    def __init__(self, function: Callable[..., Value]) -> None:
        self.seconds = 0.0
        self.last: Value | None = None
        self._function = function

    def __call__(self, *arguments: Any, **options: Any) -> Value:
        self.last, seconds = timed(lambda: self._function(*arguments, **options))
        self.seconds += seconds
        return self.last


class CountingCanvas(RasterCanvas):
    """The rasteriser, which also counts the sub-frames that it draws."""

    subframes = 0

    def accumulate(self, mesh: Mesh, subframes: Sequence[Subframe], *scene: Any) -> None:
        """See `RasterCanvas.accumulate`."""
        self.subframes += len(subframes)
        super().accumulate(mesh, subframes, *scene)


class Stopwatch:
    """A renderer and backgrounds for `simulate`, both timed, for one trajectory."""

    def __init__(self, config: SimulatorConfig, backgrounds: Backgrounds) -> None:
        self.canvas = CountingCanvas(config.image_size)
        self.image_size = config.image_size
        self.names, self.rejected = backgrounds.names, backgrounds.rejected
        self.expose = Timed(SubframeRenderer(self.canvas, config.subframe_step).expose)
        self.sample = Timed(backgrounds.sample)


def measure_object(
    entry: ObjectEntry, config: SimulatorConfig, backgrounds: Backgrounds
) -> ObjectCost:
    """Make the images of an object's first trajectory; raises MeshError where it does not open."""
    mesh, opening = timed(entry.load)
    watch = Stopwatch(config, backgrounds)
    samples, total = timed(lambda: simulate(mesh, entry.object_id, 0, config, watch, watch))
    layers = watch.expose.last if samples else np.zeros((0, *config.image_size, 4), np.float32)
    background = watch.sample.last
    _, labels = timed(lambda: [_label(layer) for layer in layers])
    _, compositing = timed(lambda: [composite(layer, background.pixels) for layer in layers])
    rows, encoding = timed(lambda: make_rows(entry, 0, samples, "jpeg"))
    stages = {
        "motion and filter": total,
        "render and average": watch.expose.seconds,
        "background": watch.sample.seconds,
        "labels": labels,
        "composite": compositing,
        "JPEG": encoding,
    }
    for part in ("render and average", "background", "labels", "composite"):
        stages["motion and filter"] -= stages[part]
    # The longest exposure is the mean of all sub-frames.
    covered = float(layers[-1, ..., 3].sum()) if samples else 0.0
    touched = watch.canvas.subframes * covered * SAMPLES_PER_PIXEL
    return ObjectCost(entry.object_id, opening, stages, rows, watch.canvas.subframes, touched)


def _label(layer: np.ndarray) -> tuple[int, float, object]:
    """What the simulator derives from an image's opacity."""
    alpha = eight_bit(layer[..., 3])
    return blur_level(blur_severity(alpha)), blur_value(alpha, erosion=0), bounding_box(alpha)
