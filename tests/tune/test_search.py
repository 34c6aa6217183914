from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.training.presets import PRESETS, Preset
from bridge.training.run_log import read_metrics
from bridge.training.validation import CHOICE
from pipelines.stages.train_options import TrainConfig, trainings
from tests.test_no_pickle import Bomb
from tune import search, trials
from tune.search import SearchConfig


def test_sampled_values_reach_the_trainer() -> None:
    base = trainings("bridge")["quick"]
    sampled = {"contrastive_range": 3, "classification": 0.3, "blur": 2.0, "localisation": 5.0}
    config = trials.trial_config(base, sampled)
    assert config.recipe.bliss.contrastive_range == 3
    loss = config.recipe.loss
    assert (loss.classification, loss.blur, loss.localisation) == (0.3, 2.0, 5.0)
    assert loss.contrastive == base.recipe.loss.contrastive
    assert config.recipe.bliss.num_negatives == base.recipe.bliss.num_negatives
    assert trials._options(sampled) == (
        "--blur 2 --classification 0.3 --contrastive-range 3 --localisation 5"
    )


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`num_trials`"):
        search.run(SearchConfig(num_trials=0))
    with pytest.raises(InputError, match="not a dataset"):
        search.run(SearchConfig(data=str(tmp_path), out=str(tmp_path / "out")))


@pytest.fixture
def small(training: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset `quick` is the suite's small training."""
    quick = Preset(training.model, training.recipe)
    monkeypatch.setitem(PRESETS["bridge"], "quick", quick)


@pytest.mark.usefixtures("small")
def test_search_writes_the_best_trial_and_continues(
    training: TrainConfig, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SearchConfig(
        data=training.data,
        out=str(tmp_path / "out"),
        weights="none",
        num_trials=2,
        epochs=1,
        num_cpus=2,
    )
    best = search.run(config)
    trials = sorted((tmp_path / "out" / "trials").iterdir())
    assert len(trials) == 2
    scores = [
        max(line[CHOICE] for line in read_metrics(str(trial)) if CHOICE in line) for trial in trials
    ]
    assert best["validation_map"] == pytest.approx(max(scores))
    assert best["config"]["contrastive_range"] in (1, 3, 5)
    assert json.loads((tmp_path / "out" / "best.json").read_text()) == best
    assert best["command"] in capsys.readouterr().out
    # Tune's own state is not kept, and what lies in its place is not read.
    assert not (tmp_path / "out" / "tune").exists()
    (tmp_path / "out" / "tune").mkdir()
    for name in ("tuner.pkl", "trainable.pkl", "searcher-state.pkl"):
        (tmp_path / "out" / "tune" / name).write_bytes(pickle.dumps(Bomb(tmp_path / "marker")))
    # The same command again runs no trial and comes to the same result.
    before = [(trial / "metrics.jsonl").stat().st_mtime_ns for trial in trials]
    assert search.run(config) == best
    assert [(trial / "metrics.jsonl").stat().st_mtime_ns for trial in trials] == before
    # A trial that is not done is done again, from its last checkpoint; the others are not.
    (record, other) = (trial / "trial.json" for trial in trials)
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"outcome": "running", "scores": []}))
    assert search.run(config) == best
    assert json.loads(record.read_text()) == known
    assert json.loads(other.read_text())["outcome"] in ("finished", "stopped")
    assert not (tmp_path / "marker").exists()
    with pytest.raises(InputError, match="epochs 1 instead of 2"):
        search.run(replace(config, epochs=2))
