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

import numpy as np

from benchmarks.fidelity import (
    Case,
    Reference,
    choose_cases,
    colour_error,
    compare,
    images_of,
    render_references,
)
from benchmarks.renderer_costs import cycles_curve, raster_curve
from benchmarks.renderer_figures import Row, draw_curves, draw_picture, save_figure, save_picture
from benchmarks.renderer_report import ALPHA_TARGET, DEFAULT_STEP, Results, figures, markdown
from benchmarks.tables import save
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.progress import progress
from bridge.simulator import (
    Backgrounds,
    PhotoBackgrounds,
    ProceduralBackgrounds,
    Renderer,
    make_renderer,
    procedural_objects,
    scan_meshes,
)
from bridge.simulator.objects.procedural import FAMILIES
from bridge.simulator.renderers.cycles import CyclesRenderer
from bridge.simulator.renderers.gl import GLCanvas

REFERENCE_STEP = 0.1
"""Sub-frame step of the reference where Cycles is missing."""

PICTURED = 3


@dataclass(frozen=True)
class Config:
    """What is compared."""

    meshes: str | None = None
    """Folder of a mesh collection; built-in objects by default."""
    backgrounds: str | None = None
    """Folder of photos for the picture; generated backgrounds by default."""
    objects: int = 12
    """Number of objects, from as many categories as possible."""
    trajectories: int = 2
    """Motions of each object."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width in pixels."""
    samples: int = 512
    """Samples per pixel of the reference."""
    noise_samples: int = 256
    """Samples of Cycles against itself (with another seed) and of its images with shadows."""
    timed: int = 4
    """Number of motions on which error is measured against cost."""
    steps: tuple[float, ...] = (4, 2, 1.4, 1, 0.7, 0.5)
    """Sub-frame steps of the rasteriser whose cost is measured."""
    cycles_samples: tuple[int, ...] = (16, 64, 256)
    """Samples per pixel of Cycles whose cost is measured."""
    processes: int = 2
    """Processes of Blender, on a core each, that render what is not timed."""
    seed: int = 0
    """Of the choice of objects and motions."""
    out: Path | None = None
    """Markdown file for the tables; the figures go beside it as JSON."""
    picture: Path | None = None
    """File for three objects by all renderers; best a .jpg."""
    plot: Path | None = None
    """File for the plot of error against cost; best a .png."""


def run(config: Config) -> Results:
    """Measure, print, and write what the options ask for."""
    _check(config)
    backgrounds = _open_backgrounds(config.backgrounds)
    renderers, notes = open_renderers(config.image_size)
    cases = _cases(config)
    missing = why_no_cycles()
    if missing is None:
        reference = f"Cycles' own motion blur with {config.samples:,} samples per pixel"
        references = _render_references(config, cases)
        images = [each.images for each in references]
    else:
        notes.append(f"Cycles was left out. {missing}")
        reference = f"the rasteriser with a step of {REFERENCE_STEP} px, in the place of Cycles"
        finest = make_renderer("raster", config.image_size, REFERENCE_STEP)
        references, images = [], _draw("reference", finest, cases)
    drawn = {name: _draw(name, renderer, cases) for name, renderer in renderers.items()}
    names = [case.object_id for case in cases]
    results = Results(reference, names, config.image_size, min(config.timed, len(cases)))
    results.notes += notes
    _compare(config, results, drawn, images, references)
    _measure_costs(config, results, cases, images)
    save(config.out, markdown(results), figures(results))
    if config.picture is not None:
        shown = drawn | ({"cycles": images} if references else {})
        rows = _rows(config, names, shown, images, backgrounds)
        save_picture(draw_picture(rows), config.picture)
    if config.plot is not None:
        save_figure(draw_curves(results.curves, ALPHA_TARGET), config.plot)
    return results


def _check(config: Config) -> None:
    for name in ("objects", "trajectories", "samples", "noise_samples", "timed", "processes"):
        if getattr(config, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1.")
    if not config.steps or min(config.steps) <= 0:
        raise InputError("--steps must be one or more numbers above 0.")
    for file in (config.picture, config.plot):
        if file is not None and file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise InputError(f"{file} must end in .png or .jpg.")
    # The cost of one sample is taken away from that of the others.
    if not config.cycles_samples or min(config.cycles_samples) < 2:
        raise InputError("--cycles-samples must be one or more numbers above 1.")


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


def _cases(config: Config) -> list[Case]:
    per_category = -(-config.objects // len(FAMILIES)) + 1
    entries = (
        scan_meshes(config.meshes)
        if config.meshes
        else procedural_objects(per_category, config.seed)
    )
    size, seed = config.image_size, config.seed
    return choose_cases(entries, config.objects, config.trajectories, size, seed)


def _open_backgrounds(folder: str | None) -> Backgrounds:
    return ProceduralBackgrounds() if folder is None else PhotoBackgrounds(folder, "dataset")


def _render_references(config: Config, cases: Sequence[Case]) -> list[Reference]:
    samples, noise_samples = config.samples, config.noise_samples
    return list(
        render_references(cases, config.image_size, samples, noise_samples, config.processes)
    )


def _draw(name: str, renderer: Renderer, cases: Sequence[Case]) -> list[np.ndarray]:
    images = []
    with progress(name, len(cases), "motions") as counter:
        for case in cases:
            images.append(images_of(renderer, case))
            counter.advance()
    return images


def _compare(
    config: Config,
    results: Results,
    drawn: Mapping[str, list[np.ndarray]],
    images: Sequence[np.ndarray],
    references: Sequence[Reference],
) -> None:
    """Fill in the errors of all renderers, and with Cycles there also its own and its shadows'."""
    every = dict(drawn)
    if references:
        name = f"cycles, {config.noise_samples:,} samples, another seed"
        every[name] = [each.noisy for each in references]
    for name, layers in every.items():
        results.compared[name] = compare(layers, images)
        if references:
            results.shaded[name] = _against_shadows(layers, references)


def _measure_costs(
    config: Config, results: Results, cases: Sequence[Case], images: Sequence[np.ndarray]
) -> None:
    """Fill in the curves; that of Cycles where it was the reference."""
    measured = (cases[: results.timed], images[: results.timed], config.image_size)
    results.curves["raster"] = raster_curve(*measured, config.steps)
    if results.shaded:
        results.curves["cycles"] = cycles_curve(*measured, config.cycles_samples)


def _against_shadows(drawn: Sequence[np.ndarray], references: Sequence[Reference]) -> np.ndarray:
    """Errors [cases] of the colour of the sharp image, where the reference has shadows."""
    pairs = zip(drawn, references, strict=True)
    return np.array([colour_error(layers[0], each.shaded[0]) for layers, each in pairs])


def _rows(
    config: Config,
    names: Sequence[str],
    shown: Mapping[str, list[np.ndarray]],
    images: Sequence[np.ndarray],
    backgrounds: Backgrounds,
) -> list[Row]:
    """The picture: some of the objects, on a background each."""
    rng = np.random.default_rng(config.seed)
    return [
        Row(
            names[i],
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
