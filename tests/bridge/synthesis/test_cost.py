from __future__ import annotations

from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.simulator import ObjectEntry, ProceduralBackgrounds, SimulatorConfig, scan_meshes
from bridge.synthesis.cost import Cost, is_enough, measure
from tests.factories import make_meshes

SIMULATOR = SimulatorConfig(image_size=(48, 64))


def test_costs_are_means_of_what_opens(tmp_path: Path) -> None:
    make_meshes(tmp_path, {"a": 9, "b": 9})
    torn = [ObjectEntry(f"c/{i}", "c", str(tmp_path / "none.glb")) for i in range(3)]
    cost = measure([*torn, *scan_meshes(tmp_path)], SIMULATOR, "jpeg", ProceduralBackgrounds())
    assert 18 >= cost.measured >= 16 and cost.kept > 0
    assert cost.seconds > 0 and cost.open_seconds > 0
    assert 0 < cost.error < cost.deviation
    # Eleven pictures of 48x64 pixels.
    assert 11 * 1_000 < cost.bytes < 11 * 10_000


def test_few_objects_are_measured_once_each(tmp_path: Path) -> None:
    make_meshes(tmp_path, {"a": 1})
    cost = measure(scan_meshes(tmp_path), SIMULATOR, "png", ProceduralBackgrounds())
    assert cost.measured == 1 and cost.deviation == 0


@pytest.mark.parametrize(
    ("measured", "seconds", "enough"),
    [
        (15, 29.0, False),
        (16, 9.0, False),
        (16, 10.0, True),
        (100, 9.0, False),
        (256, 1.0, True),
        (1, 30.0, True),
    ],
)
def test_measuring_takes_seconds_but_not_many(measured: int, seconds: float, enough: bool) -> None:
    assert is_enough(measured, seconds) is enough


def test_the_error_falls_with_the_number_measured() -> None:
    cost = Cost(measured=16, kept=16, open_seconds=0.0, seconds=2.0, deviation=1.0, bytes=1.0)
    assert cost.error == 0.25


def test_nothing_to_measure(tmp_path: Path) -> None:
    torn = [ObjectEntry("c/x", "c", str(tmp_path / "none.glb"))]
    with pytest.raises(InputError, match="Not one of the 1 objects"):
        measure(torn, SIMULATOR, "jpeg", ProceduralBackgrounds())
