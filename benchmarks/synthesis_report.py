"""What synthesis costs, as Markdown and as figures for JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.synthesis_stages import ObjectCost
from benchmarks.synthesis_workers import Workers
from benchmarks.tables import machine, table
from bridge.blur import NUM_WINDOWS
from pipelines.stages.synthesis_options import PRESETS, SynthesizeConfig

MEMORY_TARGET = 600e6
SPEEDUP_TARGET = 1.9
IMAGES = NUM_WINDOWS + 1
"""Images of a trajectory."""


@dataclass(frozen=True)
class Results:
    """What was measured.

    Attributes:
        image_size: (H, W) in pixels.
        costs: of one trajectory of each object.
        storing: CPU seconds to write all their images as a shard.
        workers: one process and two with small shards, and one with shards of the usual size.
    """

    image_size: tuple[int, int]
    costs: Sequence[ObjectCost]
    storing: float
    workers: Sequence[Workers]

    @property
    def images(self) -> int:
        """Images that were delivered."""
        return sum(len(cost.rows) for cost in self.costs)

    def stages(self) -> dict[str, float]:
        """CPU milliseconds per delivered image by stage; what was lost is paid by the others."""
        names = self.costs[0].stages
        sums = {name: sum(cost.stages[name] for cost in self.costs) for name in names}
        sums["Parquet"] = self.storing
        return {name: 1000 * seconds / self.images for name, seconds in sums.items()}

    def total(self) -> float:
        """CPU milliseconds per delivered image, without opening meshes."""
        return sum(self.stages().values())

    def median(self) -> float:
        """The same for the median object that delivered any."""
        each = [1000 * cost.seconds / len(cost.rows) for cost in self.costs if cost.rows]
        return statistics.median(each) + self.stages()["Parquet"]

    def opening(self) -> list[float]:
        """CPU milliseconds to open each mesh."""
        return [1000 * cost.opening for cost in self.costs]

    def speedup(self) -> float:
        """Images per second of two processes in units of those of one."""
        one, two, _ = self.workers
        return one.seconds / two.seconds

    def core_hours(self, preset: SynthesizeConfig) -> float:
        """What a preset costs at this size of images, opening its meshes included.

        A mesh is opened to be checked, and by each shard that shows it; distractors have a
        background for each image, others one for each trajectory.
        """
        objects, images = preset_size(preset)
        trajectories = images / IMAGES
        openings = 2 * objects + trajectories / preset.trajectories_per_shard
        stages = self.stages()
        if preset.simulator.background_per_image:
            stages["background"] *= IMAGES
        milliseconds = images * sum(stages.values())
        milliseconds += openings * statistics.mean(self.opening())
        return milliseconds / 1000 / 3600


def preset_size(preset: SynthesizeConfig) -> tuple[int, int]:
    """Objects and images of a preset that says how many categories it has."""
    assert preset.categories is not None and preset.objects_per_category is not None
    objects = preset.categories * preset.objects_per_category
    return objects, objects * preset.trajectories * IMAGES


def markdown(results: Results) -> str:
    """All tables, with what they show."""
    height, width = results.image_size
    kept = sum(bool(cost.rows) for cost in results.costs)
    parts = [
        "# Synthesis",
        f"{machine()}. One trajectory of each of {len(results.costs)} objects at {height}x{width}, "
        f"of which {kept} passed the filter: {results.images:,} images. Renderer raster.",
        "## Cost of an image",
        _stage_table(results),
        _notes(results),
        "## The paper's data",
        _paper_table(results),
        "## Workers",
        _worker_table(results),
    ]
    return "\n\n".join(parts)


def _stage_table(results: Results) -> str:
    total = results.total()
    rows: list[Sequence[object]] = [
        (name, f"{value:.2f}", f"{value / total:.0%}") for name, value in results.stages().items()
    ]
    rows.append(("total", f"{total:.2f}", "100%"))
    rows.append(("total, median object", f"{results.median():.2f}", ""))
    return table(("stage", "CPU ms per image", "share"), rows)


def _notes(results: Results) -> str:
    opening, stages, total = results.opening(), results.stages(), results.total()
    floor = stages["JPEG"] + stages["Parquet"]
    drawing = sum(cost.stages["render and average"] for cost in results.costs)
    samples = sum(cost.samples for cost in results.costs)
    subframes = [cost.subframes for cost in results.costs if cost.rows]
    return (
        f"{1000 / total:,.1f} images/s on one core. Besides, opening a mesh takes "
        f"{statistics.mean(opening):.0f} ms (median {statistics.median(opening):.0f} ms), once for "
        f"all of a shard's trajectories of the object.\n\n"
        f"To encode and store images that are ready costs {floor:.2f} ms: the whole is "
        f"{total / floor:.1f} times this floor. A trajectory has {statistics.mean(subframes):.0f} "
        f"sub-frames (median {statistics.median(subframes):.0f}); drawing and averaging them take "
        f"{1e9 * drawing / samples:.1f} ns per sample that shows the object."
    )


def _paper_table(results: Results) -> str:
    rows: list[Sequence[object]] = []
    sums = [0.0, 0.0]
    for kind, presets in PRESETS.items():
        preset = presets["paper"]
        images, hours = preset_size(preset)[1], results.core_hours(preset)
        rows.append((kind, f"{images:,}", f"{hours:.1f}"))
        sums = [sums[0] + images, sums[1] + hours]
    rows.append(("together", f"{sums[0]:,.0f}", f"{sums[1]:.1f}"))
    return table(("preset paper", "images", "core-hours, meshes opened"), rows)


def _worker_table(results: Results) -> str:
    rows: list[Sequence[object]] = []
    for workers in results.workers:
        peak = "unknown" if workers.peak_bytes is None else f"{workers.peak_bytes / 1e6:.0f} MB"
        rate = f"{workers.images / workers.seconds:,.1f}"
        size = f"{workers.trajectories} trajectories"
        rows.append((workers.processes, size, f"{workers.seconds:.1f} s", rate, peak))
    rows.append(("target", "", "", "", f"{MEMORY_TARGET / 1e6:.0f} MB"))
    header = ("processes", "shards of", "time", "images/s", "peak memory of a process")
    ratio = (
        f"Two processes make {results.speedup():.2f} times the images of one per second, target "
        f"{SPEEDUP_TARGET}; the first two rows are of the same shards."
    )
    return f"{table(header, rows)}\n\n{ratio}"


def figures(results: Results) -> dict[str, Any]:
    """Everything that was measured, for JSON."""
    return {
        "image_size": results.image_size,
        "images": results.images,
        "ms_per_image": results.stages(),
        "total_ms_per_image": results.total(),
        "median_total_ms_per_image": results.median(),
        "opening_ms": results.opening(),
        "core_hours": {
            kind: results.core_hours(presets["paper"]) for kind, presets in PRESETS.items()
        },
        "workers": [asdict(workers) for workers in results.workers],
        "speedup": results.speedup(),
        "targets": {"peak_bytes": MEMORY_TARGET, "speedup": SPEEDUP_TARGET},
        "objects": [
            {
                "object_id": cost.object_id,
                "opening_seconds": cost.opening,
                "stage_seconds": cost.stages,
                "images": len(cost.rows),
                "subframes": cost.subframes,
                "samples": cost.samples,
            }
            for cost in results.costs
        ],
    }
