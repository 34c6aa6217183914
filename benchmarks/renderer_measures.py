"""Images of a renderer against Cycles' own motion blur: their errors, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import psutil

from benchmarks.report import one_core
from bridge.blur import blur_severity, eight_bit
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.simulator import Mesh, MeshError, ObjectEntry, Renderer, Trajectory, sample_trajectory
from bridge.simulator.filters import stays_in_view
from bridge.simulator.renderers.cycles import CyclesRenderer
from bridge.simulator.renderers.lighting import Lighting
from bridge.synthesis.plan import spread

WINDOWS = (0, 1, 2, 5, 10)
"""Exposures that are compared: the sharp image and four blurred ones."""

ALPHA, COLOUR = slice(3, 4), slice(3)

_TRIES = 100

Images = Sequence[np.ndarray]
Errors = dict[str, np.ndarray]


class Case(NamedTuple):
    """A moving object."""

    object_id: str
    mesh: Mesh
    trajectory: Trajectory


def choose_cases(
    entries: Sequence[ObjectEntry],
    objects: int,
    trajectories: int,
    size: tuple[int, int],
    seed: int,
) -> list[Case]:
    """Motions that pass the filter, of objects from as many categories as possible.

    Every object comes once before any comes again. Objects that do not open, or hardly ever pass
    the filter, are passed over. InputError where not enough are left.
    """
    found: list[list[Case]] = []
    for number, entry in enumerate(spread(entries, seed)):
        try:
            mesh = entry.load()
        except MeshError:
            continue
        rng = np.random.default_rng([seed, number])
        drawn = (sample_trajectory(rng, mesh.extents, size) for _ in range(_TRIES))
        motions = (motion for motion in drawn if stays_in_view(mesh, motion, size))
        cases = [Case(entry.object_id, mesh, motion) for motion in islice(motions, trajectories)]
        if len(cases) == trajectories:
            found.append(cases)
        if len(found) == objects:
            return [case for cases in zip(*found, strict=True) for case in cases]
    raise InputError(f"{objects} objects were asked for, but only {len(found)} can be used.")


def draw(
    name: str, make: Callable[[], Renderer], cases: Sequence[Case], processes: int = 1
) -> list[np.ndarray]:
    """The compared exposures [len(WINDOWS), H, W, 4] of all cases, by so many renderers at once."""

    def work(number: int) -> list[np.ndarray]:
        with one_core(number):
            renderer = make()
        images = []
        for _, mesh, trajectory in cases[number::processes]:
            if isinstance(renderer, CyclesRenderer):
                images.append(renderer.render(mesh, trajectory, Lighting(), WINDOWS))
            else:
                layers = renderer.expose(mesh, trajectory, Lighting(), linear=False)
                images.append(layers[list(WINDOWS)])
            counter.advance()
        return images

    with progress(name, len(cases), "motions") as counter, ThreadPoolExecutor(processes) as pool:
        parts = list(pool.map(work, range(processes)))
    return [parts[number % processes][number // processes] for number in range(len(cases))]


def compare(images: Images, references: Images, shaded: Images = ()) -> Errors:
    """Errors of the images of each case, all [len(WINDOWS), H, W, 4].

    Returns:
        `alpha` [cases, windows], mean absolute error of the opacity over object pixels;
        `severity` [cases, windows], error of the blur severity, signed; `colour` [cases], mean
        absolute error of the premultiplied display-space RGB of the sharp image over object
        pixels; `shaded`, the same against images with shadows, where there are any.
    """
    pairs = [list(zip(*each, strict=True)) for each in zip(images, references, strict=True)]
    errors = {
        "alpha": [[mean_error(a, b, ALPHA) for a, b in windows] for windows in pairs],
        "severity": [[_severity(a) - _severity(b) for a, b in windows] for windows in pairs],
        "colour": [mean_error(*windows[0], COLOUR) for windows in pairs],
    }
    if shaded:
        with_shadows = zip(images, shaded, strict=True)
        errors["shaded"] = [mean_error(a[0], b[0], COLOUR) for a, b in with_shadows]
    return {name: np.array(values) for name, values in errors.items()}


def mean_error(image: np.ndarray, reference: np.ndarray, channels: slice) -> float:
    """Mean absolute error of some channels of [H, W, 4] where either image shows the object.

    Traces below half of 1/255 do not count, as they dilute an error and no mask has them.
    """
    shown = (eight_bit(image[..., 3]) > 0) | (eight_bit(reference[..., 3]) > 0)
    return float(np.abs(image - reference)[shown, channels].mean())


def _severity(image: np.ndarray) -> float:
    return blur_severity(eight_bit(image[..., 3]))


def cost_curve(
    make: Callable[[Any], Renderer],
    settings: Sequence[float],
    cases: Sequence[Case],
    references: Images,
    repeats: int,
) -> list[dict[str, float]]:
    """Error of the opacity against CPU seconds, on one core, of renderers made with each setting.

    The seconds are for the eleven images of a trajectory, the median of the repeats.
    """
    curve = []
    with one_core():
        for setting in settings:
            renderer = make(setting)
            clock, seconds, alpha = _cpu_clock(renderer), [], []
            for (_, mesh, trajectory), reference in zip(cases, references, strict=True):
                spent = [clock()]
                for _ in range(repeats):
                    layers = renderer.expose(mesh, trajectory, Lighting(), linear=False)
                    spent.append(clock())
                seconds.append(np.median(np.diff(spent)))
                alpha.append(compare([layers[list(WINDOWS)]], [reference])["alpha"])
            means = {"seconds": float(np.mean(seconds)), "alpha": float(np.mean(alpha))}
            curve.append({"setting": setting, **means})
    return curve


def _cpu_clock(renderer: Renderer) -> Callable[[], float]:
    """CPU seconds of the process that draws."""
    if not isinstance(renderer, CyclesRenderer):
        return time.process_time
    blender = psutil.Process(renderer.pid)
    return lambda: sum(blender.cpu_times()[:2])
