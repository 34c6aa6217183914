"""`--max-cost-hours` in every stage: it stops in order, and goes on with more to what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.common import watch
from bridge.common.errors import Stopped
from bridge.common.status import read_status
from bridge.common.storage import sha256
from bridge.common.watch_options import WatchOptions
from bridge.training.run_log import read_metrics
from pipelines import build_index, study, synthesize, train
from pipelines.build_index import BuildIndexConfig
from pipelines.stages import running, train_worker
from pipelines.stages.study_options import StudyConfig
from pipelines.stages.train_options import TrainConfig
from pipelines.synthesize import SynthesizeConfig
from tests.factories import make_dataset
from tests.kills import ROOT
from tests.pipelines.test_study import GRID
from tests.searchable import make_model, without_actors

pytestmark = pytest.mark.usefixtures("ray_cluster")
LIMITED = WatchOptions(max_cost_hours=1.0)
CostlyAfter = Callable[[Path, str], None]


@pytest.fixture
def costly_after(monkeypatch: pytest.MonkeyPatch) -> CostlyAfter:
    """Stages cost nothing until a file is there, and a core-hour each millisecond from then on."""
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_WRITES", 0.01)
    monkeypatch.setattr(train_worker, "SECONDS_BETWEEN_QUESTIONS", 0.0)

    def begin(folder: Path, pattern: str) -> None:
        def size() -> tuple[float, float]:
            return 3.6e6 * any(folder.glob(pattern)), 0.0

        monkeypatch.setattr(running, "size_of_cluster", size)

    return begin


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()) for path in folder.glob("*.parquet")}


def assert_stopped(folder: Path) -> None:
    found = read_status(folder)
    assert found.state == "stopped" and "`max_cost_hours` 1 is reached" in found.message
    assert found.core_hours > 1 and found.gpu_hours == 0


def test_a_simulation_stops_between_shards(
    dataset: Path, config: SynthesizeConfig, tmp_path: Path, costly_after: CostlyAfter
) -> None:
    out = tmp_path / "data"
    costly_after(out, "data/*.parquet")
    config = replace(config, out=str(out))
    with pytest.raises(Stopped):
        synthesize.run(replace(config, watch=LIMITED))
    assert_stopped(out)
    manifest = json.loads((out / "manifest.json").read_text())
    whole = hashes(dataset / "data")
    assert 0 < len(manifest["shards"]) < len(whole) and not manifest["complete"]
    rows = sum(shard["rows"] for shard in manifest["shards"])
    assert read_status(out).done >= rows
    synthesize.run(config)
    assert hashes(out / "data") == whole
    finished = read_status(out)
    assert finished.state == "done" and finished.unit == "images"
    assert finished.done == finished.total


@without_actors()
def test_an_index_stops_between_parts(tmp_path: Path, costly_after: CostlyAfter) -> None:
    make_dataset(tmp_path / "data", {"test": 24})
    make_model(tmp_path / "model")
    whole, out = tmp_path / "a" / "index", tmp_path / "b" / "index"
    config = BuildIndexConfig(str(tmp_path / "model"), str(tmp_path / "data"), out=str(whole))
    build_index.run(config)
    config = replace(config, out=str(out))
    costly_after(out, "descriptors/*.parquet")
    with pytest.raises(Stopped):
        build_index.run(replace(config, watch=LIMITED))
    assert_stopped(out)
    assert len(hashes(out / "descriptors")) < len(hashes(whole / "descriptors"))
    build_index.run(config)
    assert hashes(out / "descriptors") == hashes(whole / "descriptors")
    assert sha256((out / "index.faiss").read_bytes()) == sha256(
        (whole / "index.faiss").read_bytes()
    )


@pytest.mark.long
def test_a_training_stops_with_a_checkpoint(
    training: TrainConfig, tmp_path: Path, costly_after: CostlyAfter
) -> None:
    costly_after(tmp_path / "run", "metrics.jsonl")
    config = replace(training, out=str(tmp_path / "run"), num_workers=0, checkpoint_every=0)
    with pytest.raises(Stopped):
        train.run(replace(config, watch=LIMITED))
    assert_stopped(tmp_path / "run")
    reached = [line["step"] for line in read_metrics(config.out)]
    assert 0 < len(reached) < 36
    train.run(config)
    steps = [line["step"] for line in read_metrics(config.out)]
    # Nothing that had been trained was trained again.
    assert steps == list(range(1, 37))
    assert read_metrics(config.out)[len(reached) - 1]["step"] == reached[-1]
    finished = read_status(tmp_path / "run")
    assert (finished.state, finished.done, finished.unit) == ("done", 36, "steps")


@without_actors()
@pytest.mark.long
def test_a_study_stops_with_its_runs(tmp_path: Path, costly_after: CostlyAfter) -> None:
    make_dataset(tmp_path / "data", {"train": 4, "validation": 3, "test": 4})
    ours, delg, _ = GRID["configurations"]
    ours = ours | {"options": ours["options"] | {"log_every": 1}}
    grid = GRID | {"seeds": [0], "passes": 640, "configurations": [ours, delg]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    config = StudyConfig(
        grid=str(tmp_path / "grid.yaml"),
        data=str(tmp_path / "data"),
        out=str(tmp_path / "out"),
        num_workers=0,
        num_cpus=2,
    )
    costly_after(tmp_path / "out", "runs/bridge-0/metrics.jsonl")
    with pytest.raises(Stopped, match=f"spent on {tmp_path}/out"):
        study.run(replace(config, watch=LIMITED))
    assert_stopped(tmp_path / "out")
    run = read_status(tmp_path / "out" / "runs" / "bridge-0")
    assert run.state == "stopped" and 0 < run.done < run.total
    assert not (tmp_path / "out" / "runs" / "delg-0").exists()
    data = study.run(config)
    assert data is not None
    finished = read_status(tmp_path / "out")
    assert (finished.state, finished.done, finished.unit) == ("done", 2, "runs")


def run_command(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, str(ROOT / script), *options]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.long
def test_several_processes_stop_a_training_together(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", {"train": 6, "validation": 3})
    options = [
        *("--preset", "quick", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")),
        *("--weights", "none", "--epochs", "100000", "--num-workers", "2", "--num-cpus", "2"),
        *("--log-every", "1", "--log-json"),
    ]
    ended = run_command("pipelines/train.py", *options, "--max-cost-hours", "0.01")
    assert ended.returncode == 1
    told: dict[str, Any] = json.loads(ended.stderr)
    assert told["event"] == "stopped" and "--max-cost-hours 0.01 is reached" in told["text"]
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    steps = [event["step"] for event in events if event["event"] == "step"]
    assert steps and events[-1]["event"] == "stopped" and events[-1]["stage"] == "train"
    found = read_status(tmp_path / "run")
    assert found.state == "stopped" and found.core_hours >= 0.01
    assert found.done == steps[-1] == read_metrics(str(tmp_path / "run"))[-1]["step"]
    again = run_command("pipelines/train.py", *options, "--max-cost-hours", "0.01")
    assert again.returncode == 1 and read_metrics(str(tmp_path / "run"))[-1]["step"] == steps[-1]


@pytest.mark.soak
def test_a_search_stops_and_continues_its_trials(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", {"train": 6, "validation": 3})
    options = [
        *("--preset", "range", "--data", str(tmp_path / "data"), "--weights", "none"),
        *("--space.contrastive-range", "1", "--space.seed", "0", "--epochs", "40"),
        *("--fix", "log-every=1", "batch-size=8", "--num-cpus", "2"),
        *("--out", str(tmp_path / "out")),
    ]
    ended = run_command("tune/search.py", *options, "--max-cost-hours", "0.008")
    assert ended.returncode == 1 and "stopped: --max-cost-hours 0.008" in ended.stderr
    assert read_status(tmp_path / "out").state == "stopped"
    again = run_command("tune/search.py", *options, "--max-cost-hours", "100")
    assert again.returncode == 0, again.stderr
    found = read_status(tmp_path / "out")
    assert (found.state, found.done, found.total, found.unit) == ("done", 1, 1, "trials")
    (trial,) = (tmp_path / "out" / "trials").iterdir()
    assert read_status(trial).state == "done"
