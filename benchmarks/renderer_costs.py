"""Error of the opacity as a function of CPU time, for the rasteriser and for Cycles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import psutil

from benchmarks.renderer_errors import WINDOWS, Case, compare, images_of
from benchmarks.report import one_core
from bridge.common.progress import progress
from bridge.simulator import Renderer, make_renderer
from bridge.simulator.renderers.cycles import CyclesRenderer
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.windows import NUM_WINDOWS

_REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """One point of a curve.

    Attributes:
        setting: sub-frame step in pixels, or samples per pixel.
        seconds: CPU seconds for the eleven images of a trajectory, mean over the cases.
        alpha: error of the opacity, mean over the cases and the compared exposures.
        setup: CPU seconds for the eleven images that `seconds` leaves out.
        cheaper: how many times less than Cycles it costs at the same error, as text.
    """

    setting: float
    seconds: float
    alpha: float
    setup: float = 0.0
    cheaper: str | None = None


def raster_curve(
    cases: Sequence[Case],
    references: Sequence[np.ndarray],
    image_size: tuple[int, int],
    steps: Sequence[float],
) -> list[Cost]:
    """The rasteriser at several sub-frame steps, on one core."""
    curve = []
    with one_core():
        for step in steps:
            renderer = make_renderer("raster", image_size, step)
            # Drawn before the clock starts, since the first image compiles the rasteriser.
            alpha = compare([images_of(renderer, case) for case in cases], references).alpha
            seconds = [_median_seconds(renderer, case) for case in cases]
            curve.append(Cost(step, statistics.mean(seconds), float(alpha.mean())))
    return curve


def _median_seconds(renderer: Renderer, case: Case) -> float:
    spent = []
    for _ in range(_REPEATS):
        started = time.process_time()
        renderer.expose(case.mesh, case.trajectory, Lighting(), linear=False)
        spent.append(time.process_time() - started)
    return statistics.median(spent)


def cycles_curve(
    cases: Sequence[Case],
    references: Sequence[np.ndarray],
    image_size: tuple[int, int],
    samples: Sequence[int],
) -> list[Cost]:
    """Cycles at several sample counts, in one thread on one core.

    The set-up of a scene does not count: it is taken to be what images of one sample cost.
    """
    seconds = np.zeros((len(samples) + 1, len(cases)))
    alpha = np.zeros((len(samples) + 1, len(cases)))
    with one_core():
        renderer = CyclesRenderer(image_size)
    process = psutil.Process(renderer.pid)
    total = len(cases) * len(samples)
    with progress("cost of cycles", total, "trajectories") as counter, closing(renderer):
        for i, (case, reference) in enumerate(zip(cases, references, strict=True)):
            scene = case.mesh, case.trajectory, Lighting()
            # The mesh is sent, and textures are read, only once.
            renderer.render(*scene, [0], samples=1)
            for j, count in enumerate((1, *samples)):
                started = _cpu_seconds(process)
                images = renderer.render(*scene, range(NUM_WINDOWS + 1), samples=count, seed=2)
                seconds[j, i] = _cpu_seconds(process) - started
                alpha[j, i] = compare([images[list(WINDOWS)]], [reference]).alpha.mean()
                counter.advance(int(j > 0))
    setup, *spent = seconds.mean(axis=1).tolist()
    errors = alpha.mean(axis=1).tolist()[1:]
    return [
        Cost(count, each - setup, error, setup)
        for count, each, error in zip(samples, spent, errors, strict=True)
    ]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def beside(cost: Cost, curve: Sequence[Cost]) -> Cost:
    """A point with the number of times that another curve's seconds are above its own.

    At equal error: between the points of the curve, the logarithm of the seconds is linear in that
    of the error. ">" stands where the curve never gets so small an error, and "<" where even its
    largest is smaller; the curve's end counts then.
    """
    by_error = sorted(curve, key=lambda point: point.alpha)
    errors = np.log([point.alpha for point in by_error])
    seconds = np.log([point.seconds for point in by_error])
    times = np.exp(np.interp(np.log(cost.alpha), errors, seconds)) / cost.seconds
    bound = ">" if cost.alpha < by_error[0].alpha else ""
    bound = "<" if cost.alpha > by_error[-1].alpha else bound
    return replace(cost, cheaper=f"{bound}{times:,.0f} x")
