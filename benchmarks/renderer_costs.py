"""Error of the opacity as a function of CPU time, for the rasteriser and for Cycles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from benchmarks.fidelity import WINDOWS, Case, compare, images_of
from benchmarks.tables import one_core
from bridge.blur import NUM_WINDOWS
from bridge.common.progress import progress
from bridge.simulator import make_renderer
from bridge.simulator.renderers.cycles import CyclesRenderer
from bridge.simulator.renderers.lighting import Lighting

_REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """One point of a curve.

    Attributes:
        setting: sub-frame step in pixels, or samples per pixel.
        seconds: CPU seconds for the eleven images of a trajectory, mean over the cases.
        alpha: error of the opacity, mean over the cases and the compared exposures.
        setup: CPU seconds for the eleven images that `seconds` leaves out.
    """

    setting: float
    seconds: float
    alpha: float
    setup: float = 0.0


@dataclass(frozen=True)
class Ratio:
    """How many times the seconds of another curve a point's are at the same error.

    Attributes:
        times: their quotient.
        bound: ">" where the other curve never gets so small an error, and "<" where even its
            largest is smaller; the curve's end counts then.
    """

    times: float
    bound: str = ""


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
            images = [images_of(renderer, case) for case in cases]
            seconds = []
            for case in cases:
                scene = case.mesh, case.trajectory, Lighting()
                repeats = []
                for _ in range(_REPEATS):
                    started = time.process_time()
                    renderer.expose(*scene, linear=False)
                    repeats.append(time.process_time() - started)
                seconds.append(statistics.median(repeats))
            alpha = float(compare(images, references).alpha.mean())
            curve.append(Cost(step, statistics.mean(seconds), alpha))
    return curve


def cycles_curve(
    cases: Sequence[Case],
    references: Sequence[np.ndarray],
    image_size: tuple[int, int],
    samples: Sequence[int],
) -> list[Cost]:
    """Cycles at several sample counts, in one thread on one core.

    The set-up of a scene does not count: it is taken to be what images of one sample cost.
    """
    seconds = np.zeros((len(cases), len(samples) + 1))
    alpha = np.zeros((len(cases), len(samples)))
    with one_core():
        renderer = CyclesRenderer(image_size)
    process = psutil.Process(renderer.pid)
    total = len(cases) * len(samples)
    with progress("cost of cycles", total, "trajectories") as counter:
        for i, (case, reference) in enumerate(zip(cases, references, strict=True)):
            scene = case.mesh, case.trajectory, Lighting()
            # The mesh is sent, and textures are read, only once.
            renderer.render(*scene, [0], samples=1)
            for j, count in enumerate((1, *samples)):
                started = _cpu_seconds(process)
                images = renderer.render(*scene, range(NUM_WINDOWS + 1), samples=count, seed=2)
                seconds[i, j] = _cpu_seconds(process) - started
                if j > 0:
                    alpha[i, j - 1] = compare([images[list(WINDOWS)]], [reference]).alpha.mean()
                    counter.advance()
    renderer.close()
    setup, *rest = seconds.mean(axis=0).tolist()
    errors = alpha.mean(axis=0).tolist()
    return [
        Cost(count, spent - setup, error, setup)
        for count, spent, error in zip(samples, rest, errors, strict=True)
    ]


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def ratio(cost: Cost, curve: Sequence[Cost]) -> Ratio:
    """By how many times another curve's seconds are above those of a point, at equal error.

    Between the points of the curve, the logarithm of the seconds is linear in that of the error.
    """
    by_error = sorted(curve, key=lambda point: point.alpha)
    errors = np.log([point.alpha for point in by_error])
    seconds = np.log([point.seconds for point in by_error])
    at_equal_error = float(np.exp(np.interp(np.log(cost.alpha), errors, seconds)))
    bound = ">" if cost.alpha < by_error[0].alpha else ""
    bound = "<" if cost.alpha > by_error[-1].alpha else bound
    return Ratio(at_equal_error / cost.seconds, bound)
