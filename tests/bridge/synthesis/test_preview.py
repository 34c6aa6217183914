from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bridge.simulator import (
    ObjectEntry,
    ProceduralBackgrounds,
    Sample,
    SimulatorConfig,
    scan_meshes,
)
from bridge.synthesis.preview import PreviewRow, contact_sheet, preview_rows
from tests.factories import make_meshes

YELLOW, GREEN, BLUE = (255, 214, 10), (10, 120, 30), (20, 40, 160)


def row(name: str, colour: tuple[int, int, int], count: int = 3) -> PreviewRow:
    image = np.full((30, 40, 3), colour, np.uint8)
    box = (0.5, 0.5, 0.4, 0.4)
    samples = [Sample(k, image, 0.1 * k, k + 1, 1 - 0.1 * k, box, "b") for k in range(count)]
    return PreviewRow(name, 0, samples)


def test_every_image_is_on_the_sheet_in_its_row_and_column() -> None:
    rows = [row("a/x", GREEN), row("b/y", BLUE)]
    sheet = np.asarray(contact_sheet(rows))
    flat = [(sheet == colour).all(axis=2) for colour in (GREEN, BLUE)]
    columns = np.flatnonzero(flat[0].any(axis=0))
    assert np.count_nonzero(np.diff(columns) > 1) == 2
    assert (columns == np.flatnonzero(flat[1].any(axis=0))).all()
    assert np.flatnonzero(flat[0].any(axis=1)).max() < np.flatnonzero(flat[1].any(axis=1)).min()
    more = contact_sheet([*rows, row("c/z", GREEN)])
    assert more.width == sheet.shape[1] and more.height > sheet.shape[0]


def test_boxes_are_drawn_where_they_are() -> None:
    sheet = np.asarray(contact_sheet([row("a/x", GREEN, count=1)]))
    yellow = (sheet == YELLOW).all(axis=2)
    image = np.flatnonzero((sheet == GREEN).all(axis=2).any(axis=0))
    across = np.flatnonzero(yellow.any(axis=0))
    left, right = image.min(), image.max() + 1
    # Pixels 12 to 28 of 40, the last one included.
    assert (across.min() - left) / (right - left) == pytest.approx(0.3, abs=0.01)
    assert (across.max() + 1 - left) / (right - left) == pytest.approx(0.725, abs=0.01)


def test_rows_come_from_many_categories_and_skip_what_is_unusable(tmp_path: Path) -> None:
    make_meshes(tmp_path, {"a": 2, "b": 2, "c": 2})
    entries = [*scan_meshes(tmp_path), ObjectEntry("d/none", "d", str(tmp_path / "none.glb"))]
    simulator = SimulatorConfig(image_size=(24, 32))
    rows = list(islice(preview_rows(entries, 2, simulator, ProceduralBackgrounds()), 8))
    assert {r.object_id[0] for r in rows[:3]} == {"a", "b", "c"}
    assert len({r.object_id for r in rows[:6]}) == 6
    assert [r.trajectory for r in rows] == [0] * 6 + [1] * 2
    assert [s.window for s in rows[0].samples] == list(range(11))
