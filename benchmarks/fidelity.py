"""How far the images of a renderer are from Cycles' own motion blur, over moving objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np

from benchmarks.tables import one_core
from bridge.blur import blur_severity, eight_bit
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.simulator import Mesh, MeshError, ObjectEntry, Trajectory, sample_trajectory
from bridge.simulator.filters import stays_in_view
from bridge.simulator.renderers.cycles import CyclesRenderer
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Renderer
from bridge.synthesis.plan import spread

WINDOWS = (0, 1, 2, 5, 10)
"""Exposures that are compared: the sharp image and four blurred ones."""

_TRIES = 100


@dataclass(frozen=True, eq=False)
class Case:
    """A moving object."""

    object_id: str
    mesh: Mesh
    trajectory: Trajectory


@dataclass(frozen=True, eq=False)
class Reference:
    """What a case is compared with; each image is premultiplied RGBA in 0..1, display space.

    Attributes:
        images: [len(WINDOWS), H, W, 4].
        noisy: the same with another seed and fewer samples.
        shaded: [1, H, W, 4], the sharp image with shadows.
    """

    images: np.ndarray
    noisy: np.ndarray
    shaded: np.ndarray


@dataclass(frozen=True, eq=False)
class Comparison:
    """Errors of one renderer.

    Attributes:
        alpha: [cases, windows], mean absolute error of the opacity over object pixels.
        severity: [cases, windows], error of the blur severity, signed.
        colour: [cases], mean absolute error of the premultiplied display-space RGB of the sharp
            image over object pixels.
    """

    alpha: np.ndarray
    severity: np.ndarray
    colour: np.ndarray


def choose_cases(
    entries: Sequence[ObjectEntry],
    objects: int,
    trajectories: int,
    image_size: tuple[int, int],
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
        motions = _motions(mesh, trajectories, image_size, np.random.default_rng([seed, number]))
        if len(motions) == trajectories:
            found.append([Case(entry.object_id, mesh, motion) for motion in motions])
        if len(found) == objects:
            return [case for cases in zip(*found, strict=True) for case in cases]
    raise InputError(f"{objects} objects were asked for, but only {len(found)} can be used.")


def _motions(
    mesh: Mesh, number: int, image_size: tuple[int, int], rng: np.random.Generator
) -> list[Trajectory]:
    drawn = (sample_trajectory(rng, mesh.extents, image_size) for _ in range(_TRIES))
    kept = (motion for motion in drawn if stays_in_view(mesh, motion, image_size))
    return [motion for _, motion in zip(range(number), kept, strict=False)]


def images_of(renderer: Renderer, case: Case) -> np.ndarray:
    """The compared exposures, [len(WINDOWS), H, W, 4]."""
    layers = renderer.expose(case.mesh, case.trajectory, Lighting(), linear=False)
    return layers[list(WINDOWS)]


def compare(images: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> Comparison:
    """Errors of the images of each case, all [len(WINDOWS), H, W, 4]."""
    pairs = [list(zip(*each, strict=True)) for each in zip(images, references, strict=True)]
    return Comparison(
        alpha=np.array([[alpha_error(a, b) for a, b in windows] for windows in pairs]),
        severity=np.array([[_severity(a) - _severity(b) for a, b in windows] for windows in pairs]),
        colour=np.array([colour_error(*windows[0]) for windows in pairs]),
    )


def alpha_error(image: np.ndarray, reference: np.ndarray) -> float:
    """Mean absolute error of the opacity of [H, W, 4] over object pixels."""
    return float(np.abs(image - reference)[object_pixels(image, reference), 3].mean())


def colour_error(image: np.ndarray, reference: np.ndarray) -> float:
    """Mean absolute error of the premultiplied colour of [H, W, 4] over object pixels."""
    return float(np.abs(image - reference)[object_pixels(image, reference), :3].mean())


def object_pixels(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Where either shows the object: bool [H, W]. Traces below half of 1/255 do not count, as
    they dilute an error and no mask has them."""
    return (eight_bit(image[..., 3]) > 0) | (eight_bit(reference[..., 3]) > 0)


def _severity(image: np.ndarray) -> float:
    return blur_severity(eight_bit(image[..., 3]))


def render_references(
    cases: Sequence[Case],
    image_size: tuple[int, int],
    samples: int,
    noise_samples: int,
    processes: int,
) -> Iterator[Reference]:
    """The references of all cases in their order, so many processes of Blender at once."""
    idle: SimpleQueue[tuple[CyclesRenderer, CyclesRenderer]] = SimpleQueue()

    def render(case: Case) -> Reference:
        plain, shading = pair = idle.get()
        scene = case.mesh, case.trajectory, Lighting()
        try:
            return Reference(
                plain.render(*scene, WINDOWS, samples=samples, seed=0),
                plain.render(*scene, WINDOWS, samples=noise_samples, seed=1),
                shading.render(*scene, [0], samples=noise_samples, seed=0),
            )
        finally:
            idle.put(pair)

    with ExitStack() as stack:
        # Left last, when the others have ended its renderers' work.
        pool = ThreadPoolExecutor(processes)
        stack.callback(pool.shutdown, cancel_futures=True)
        for core in range(processes):
            with one_core(core):
                plain = stack.enter_context(closing(CyclesRenderer(image_size)))
                shading = stack.enter_context(closing(CyclesRenderer(image_size, shadows=True)))
            idle.put((plain, shading))
        counter = stack.enter_context(progress("references", len(cases), "motions"))
        for reference in pool.map(render, cases):
            counter.advance()
            yield reference
