"""What the comparison of renderers measured, as Markdown and as figures for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.fidelity import WINDOWS, Comparison
from benchmarks.renderer_costs import Cost, Ratio, ratio
from benchmarks.tables import machine, table

ALPHA_TARGET = 0.006
SEVERITY_TARGET = 0.006
COLOUR_TARGET = 0.02
DEFAULT_STEP = 1.0
"""Sub-frame step of a dataset whose maker does not choose one."""


@dataclass
class Results:
    """What was measured.

    Attributes:
        reference: what the renderers are compared with.
        objects: ids of the objects, one for each motion.
        image_size: (H, W) in pixels.
        compared: errors against the reference, by renderer.
        shaded: errors of the sharp image's colour against Cycles with shadows, by renderer.
        curves: error and cost of "raster" and "cycles".
        timed: number of motions behind the curves.
        notes: sentences on devices and on what was left out.
    """

    reference: str
    objects: Sequence[str]
    image_size: tuple[int, int]
    timed: int
    compared: dict[str, Comparison] = field(default_factory=dict)
    shaded: dict[str, np.ndarray] = field(default_factory=dict)
    curves: dict[str, list[Cost]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def ratios(self) -> list[Ratio]:
        """How many times cheaper than Cycles each point of the raster's curve is, if measured."""
        if "cycles" not in self.curves:
            return []
        return [ratio(cost, self.curves["cycles"]) for cost in self.curves["raster"]]


def markdown(results: Results) -> str:
    """All tables, with what they show."""
    height, width = results.image_size
    num_objects = len(set(results.objects))
    parts = [
        "# Renderers",
        f"{machine()}. {len(results.objects)} motions of {num_objects} objects at {height}x{width}."
        f" The reference is {results.reference}. Errors are means over object pixels.",
        *results.notes,
        "## Opacity and blur severity",
        _errors(results),
        "## Colour of the sharp image",
        _colours(results),
        "## Error and cost",
        f"Measured on {results.timed} of the motions, in one thread: CPU seconds for the eleven "
        "images of a trajectory. The opacity error is the mean over the same exposures as above.",
        _raster_costs(results),
    ]
    if "cycles" in results.curves:
        parts += [_cycles_costs(results), _conclusion(results)]
    return "\n\n".join(parts)


def _errors(results: Results) -> str:
    rows: list[Sequence[object]] = []
    for name, errors in results.compared.items():
        for index, window in enumerate(WINDOWS):
            alpha, severity = errors.alpha[:, index], errors.severity[:, index]
            rows.append(
                (
                    name,
                    "sharp" if window == 0 else window,
                    f"{alpha.mean():.4f}",
                    f"{alpha.max():.4f}",
                    f"{severity.mean():+.4f}",
                    f"{np.abs(severity).max():.4f}",
                )
            )
    rows.append(("target", "", ALPHA_TARGET, "", f"±{SEVERITY_TARGET}", ""))
    header = ("renderer", "exposure", "opacity error", "worst", "BS error", "largest")
    return table(header, rows)


def _colours(results: Results) -> str:
    rows: list[Sequence[object]] = []
    for name, errors in results.compared.items():
        row = [name, f"{errors.colour.mean():.4f}", f"{errors.colour.max():.4f}"]
        if results.shaded:
            shaded = results.shaded[name]
            row += [f"{shaded.mean():.4f}", f"{shaded.max():.4f}"]
        rows.append(row)
    header = ["renderer", "RGB error", "worst"]
    header += ["with shadows in the reference", "worst"] if results.shaded else []
    rows.append(("target", COLOUR_TARGET, *[""] * (len(header) - 2)))
    return table(header, rows)


def _raster_costs(results: Results) -> str:
    curve, ratios = results.curves["raster"], results.ratios()
    rows: list[list[object]] = [
        [f"{point.setting:g} px", f"{point.alpha:.4f}", f"{1000 * point.seconds:.0f} ms"]
        for point in curve
    ]
    header = ["raster, step", "opacity error", "CPU"]
    if ratios:
        header.append("cheaper than cycles at equal error")
        for row, each in zip(rows, ratios, strict=True):
            row.append(f"{each.bound}{each.times:,.0f} x")
    return table(header, rows)


def _cycles_costs(results: Results) -> str:
    rows = [
        (f"{point.setting:g}", f"{point.alpha:.4f}", f"{point.seconds:.2f} s")
        for point in results.curves["cycles"]
    ]
    return table(("cycles, samples", "opacity error", "CPU"), rows)


def _conclusion(results: Results) -> str:
    """What the curves say about the step that is nearest to the default."""
    curve, cycles = results.curves["raster"], results.curves["cycles"]
    number = min(range(len(curve)), key=lambda i: abs(curve[i].setting - DEFAULT_STEP))
    point, against = curve[number], results.ratios()[number]
    how = {"": "", ">": "more than ", "<": "less than "}[against.bound]
    why = {
        "": " (log-log interpolation between sample counts)",
        ">": f", its error being below that of Cycles with any of these sample counts, of which "
        f"the best one, {min(cycles, key=lambda p: p.alpha).setting:g}, is taken for the cost",
        "<": f", its error being above that of Cycles with any of these sample counts, of which "
        f"the worst one, {max(cycles, key=lambda p: p.alpha).setting:g}, is taken for the cost",
    }[against.bound]
    return (
        f"With a step of {point.setting:g} px the rasteriser is {how}{against.times:,.0f} times "
        f"cheaper than Cycles at equal opacity error{why}. Left out of the seconds of Cycles: the "
        f"set-up of the scene, {cycles[0].setup:.2f} s per trajectory, measured as images of one "
        "sample. The noise of the reference is in the errors of both."
    )


def figures(results: Results) -> dict[str, Any]:
    """Everything that was measured, for JSON."""
    return {
        "reference": results.reference,
        "image_size": results.image_size,
        "motions": list(results.objects),
        "notes": results.notes,
        "windows": WINDOWS,
        "targets": {"alpha": ALPHA_TARGET, "severity": SEVERITY_TARGET, "colour": COLOUR_TARGET},
        "errors": {
            name: {
                "alpha": errors.alpha.tolist(),
                "severity": errors.severity.tolist(),
                "colour": errors.colour.tolist(),
            }
            for name, errors in results.compared.items()
        },
        "colour_against_shadows": {name: e.tolist() for name, e in results.shaded.items()},
        "curves": {name: [asdict(p) for p in curve] for name, curve in results.curves.items()},
        "raster_times_cheaper": [asdict(each) for each in results.ratios()],
    }
