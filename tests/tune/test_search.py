from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from bridge.common.errors import Failed, InputError
from bridge.training.presets import PRESETS, Preset
from bridge.training.run_log import read_metrics
from bridge.training.validation import CHOICE, STANDARD_ERROR
from pipelines import train
from pipelines.stages.train_options import TrainConfig
from tests.test_no_pickle import Bomb
from tune import search
from tune.records import Trial, write_trial
from tune.search import SearchConfig, Space


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`num_trials`"):
        search.run(SearchConfig(num_trials=0))
    with pytest.raises(InputError, match="not a dataset"):
        search.run(SearchConfig(data=str(tmp_path), out=str(tmp_path / "out")))
    with pytest.raises(InputError, match="holds no search"):
        search.run(SearchConfig(report=str(tmp_path)))
    with pytest.raises(InputError, match="--training"):
        SearchConfig(training="paper")


def test_failed_trials_are_no_success(tmp_path: Path) -> None:
    write_trial(str(tmp_path), Trial({"contrastive_range": 1}, 0, "finished", [(10, 0.5)]))
    search.refuse_failed(str(tmp_path))
    write_trial(str(tmp_path), Trial({"contrastive_range": 3}, 1, "failed"))
    with pytest.raises(Failed, match="^1 of 2 trials failed. The same command tries them again"):
        search.refuse_failed(str(tmp_path))


@pytest.fixture
def small(training: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset `quick` is the suite's small training."""
    quick = Preset(training.model, training.recipe)
    monkeypatch.setitem(PRESETS["bridge"], "quick", quick)


@pytest.mark.usefixtures("small")
def test_search_writes_the_best_trial_and_continues(
    training: TrainConfig,
    tmp_path: Path,
    ray_cluster: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    config = SearchConfig(
        data=training.data,
        out=str(out),
        weights="none",
        num_trials=2,
        epochs=1,
        space=Space(contrastive_range=(1, 3, 5)),
        fix=("learning-rate=2e-4",),
        num_cpus=2,
    )
    best = search.run(config)
    trials = sorted((out / "trials").iterdir())
    assert len(trials) == 2
    validated = [line for trial in trials for line in read_metrics(str(trial)) if CHOICE in line]
    assert best["validation_map"] == pytest.approx(max(line[CHOICE] for line in validated))
    assert best["standard_error"] in [line[STANDARD_ERROR] for line in validated]
    assert best["config"]["contrastive_range"] in (1, 3, 5)
    assert best["config"]["learning_rate"] == 2e-4
    assert json.loads((out / "best.json").read_text()) == best
    said = capsys.readouterr().out
    assert best["command"] in said and "contrastive-range: 1, 3, 5" in said
    # What train.py is told in that command is the trial, at its own length.
    given: list[TrainConfig] = []
    monkeypatch.setattr(train, "run", given.append)
    monkeypatch.setattr(sys, "argv", [*best["command"].split()[1:], "--epochs", "3"])
    train.command()
    recipe = given[0].recipe
    assert recipe.bliss.contrastive_range == best["config"]["contrastive_range"]
    assert (recipe.loss.blur, recipe.epochs) == (best["config"]["blur"], 3)
    assert (recipe.learning_rate, given[0].data) == (2e-4, training.data)
    monkeypatch.undo()
    # The other results say the same.
    table = pq.read_table(out / "trials.parquet").to_pylist()
    assert max(row["map"] for row in table) == best["validation_map"]
    assert {row["outcome"] for row in table} <= {"finished", "stopped"}
    journal = JournalStorage(JournalFileBackend(str(out / "optuna.log")))
    assert len(optuna.load_study(study_name="search", storage=journal).trials) == 2
    page = (out / "report.html").read_text()
    assert "Contrastive range" in page and "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.usefixtures("small")
def test_a_search_continues_from_its_records_alone(
    training: TrainConfig, tmp_path: Path, ray_cluster: None
) -> None:
    out = tmp_path / "out"
    config = SearchConfig(
        preset="range",
        data=training.data,
        out=str(out),
        weights="none",
        epochs=1,
        space=Space(contrastive_range=(1, 5), seed=(0,)),
        num_cpus=2,
    )
    best = search.run(config)
    trials = sorted((out / "trials").iterdir())
    assert len(trials) == 2
    # Tune's own state is not kept, and what lies in its place is not read.
    assert not (out / "tune").exists()
    (out / "tune").mkdir()
    for name in ("tuner.pkl", "trainable.pkl", "searcher-state.pkl"):
        (out / "tune" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "marker")))
    # The same command again runs no trial and comes to the same result.
    before = [(trial / "metrics.jsonl").stat().st_mtime_ns for trial in trials]
    assert search.run(config) == best
    assert [(trial / "metrics.jsonl").stat().st_mtime_ns for trial in trials] == before
    # The report is drawn again from disk.
    for name in ("report.html", "trials.parquet"):
        (out / name).unlink()
    assert search.run(SearchConfig(report=str(out))) == {}
    assert (out / "report.html").exists() and (out / "trials.parquet").exists()
    # A trial that is not done is done again, from its last checkpoint; the others are not.
    (record, other) = (trial / "trial.json" for trial in trials)
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"outcome": "running", "scores": []}))
    assert search.run(config) == best
    assert json.loads(record.read_text()) == known
    assert json.loads(other.read_text())["outcome"] == "finished"
    assert not (tmp_path / "marker").exists()
    with pytest.raises(InputError, match="epochs 1 instead of 2"):
        search.run(replace(config, epochs=2))
