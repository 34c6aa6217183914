"""Processes that build an index are killed: what comes out stays what it is."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import chaos
from tests.factories import make_dataset
from tests.kills import start, strike
from tests.searchable import make_model


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Where the commands write; shown where a test fails."""
    path = tmp_path / "command.log"
    yield path
    print(path.read_text())


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_kills_at_any_point_change_nothing(tmp_path: Path, log: Path) -> None:
    make_dataset(tmp_path / "data", {"test": 24})
    make_dataset(tmp_path / "distractors", {"distractor": 60}, first=100)
    make_model(tmp_path / "model", seed=0)
    calm, rough = tmp_path / "calm" / "index", tmp_path / "rough" / "index"

    def begin(out: Path) -> subprocess.Popen[str]:
        options = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "data")]
        options += ["--distractors", str(tmp_path / "distractors"), "--num-cpus", "2"]
        with open(log, "a") as file:
            return start(
                "pipelines/build_index.py",
                [*options, "--out", str(out), "--batch-size", "16"],
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    assert begin(calm).wait(timeout=600) == 0
    subject, total = chaos.SUBJECTS["index"], chaos.parts(calm)
    assert total >= 8
    driver = begin(rough)
    chaos.wait(driver, lambda: chaos.parts(rough) >= 1, 600)
    assert strike(driver, "worker", subject.worker, random.Random(0)), "there was no worker"
    chaos.wait(driver, lambda: chaos.parts(rough) >= 3, 600)
    assert strike(driver, "everything", subject.worker, random.Random(0))
    driver.wait()
    assert chaos.parts(rough) < total, "the kill came too late"
    driver = begin(rough)
    chaos.wait(driver, lambda: (rough / "index.faiss").exists(), 600)
    strike(driver, "driver", subject.worker, random.Random(0))
    driver.wait()
    assert begin(rough).wait(timeout=600) == 0
    assert chaos.index(rough) == chaos.index(calm)
