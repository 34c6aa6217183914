"""How far the images of a renderer are from Cycles' own motion blur, over moving objects."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.report import one_core
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
        shaded: [cases], the same where the reference has shadows; None without such references.
    """

    alpha: np.ndarray
    severity: np.ndarray
    colour: np.ndarray
    shaded: np.ndarray | None = None

    def by_window(self) -> list[dict[str, Any]]:
        """Means over the cases, and the worst of them, of each exposure."""
        return [
            {
                "exposure": exposure_name(window),
                "alpha": mean_and_worst(self.alpha[:, place]),
                "severity": mean_and_worst(self.severity[:, place]),
            }
            for place, window in enumerate(WINDOWS)
        ]

    def of_colour(self) -> dict[str, Any]:
        """The same of the sharp image's colour, against references without and with shadows."""
        shaded = None if self.shaded is None else mean_and_worst(self.shaded)
        return {"colour": mean_and_worst(self.colour), "shaded": shaded}


def mean_and_worst(errors: np.ndarray) -> dict[str, float]:
    """Of signed or absolute errors."""
    return {"mean": float(errors.mean()), "worst": float(np.abs(errors).max())}


def exposure_name(window: int) -> str:
    """For tables and pictures."""
    return "sharp" if window == 0 else f"exposure {window}"


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


def compare(
    images: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    shaded: Sequence[np.ndarray] = (),
) -> Comparison:
    """Errors of the images of each case, all [len(WINDOWS), H, W, 4]; `shaded` are the sharp ones
    with shadows, [1, H, W, 4]."""
    with_shadows = [colour_error(a[0], b[0]) for a, b in zip(images, shaded, strict=False)]
    pairs = [list(zip(*each, strict=True)) for each in zip(images, references, strict=True)]
    return Comparison(
        alpha=np.array([[alpha_error(a, b) for a, b in windows] for windows in pairs]),
        severity=np.array([[_severity(a) - _severity(b) for a, b in windows] for windows in pairs]),
        colour=np.array([colour_error(*windows[0]) for windows in pairs]),
        shaded=np.array(with_shadows) if with_shadows else None,
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
) -> list[Reference]:
    """The references of all cases, so many processes of Blender at once, on a core each."""

    def render(number: int) -> list[Reference]:
        with one_core(number):
            plain, shading = CyclesRenderer(image_size), CyclesRenderer(image_size, shadows=True)
        found = []
        with closing(plain), closing(shading):
            for case in cases[number::processes]:
                scene = case.mesh, case.trajectory, Lighting()
                images = plain.render(*scene, WINDOWS, samples=samples, seed=0)
                noisy = plain.render(*scene, WINDOWS, samples=noise_samples, seed=1)
                shaded = shading.render(*scene, [0], samples=noise_samples, seed=0)
                found.append(Reference(images, noisy, shaded))
                counter.advance()
        return found

    with progress("references", len(cases), "motions") as counter, ThreadPoolExecutor() as pool:
        parts = list(pool.map(render, range(processes)))
    return [parts[number % processes][number // processes] for number in range(len(cases))]
