from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bridge.common.errors import InputError
from bridge.training.tracking import TRACKING_FILE, open_tracker

CONFIG = {"preset": "quick", "recipe": {"epochs": 3, "bliss": {"contrastive_range": 5}}}


def test_no_tracker_leaves_nothing(tmp_path: Path) -> None:
    tracker = open_tracker("none", str(tmp_path), CONFIG)
    tracker.log(1, {"loss/total": 1.0})
    tracker.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_an_absent_package_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(InputError, match=f"pip install {kind}"):
        open_tracker(kind, str(tmp_path), CONFIG)  # type: ignore[arg-type]


def test_a_damaged_record_of_the_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    (tmp_path / TRACKING_FILE).write_text('{"wandb": 5}')
    with pytest.raises(InputError, match="tracking.json: wandb: must be a valid string, not 5"):
        open_tracker("wandb", str(tmp_path), CONFIG)


def test_mlflow_continues_the_run_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run = str(tmp_path / "first")
    tracker = open_tracker("mlflow", run, CONFIG)
    for step in (10, 20, 30):
        tracker.log(step, {"loss/total": float(step), "name": "not a number"})
    tracker.close(finished=False)
    # Killed, and continued from the checkpoint of step 10 with another option.
    tracker = open_tracker("mlflow", run, CONFIG | {"preset": "paper"})
    for step in (20, 30, 40):
        tracker.log(step, {"loss/total": -1.0})
    tracker.close()
    open_tracker("mlflow", str(tmp_path / "second"), CONFIG).close()

    client = mlflow.tracking.MlflowClient()
    experiment = client.get_experiment_by_name("bridge")
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"first", "second"}
    first = runs["first"]
    history = client.get_metric_history(first.info.run_id, "loss/total")
    assert [(m.step, m.value) for m in history] == [(10, 10), (20, 20), (30, 30), (40, -1)]
    assert first.info.status == "FINISHED" and set(first.data.metrics) == {"loss/total"}
    assert first.data.params["recipe.bliss.contrastive_range"] == "5"


def test_mlflow_starts_anew_where_the_server_does_not_know_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    names = []
    for server in ("one", "other"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{server}.db")
        open_tracker("mlflow", str(tmp_path / "run"), CONFIG).close()
        names.append(json.loads((tmp_path / "run" / TRACKING_FILE).read_text())["mlflow"])
    assert names[0] != names[1]


def test_mlflow_that_cannot_be_reached_stops_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match="MLflow cannot track this run"):
        open_tracker("mlflow", str(tmp_path), CONFIG)


def test_wandb_continues_the_run_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    run.mkdir()
    for start in (10, 20):
        tracker = open_tracker("wandb", str(run), CONFIG)
        for step in range(start, start + 30, 10):
            tracker.log(step, {"loss/total": float(step)})
        tracker.close()
    name = json.loads((run / TRACKING_FILE).read_text())["wandb"]
    attempts = list((run / "wandb").glob(f"offline-run-*-{name}"))
    assert attempts and all(list(folder.glob(f"run-{name}.wandb")) for folder in attempts)
