"""The renderers against Cycles' own motion blur: how close they come, and what that costs.

    python benchmarks/renderers.py                              built-in objects
    python benchmarks/renderers.py --meshes DIR --out FILE.md --picture A.jpg --plot B.png
    python benchmarks/renderers.py --objects 3 --trajectories 1 --samples 32 --noise-samples 16
        --timed 1 --cycles-samples 4 16                         a first look

Cycles needs `make cycles`, and gl a driver for OpenGL through EGL; what is missing is left out,
and said. Without Cycles, the rasteriser with very small steps takes its place as the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.renderer_figures import draw_curves, draw_picture, exposure_name
from benchmarks.renderer_measures import WINDOWS, Errors, choose_cases, compare, cost_curve, draw
from benchmarks.report import Table, fill, machine, save
from benchmarks.scenes import SceneOptions
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.record import Count, Positive
from bridge.simulator import Renderer, make_renderer
from bridge.simulator.renderers.cycles import CyclesRenderer
from bridge.simulator.renderers.gl import GLCanvas
from pipelines.stages.synthesis_inputs import all_objects, open_backgrounds

DEFAULT_STEP = 1.0
"""Sub-frame step of a dataset whose maker does not choose one."""

REFERENCE_STEP = 0.1
"""Sub-frame step of the reference where Cycles is missing."""

PICTURED = 3

ERRORS = Table(
    "renderer | exposure | opacity error | worst | BS error | largest",
    "{renderer} | {exposure} | {alpha[mean]:.4f} | {alpha[worst]:.4f} | {severity[mean]:+.4f} "
    "| {severity[worst]:.4f}",
)
COLOURS = Table(
    "renderer | RGB error | worst | with shadows in the reference | worst",
    "{renderer} | {colour[mean]:.4f} | {colour[worst]:.4f} | {shaded[mean]:.4f} "
    "| {shaded[worst]:.4f}",
)
COSTS = Table(
    "renderer | setting | opacity error | CPU s",
    "{renderer} | {setting:g} | {alpha:.4f} | {seconds:.3f}",
)
REPEATS = {"raster": 3, "cycles": 1}

Curve = tuple[Callable[[Any], Renderer], Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Config(SceneOptions):
    """What is compared."""

    objects: Count = 12
    """Number of objects, from as many categories as possible."""
    trajectories: Count = 2
    """Motions of each object."""
    samples: Count = 512
    """Samples per pixel of the reference."""
    noise_samples: Count = 256
    """Samples of Cycles against itself (with another seed) and of its images with shadows."""
    timed: Count = 4
    """Number of motions on which error is measured against cost."""
    steps: tuple[Positive, ...] = (4, 2, 1.4, 1, 0.7, 0.5)
    """Sub-frame steps of the rasteriser whose cost is measured."""
    cycles_samples: tuple[Count, ...] = (16, 64, 256)
    """Samples per pixel of Cycles whose cost is measured."""
    processes: Count = 2
    """Processes of Blender, on a core each, that render what is not timed."""
    picture: Path | None = None
    """File for three objects by all renderers; best a .jpg."""
    plot: Path | None = None
    """File for the plot of error against cost; best a .png."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for file in (self.picture, self.plot):
            if file is not None and file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
                raise InputError(f"{file} must end in .png or .jpg.")


def run(config: Config) -> dict[str, Any]:
    """Measure, print, and write what the options ask for; the figures."""
    size, few, cores = config.image_size, config.noise_samples, config.processes
    cases = choose_cases(
        all_objects(config.source), config.objects, config.trajectories, size, config.seed
    )
    raster, cycles = partial(make_renderer, "raster", size), partial(CyclesRenderer, size)
    drawn = {"raster": draw("raster", partial(raster, DEFAULT_STEP), cases)}
    curves: dict[str, Curve] = {"raster": (raster, config.steps)}
    notes = []
    if missing := problem(partial(GLCanvas, size)):
        notes.append(f"gl was left out. {missing}")
    else:
        notes.append(f"gl draws on {GLCanvas(size).describe()}.")
        drawn["gl"] = draw("gl", partial(make_renderer, "gl", size, DEFAULT_STEP), cases)
    shown, shaded = dict(drawn), []
    if missing := problem(cycles):
        notes.append(f"Cycles was left out. {missing}")
        reference = f"the rasteriser with a step of {REFERENCE_STEP} px, in the place of Cycles"
        images = draw("reference", partial(raster, REFERENCE_STEP), cases)
    else:
        reference = f"Cycles' own motion blur with {config.samples:,} samples per pixel"
        images = shown["cycles"] = draw("cycles", partial(cycles, config.samples), cases, cores)
        again = f"cycles, {few:,} samples, another seed"
        drawn[again] = draw(again, partial(cycles, few, seed=1), cases, cores)
        shaded = draw("shadows", partial(cycles, few, shadows=True), cases, cores)
        # One sample is what the set-up of the scene costs.
        curves["cycles"] = partial(cycles, seed=2), (1, *config.cycles_samples)
    timed = slice(config.timed)
    figures: dict[str, Any] = {
        "reference": reference,
        "image_size": size,
        "motions": [case.object_id for case in cases],
        "timed_motions": len(cases[timed]),
        "notes": notes,
        "windows": WINDOWS,
        "errors": {name: compare(layers, images, shaded) for name, layers in drawn.items()},
        "curves": {
            name: cost_curve(make, settings, cases[timed], images[timed], REPEATS[name])
            for name, (make, settings) in curves.items()
        },
    }
    save(config.out, report(figures), figures)
    if config.picture is not None:
        rng, backgrounds = np.random.default_rng(config.seed), open_backgrounds(config.source)
        photos = [backgrounds.sample(rng, size).pixels for _ in cases[:PICTURED]]
        draw_picture(figures["motions"][:PICTURED], shown, photos, config.picture)
    if config.plot is not None:
        draw_curves(figures["curves"], config.plot)
    return figures


def report(figures: Mapping[str, Any]) -> list[str]:
    """All tables, with what they show."""
    motions, errors = figures["motions"], figures["errors"]
    by_window = [
        {"renderer": name, "exposure": exposure_name(window)} | means(found, place)
        for name, found in errors.items()
        for place, window in enumerate(WINDOWS)
    ]
    colours = [{"renderer": name} | means(found) for name, found in errors.items()]
    costs = [
        {"renderer": name} | point for name, curve in figures["curves"].items() for point in curve
    ]
    return [
        "# Renderers",
        f"{machine()}. {len(motions)} motions of {len(set(motions))} objects at "
        + fill(
            "{image_size}. The reference is {reference}. Errors are means over object pixels.",
            figures,
        ),
        *figures["notes"],
        "## Opacity and blur severity",
        ERRORS.text(by_window),
        "## Colour of the sharp image",
        COLOURS.text(colours),
        "## Error and cost",
        f"Measured on {figures['timed_motions']} of the motions, in one thread: CPU seconds for "
        "the eleven images of a trajectory. The opacity error is the mean over the same exposures "
        "as above; the noise of the reference is in it. Settings are the step of raster in pixels "
        "and the samples of Cycles, whose first one is what the set-up of the scene costs.",
        COSTS.text(costs),
    ]


def means(errors: Errors, place: int = 0) -> dict[str, dict[str, float]]:
    """Mean and worst over the cases of each error, of one of the exposures where it has them."""
    columns = {k: v[:, place] if v.ndim > 1 else v for k, v in errors.items()}
    return {k: {"mean": v.mean(), "worst": np.abs(v).max()} for k, v in columns.items()}


def problem(make: Callable[[], object]) -> str | None:
    """Why a renderer cannot be made here; None where it can."""
    try:
        make()
    except InputError as error:
        return str(error)
    return None


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
