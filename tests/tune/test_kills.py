"""A search that is killed and interrupted comes to the same trials."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bridge.training.run_log import METRICS_FILE, read_metrics
from tests.chaos.contents import TIMINGS
from tests.factories import make_dataset
from tests.kills import start, strike
from tests.waiting import wait_until

TRIAL_DRIVER, WORKER = "ray::ImplicitFunc", "ray::RayTrainWorker"


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A grid of three trials of three epochs."""
    make_dataset(tmp_path / "data", {"train": 6, "validation": 3})
    return [
        *("--preset", "range", "--data", str(tmp_path / "data"), "--weights", "none"),
        *("--space.contrastive-range", "1", "3", "5", "--space.seed", "0", "--epochs", "3"),
        *("--fix", "log-every=1", "batch-size=8", "--num-cpus", "2"),
    ]


def search(options: list[str], out: Path) -> subprocess.Popen[str]:
    """Begin, or continue."""
    arguments = [*options, "--out", str(out)]
    return start("tune/search.py", arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def logs(out: Path) -> list[Path]:
    return sorted((out / "trials").glob(f"*/{METRICS_FILE}"))


def wait_for_training(out: Path, trials: int, process: subprocess.Popen[str]) -> None:
    """Until so many trials have begun, and the last of them has trained a step."""
    wait_until(
        lambda: sum(len(read_metrics(str(p.parent))) > 0 for p in logs(out)) >= trials, process
    )


def content(out: Path) -> dict[str, Any]:
    """All trials and their metrics, without times."""
    found: dict[str, Any] = {}
    for log in logs(out):
        found[log.parent.name] = (
            json.loads((log.parent / "trial.json").read_text()),
            [
                {name: value for name, value in line.items() if name not in TIMINGS}
                for line in read_metrics(str(log.parent))
            ],
        )
    return found


@pytest.mark.long
def test_killed_and_interrupted_it_comes_to_the_same_trials(
    options: list[str], tmp_path: Path
) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    assert search(options, calm).wait() == 0
    rng = random.Random(0)
    # The command with all its processes, in the first trial.
    killed = search(options, rough)
    wait_for_training(rough, 1, killed)
    strike(killed, "everything", "", rng)
    killed.wait()
    # A worker and the driver of a trial, of which Tune begins again what was lost.
    running = search(options, rough)
    wait_for_training(rough, 2, running)
    wait_until(lambda: strike(running, "worker", WORKER, rng), running)
    wait_for_training(rough, 3, running)
    wait_until(lambda: strike(running, "worker", TRIAL_DRIVER, rng), running)
    # Interrupted, it tells what there is, and of no best.
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate()
    assert running.returncode == 130, said
    assert "finished  --contrastive-range" in said and "best" not in said
    assert not (rough / "best.json").exists()
    last = search(options, rough)
    said, _ = last.communicate()
    assert last.returncode == 0, said
    assert content(rough) == content(calm)
    for name in ("best.json", "report.html", "trials.parquet", "optuna.log"):
        assert (rough / name).exists()
    best = [json.loads((out / "best.json").read_text()) for out in (calm, rough)]
    assert best[0]["config"] == best[1]["config"]
