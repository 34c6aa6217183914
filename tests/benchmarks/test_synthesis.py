from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.synthesis import Config, object_costs, run, storing_seconds
from benchmarks.synthesis_report import Results, figures, markdown, preset_size
from benchmarks.synthesis_workers import Workers, measure_workers
from bridge.common.errors import InputError
from bridge.simulator import ProceduralBackgrounds, SimulatorConfig, procedural_objects
from bridge.synthesis.plan import plan_shards
from pipelines.stages.synthesis_options import PRESETS

SIZE = (48, 64)
SIMULATOR = SimulatorConfig(image_size=SIZE)


def test_costs_add_up() -> None:
    backgrounds = ProceduralBackgrounds()
    entries, costs = object_costs(Config(objects=3, image_size=SIZE), SIMULATOR, backgrounds)
    assert [entry.object_id for entry in entries] == [cost.object_id for cost in costs]
    assert all(len(cost.rows) == (11 if cost.subframes else 0) for cost in costs)
    workers = [Workers(1, 2, 9.0, 33, 400_000_000), Workers(2, 2, 4.5, 33, None)]
    results = Results(SIZE, costs, storing_seconds(costs), [*workers, workers[0]])
    stages = results.stages()
    assert stages["render and average"] > 0 and stages["Parquet"] > 0
    spent = sum(cost.seconds for cost in costs) + results.storing
    assert results.total() == pytest.approx(1000 * spent / results.images)
    paper = PRESETS["dataset"]["paper"]
    least = preset_size(paper)[1] * results.total() / 3.6e6
    assert least < results.core_hours(paper) < 2 * least
    text = markdown(results)
    assert "2.00 times the images" in text and "400 MB" in text and "unknown" in text
    assert json.loads(json.dumps(figures(results)))["ms_per_image"] == stages


def test_workers_share_the_shards_and_tell_their_memory() -> None:
    plan = plan_shards(procedural_objects(1, 0)[:3], "distractors", 1, 1, seed=0)
    tasks = list(plan.missing(()))
    workers = measure_workers(2, tasks, tasks[0], SIMULATOR, ProceduralBackgrounds())
    assert (workers.processes, workers.trajectories) == (2, 1)
    assert workers.images % 11 == 0 and workers.images > 0 and workers.seconds > 0
    assert workers.peak_bytes is None or 50e6 < workers.peak_bytes < 2e9


def test_the_presets_have_the_papers_numbers() -> None:
    assert preset_size(PRESETS["dataset"]["paper"]) == (1170, 1_544_400)
    assert preset_size(PRESETS["distractors"]["paper"]) == (1560, 1_201_200)


def test_too_few_objects_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "a.glb").write_bytes(b"nothing")
    with pytest.raises(InputError, match="2 objects were asked for; 0 can be simulated"):
        run(Config(meshes=str(tmp_path), objects=2))
    with pytest.raises(InputError, match="at least 1"):
        run(Config(objects=0))
