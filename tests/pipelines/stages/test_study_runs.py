from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.metrics.repeats import Repeats
from pipelines.stages.study_runs import run_all
from pipelines.stages.study_scores import SCORES_FILE, read_scores, write_scores

RUNS: list[Any] = [SimpleNamespace(name=f"run-{number}") for number in range(5)]


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_every_run_is_done_once_and_a_failure_leaves_the_others_alone(at_a_time: int) -> None:
    done: list[str] = []

    def work(run: Any) -> None:
        if run.name == "run-1":
            raise RuntimeError("no luck\nat all")
        done.append(run.name)

    assert run_all(work, RUNS, at_a_time) == {"run-1": "RuntimeError: no luck"}
    assert sorted(done) == ["run-0", "run-2", "run-3", "run-4"]


def test_as_many_run_at_a_time_as_there_is_room_for() -> None:
    together = threading.Barrier(2, timeout=60)
    # Each waits for another one, which would never come if they ran one by one.
    assert run_all(lambda run: together.wait() and None, RUNS[:4], 2) == {}


@pytest.mark.parametrize("at_a_time", [1, 2])
@pytest.mark.parametrize("error", [InputError("wrong"), OSError("full")])
def test_what_every_run_would_meet_ends_the_study(error: Exception, at_a_time: int) -> None:
    begun: list[str] = []

    def work(run: Any) -> None:
        begun.append(run.name)
        raise error

    with pytest.raises(type(error)):
        run_all(work, RUNS, at_a_time)
    assert len(begun) <= at_a_time


def made(levels: tuple[int, ...], k: int | None) -> Repeats:
    rng = np.random.default_rng(0)
    values = rng.random((1, max(1, len(levels)), 6))
    return Repeats(values, np.arange(6) // 2, np.arange(6) % 3 + 1, levels, 20, k)


def test_scores_are_read_as_they_were_written(tmp_path: Path) -> None:
    scores = {"mixed": made((), None), "per_level_with_distractors": made((1, 2, 6), 100)}
    sha256 = write_scores(str(tmp_path), scores)
    found = read_scores(str(tmp_path), sha256)
    assert found is not None and list(found) == list(scores)
    for name, repeats in scores.items():
        for key, value in vars(repeats).items():
            assert np.array_equal(getattr(found[name], key), value), key
    assert found["mixed"].k is None and found["mixed"].database_blur_levels == ()


def test_scores_that_are_gone_or_damaged_count_as_missing(tmp_path: Path) -> None:
    sha256 = write_scores(str(tmp_path), {"mixed": made((), None)})
    path = tmp_path / SCORES_FILE
    path.write_bytes(path.read_bytes()[:-1])
    assert read_scores(str(tmp_path), sha256) is None
    path.unlink()
    assert read_scores(str(tmp_path), sha256) is None
