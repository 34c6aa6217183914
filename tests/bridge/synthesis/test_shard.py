from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bridge.dataset.manifest import ShardResult
from bridge.dataset.schema import SHARD_SCHEMA
from bridge.simulator import (
    ObjectEntry,
    ProceduralBackgrounds,
    SimulatorConfig,
    procedural_objects,
    scan_meshes,
)
from bridge.simulator.renderers.cycles import PYTHON_VARIABLE
from bridge.synthesis.plan import ShardTask, plan_shards
from bridge.synthesis.shard import LOST_TRAJECTORY, check_object, make_shard
from tests.factories import dying_blender, make_meshes


def make(task: ShardTask, folder: Path) -> ShardResult:
    simulator = SimulatorConfig(image_size=(24, 32))
    return make_shard(task, simulator, "png", ProceduralBackgrounds(), str(folder))


def num_lost(result: ShardResult) -> int:
    return sum(rejection.reason == LOST_TRAJECTORY for rejection in result.rejections)


def test_a_shard_is_a_function_of_its_task(tmp_path: Path) -> None:
    make_meshes(tmp_path / "meshes", {"box": 2})
    entries = scan_meshes(tmp_path / "meshes")
    tasks = list(plan_shards(entries, "distractors", 2, 3, seed=0).missing(()))
    results = [make(task, tmp_path / "a") for task in tasks]
    # In another order, after a trip through pickle as to another process, with other neighbours.
    again = [make(pickle.loads(pickle.dumps(task)), tmp_path / "b") for task in reversed(tasks)]
    assert results == again[::-1]
    whole = plan_shards(entries, "distractors", 2, 100, seed=0)
    single = make(whole.missing(())[0], tmp_path / "c")
    assert single.record.rows == sum(r.record.rows for r in results)
    levels: Counter[str] = Counter()
    for result in results:
        levels.update(result.by_blur_level)
    assert single.by_blur_level == levels


def test_an_object_that_vanished_costs_its_trajectories_alone(tmp_path: Path) -> None:
    make_meshes(tmp_path / "meshes", {"box": 2})
    entries = scan_meshes(tmp_path / "meshes")
    (task,) = plan_shards(entries, "distractors", 2, 100, seed=0).missing(())
    (tmp_path / "meshes" / "box" / "000.glb").unlink()
    result = make(task, tmp_path / "a")
    assert result.objects == ("box/001",) and result.trajectories == 2 == num_lost(result)
    assert {r.item for r in result.rejections} == {"box/000/000", "box/000/001"}
    assert all(r.reason == "trajectory" and "unreadable" in r.detail for r in result.rejections)


def test_a_blender_that_dies_twice_costs_the_trajectory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(dying_blender(tmp_path, deaths=2)))
    (task,) = plan_shards(procedural_objects(1, 0)[:1], "distractors", 2, 9, seed=0).missing(())
    simulator = SimulatorConfig(image_size=(20, 28), renderer="cycles")
    result = make_shard(task, simulator, "png", ProceduralBackgrounds(), str(tmp_path))
    first, second = result.rejections
    assert first.reason == "trajectory" and first.detail.startswith("Blender died twice")
    assert second.detail == "no try passed the filter"
    assert num_lost(result) == 2


def test_a_shard_without_any_image_is_a_shard(tmp_path: Path) -> None:
    entry = ObjectEntry("box/000", "box", str(tmp_path / "none.glb"))
    (task,) = plan_shards([entry], "distractors", 3, 100, seed=0).missing(())
    result = make(task, tmp_path)
    assert (result.record.rows, result.objects, num_lost(result)) == (0, (), 3)
    assert pq.read_table(tmp_path / task.path).schema.equals(SHARD_SCHEMA)


def test_unusable_objects_say_why(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "bad.glb").write_bytes(np.random.default_rng(0).bytes(100))
    rejection = check_object(scan_meshes(tmp_path)[0]).rejection
    assert rejection is not None
    assert (rejection.reason, rejection.item) == ("unreadable", "a/bad")


def test_usable_objects_say_what_was_adjusted(tmp_path: Path) -> None:
    make_meshes(tmp_path, {"box": 1})
    good = check_object(scan_meshes(tmp_path)[0])
    assert (good.rejection, good.adjustments) == (None, ())
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(tmp_path / "a" / "there.png")
    (tmp_path / "a" / "x.obj").write_text(
        "mtllib x.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\n"
        "usemtl good\nf 1/1 2/2 3/3\nusemtl bad\nf 1/1 2/2 4/3\n"
    )
    (tmp_path / "a" / "x.mtl").write_text(
        "newmtl good\nmap_Kd there.png\nnewmtl bad\nKd 1 0 0\nmap_Kd gone.png\n"
    )
    check = check_object(scan_meshes(tmp_path)[0])
    assert check.rejection is None
    assert [(a.reason, a.item) for a in check.adjustments] == [("missing_texture", "a/x")]
    assert "gone.png" in check.adjustments[0].detail
