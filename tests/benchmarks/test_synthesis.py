from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.synthesis import Config, cost_of_an_image, object_costs, run
from bridge.common.errors import InputError
from bridge.simulator import ProceduralBackgrounds, SimulatorConfig, procedural_objects


def test_costs_add_up() -> None:
    simulator = SimulatorConfig(image_size=(48, 64))
    costs = object_costs(procedural_objects(1, 0), 3, simulator, ProceduralBackgrounds())
    assert len({cost["entry"].object_id for cost in costs}) == 3
    assert {len(cost["rows"]) for cost in costs} <= {0, 11}
    found = cost_of_an_image(costs)
    stages = found["ms_per_image"]
    assert stages["render and average"] > 0 and stages["Parquet"] > 0
    spent = sum(sum(cost["stages"].values()) for cost in costs)
    without_storing = found["total_ms_per_image"] - stages["Parquet"]
    assert without_storing == pytest.approx(1000 * spent / found["images"])


def test_a_run_measures_workers(tmp_path: Path) -> None:
    out = tmp_path / "synthesis.md"
    run(Config(objects=2, image_size=(48, 64), shard_trajectories=1, out=out))
    figures = json.loads(out.with_suffix(".json").read_text())
    one, two, large = figures["workers"]
    assert [workers["processes"] for workers in (one, two, large)] == [1, 2, 1]
    assert one["images"] == two["images"] == large["images"] and large["trajectories"] == 2
    assert one["rate"] == pytest.approx(one["images"] / one["seconds"])
    # Not the memory of a process that has torch in it.
    assert one["peak_gb"] is None or 0.05 < one["peak_gb"] < 0.6
    assert f"Two processes make {figures['speedup']:.2f} times" in out.read_text()


def test_too_few_objects_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "a.glb").write_bytes(b"nothing")
    with pytest.raises(InputError, match="2 objects were asked for; 0 can be simulated"):
        run(Config(meshes=str(tmp_path), objects=2))
    with pytest.raises(InputError, match="`objects` must be at least 1"):
        Config(objects=0)
