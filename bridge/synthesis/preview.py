"""A contact sheet of simulated trajectories, as in the paper's Fig. 3: a row for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from bridge.common import contact_sheet as contact_sheets
from bridge.simulator import (
    Backgrounds,
    MeshError,
    ObjectEntry,
    Sample,
    SimulatorConfig,
    simulate,
)
from bridge.synthesis.plan import spread
from bridge.synthesis.shard import renderer_for


@dataclass(frozen=True)
class PreviewRow:
    """The images of one trajectory and what they show."""

    object_id: str
    trajectory: int
    samples: Sequence[Sample]


def preview_rows(
    entries: Sequence[ObjectEntry],
    trajectories: int,
    simulator: SimulatorConfig,
    backgrounds: Backgrounds,
    unusable: dict[str, str] | None = None,
) -> Iterator[PreviewRow]:
    """Trajectories of objects from as many categories as possible, one after the other.

    Every object comes once before any comes again. Objects that cannot be opened, which are put
    into `unusable` with the reason, and trajectories that pass no filter are skipped.
    """
    unusable = {} if unusable is None else unusable
    order = spread(entries, simulator.seed)
    renderer = renderer_for(simulator)
    for trajectory in range(trajectories):
        for entry in order:
            if entry.object_id in unusable:
                continue
            try:
                mesh = entry.load()
            except MeshError as error:
                unusable[entry.object_id] = str(error)
                continue
            name = entry.object_id
            samples = simulate(mesh, name, trajectory, simulator, renderer, backgrounds)
            if samples:
                yield PreviewRow(name, trajectory, samples)


def contact_sheet(rows: Sequence[PreviewRow]) -> Image.Image:
    """One picture of all rows; a column is the sharp image or one of the exposures 1..10.

    Each image carries its bounding box, and below it its blur level and blur severity.

    Args:
        rows: at least one, all with as many images of one size.
    """
    headings = [_exposure(sample.window) for sample in rows[0].samples]
    return contact_sheets.contact_sheet([_row(row) for row in rows], headings)


def _exposure(window: int) -> str:
    return "sharp" if window == 0 else f"exposure {window}"


def _row(row: PreviewRow) -> contact_sheets.Row:
    cells = [
        contact_sheets.Cell(s.image, s.bbox, f"BL {s.blur_level}   BS {s.blur_severity:.2f}")
        for s in row.samples
    ]
    return contact_sheets.Row(f"{row.object_id}   trajectory {row.trajectory}", cells)
