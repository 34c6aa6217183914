"""The renderers against Cycles' own motion blur: how close they come, and what that costs.

    python benchmarks/renderers.py                              built-in objects
    python benchmarks/renderers.py --meshes DIR --out FILE.md --picture A.jpg --plot B.png
    python benchmarks/renderers.py --objects 3 --trajectories 1 --samples 32 --noise-samples 16
        --timed 1 --cycles-samples 4 16                         a first look

Cycles needs `make cycles`, and gl a driver for OpenGL through EGL; what is missing is left out,
and said. Without Cycles, the rasteriser with very small steps takes its place as the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.renderer_costs import beside, cycles_curve, raster_curve
from benchmarks.renderer_errors import (
    WINDOWS,
    Case,
    choose_cases,
    compare,
    images_of,
    render_references,
)
from benchmarks.renderer_figures import Row, draw_curves, draw_picture
from benchmarks.report import Table, machine, save, size_text
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.common.record import Count, check
from bridge.simulator import Backgrounds, Renderer, make_renderer
from bridge.simulator.renderers.cycles import CyclesRenderer
from bridge.simulator.renderers.gl import GLCanvas
from pipelines.stages.synthesis_options import SynthesizeConfig, all_objects, open_backgrounds

DEFAULT_STEP = 1.0
"""Sub-frame step of a dataset whose maker does not choose one."""

REFERENCE_STEP = 0.1
"""Sub-frame step of the reference where Cycles is missing."""

PICTURED = 3
ALPHA_TARGET = 0.006
TARGETS = {
    "renderer": "target",
    "alpha": {"mean": ALPHA_TARGET},
    "severity": {"mean": 0.006},
    "colour": {"mean": 0.02},
}

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
COSTS = {
    "raster": Table(
        "raster, step in px | opacity error | CPU s | cheaper than cycles at equal error",
        "{setting:g} | {alpha:.4f} | {seconds:.3f} | {cheaper}",
    ),
    "cycles": Table(
        "cycles, samples | opacity error | CPU s | left out: the scene's set-up, s",
        "{setting:g} | {alpha:.4f} | {seconds:.2f} | {setup:.2f}",
    ),
}


@dataclass(frozen=True)
class Config:
    """What is compared."""

    meshes: str | None = None
    """Folder of a mesh collection; built-in objects by default."""
    backgrounds: str | None = None
    """Folder of photos for the picture; generated backgrounds by default."""
    objects: Count = 12
    """Number of objects, from as many categories as possible."""
    trajectories: Count = 2
    """Motions of each object."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width in pixels."""
    samples: Count = 512
    """Samples per pixel of the reference."""
    noise_samples: Count = 256
    """Samples of Cycles against itself (with another seed) and of its images with shadows."""
    timed: Count = 4
    """Number of motions on which error is measured against cost."""
    steps: tuple[float, ...] = (4, 2, 1.4, 1, 0.7, 0.5)
    """Sub-frame steps of the rasteriser whose cost is measured."""
    cycles_samples: tuple[int, ...] = (16, 64, 256)
    """Samples per pixel of Cycles whose cost is measured."""
    processes: Count = 2
    """Processes of Blender, on a core each, that render what is not timed."""
    seed: int = 0
    """Of the choice of objects and motions."""
    out: Path | None = None
    """Markdown file for the tables; the figures go beside it as JSON."""
    picture: Path | None = None
    """File for three objects by all renderers; best a .jpg."""
    plot: Path | None = None
    """File for the plot of error against cost; best a .png."""

    def __post_init__(self) -> None:
        check(self)
        if not self.steps or min(self.steps) <= 0:
            raise InputError("`steps` must be one or more numbers above 0.")
        # The cost of one sample is taken away from that of the others.
        if not self.cycles_samples or min(self.cycles_samples) < 2:
            raise InputError("`cycles_samples` must be one or more numbers above 1.")
        for file in (self.picture, self.plot):
            if file is not None and file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
                raise InputError(f"{file} must end in .png or .jpg.")


def run(config: Config) -> dict[str, Any]:
    """Measure, print, and write what the options ask for; the figures."""
    source = SynthesizeConfig(
        meshes=config.meshes, backgrounds=config.backgrounds, seed=config.seed
    )
    renderers, notes = open_renderers(config.image_size)
    size, trajectories = config.image_size, config.trajectories
    cases = choose_cases(all_objects(source), config.objects, trajectories, size, config.seed)
    missing = why_no_cycles()
    if missing is None:
        reference = f"Cycles' own motion blur with {config.samples:,} samples per pixel"
        references = render_references(
            cases, size, config.samples, config.noise_samples, config.processes
        )
        images = [each.images for each in references]
    else:
        notes.append(f"Cycles was left out. {missing}")
        reference = f"the rasteriser with a step of {REFERENCE_STEP} px, in the place of Cycles"
        finest = make_renderer("raster", size, REFERENCE_STEP)
        references, images = [], _draw("reference", finest, cases)
    drawn = {name: _draw(name, renderer, cases) for name, renderer in renderers.items()}
    again = f"cycles, {config.noise_samples:,} samples, another seed"
    every = drawn | ({again: [each.noisy for each in references]} if references else {})
    shaded = [each.shaded for each in references]
    timed = min(config.timed, len(cases))
    curves = {"raster": raster_curve(cases[:timed], images[:timed], size, config.steps)}
    if references:
        cycles = cycles_curve(cases[:timed], images[:timed], size, config.cycles_samples)
        curves = {"raster": [beside(cost, cycles) for cost in curves["raster"]], "cycles": cycles}
    figures = {
        "reference": reference,
        "image_size": size,
        "motions": [case.object_id for case in cases],
        "timed_motions": timed,
        "notes": notes,
        "windows": WINDOWS,
        "targets": TARGETS,
        "errors": {name: compare(layers, images, shaded) for name, layers in every.items()},
        "curves": curves,
    }
    save(config.out, report(figures), figures)
    if config.picture is not None:
        shown = drawn | ({"cycles": images} if references else {})
        rows = _rows(config, cases, shown, images, open_backgrounds(source))
        draw_picture(rows, config.picture)
    if config.plot is not None:
        draw_curves(curves, ALPHA_TARGET, config.plot)
    return figures


def report(figures: Mapping[str, Any]) -> list[str]:
    """All tables, with what they show."""
    motions, errors = figures["motions"], figures["errors"]
    by_window = [
        {"renderer": name} | row for name, found in errors.items() for row in found.by_window()
    ]
    colours = [{"renderer": name} | found.of_colour() for name, found in errors.items()]
    return [
        "# Renderers",
        f"{machine()}. {len(motions)} motions of {len(set(motions))} objects at "
        f"{size_text(figures['image_size'])}. The reference is {figures['reference']}. Errors are "
        "means over object pixels.",
        *figures["notes"],
        "## Opacity and blur severity",
        ERRORS.text([*by_window, TARGETS]),
        "## Colour of the sharp image",
        COLOURS.text([*colours, TARGETS]),
        "## Error and cost",
        f"Measured on {figures['timed_motions']} of the motions, in one thread: CPU seconds for "
        "the eleven images of a trajectory. The opacity error is the mean over the same exposures "
        "as above; the noise of the reference is in it.",
        *(COSTS[name].text(map(vars, curve)) for name, curve in figures["curves"].items()),
    ]


def open_renderers(image_size: tuple[int, int]) -> tuple[dict[str, Renderer], list[str]]:
    """Those that draw sub-frames, by name, and a sentence on gl's device or what it lacks."""
    renderers = {"raster": make_renderer("raster", image_size, DEFAULT_STEP)}
    try:
        renderers["gl"] = make_renderer("gl", image_size, DEFAULT_STEP)
    except InputError as error:
        return renderers, [f"gl was left out. {error}"]
    return renderers, [f"gl draws on {GLCanvas(image_size).describe()}."]


def why_no_cycles() -> str | None:
    """What Cycles lacks; None where it can be used."""
    try:
        CyclesRenderer((16, 16)).close()
    except InputError as error:
        return str(error)
    return None


def _draw(name: str, renderer: Renderer, cases: Sequence[Case]) -> list[np.ndarray]:
    images = []
    with progress(name, len(cases), "motions") as counter:
        for case in cases:
            images.append(images_of(renderer, case))
            counter.advance()
    return images


def _rows(
    config: Config,
    cases: Sequence[Case],
    shown: Mapping[str, list[np.ndarray]],
    images: Sequence[np.ndarray],
    backgrounds: Backgrounds,
) -> list[Row]:
    """The picture: some of the objects, on a background each."""
    rng = np.random.default_rng(config.seed)
    return [
        Row(
            cases[i].object_id,
            {name: layers[i] for name, layers in shown.items()},
            backgrounds.sample(rng, config.image_size).pixels,
        )
        for i in most_colourful(images[: config.objects], PICTURED)
    ]


def most_colourful(images: Sequence[np.ndarray], number: int) -> list[int]:
    """Which of the images [windows, H, W, 4] have the most varied colours when sharp, in order."""
    sharp = [layers[0][layers[0][..., 3] > 0.99][:, :3] for layers in images]
    variety = [float(pixels.std(axis=0).mean()) if len(pixels) else 0.0 for pixels in sharp]
    return sorted(np.argsort(variety)[::-1][:number].tolist())


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
