from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import InputError
from bridge.estimate import MEASURED_TRAJECTORIES, measure
from bridge.simulator import ObjectEntry, ProceduralBackgrounds, SimulatorConfig, scan_meshes
from tests.factories import make_meshes

SIMULATOR = SimulatorConfig(image_size=(48, 64))


def test_costs_are_means_of_what_opens(tmp_path: Path) -> None:
    make_meshes(tmp_path, {"a": 3, "b": 3})
    torn = [ObjectEntry(f"c/{i}", "c", str(tmp_path / "none.glb")) for i in range(3)]
    cost = measure([*torn, *scan_meshes(tmp_path)], SIMULATOR, "jpeg", ProceduralBackgrounds())
    assert cost.measured == MEASURED_TRAJECTORIES >= cost.kept > 0
    assert cost.seconds > 0 and cost.open_seconds > 0
    # Eleven pictures of 48x64 pixels.
    assert 11 * 1_000 < cost.bytes < 11 * 10_000


def test_few_objects_are_measured_once_each(tmp_path: Path) -> None:
    make_meshes(tmp_path, {"a": 1})
    cost = measure(scan_meshes(tmp_path), SIMULATOR, "png", ProceduralBackgrounds())
    assert cost.measured == 1


def test_nothing_to_measure(tmp_path: Path) -> None:
    torn = [ObjectEntry("c/x", "c", str(tmp_path / "none.glb"))]
    with pytest.raises(InputError, match="Not one of the 1 objects"):
        measure(torn, SIMULATOR, "jpeg", ProceduralBackgrounds())
