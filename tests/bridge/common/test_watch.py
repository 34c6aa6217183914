from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.common import storage, watch
from bridge.common.errors import Failed, InputError, Stopped
from bridge.common.progress import progress
from bridge.common.status import FILE, Status, read_status
from bridge.common.watch import watched
from tests.waiting import wait_until


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SECONDS_BETWEEN_WRITES", 0.02)


@contextmanager
def expensive(folder: Path, limit: float | None) -> Iterator[None]:
    """A stage on 3.6 million cores, which are a core-hour each millisecond."""
    with watched("synthesize", str(folder), limit, size=lambda: (3.6e6, 0.0)):
        yield


def test_a_stage_waits_runs_and_is_done(tmp_path: Path, quick: None) -> None:
    with watched("synthesize", str(tmp_path)):
        assert read_status(tmp_path).state == "waiting"
        with progress("simulate", 10, "images", before=4) as counter:
            counter.advance(2, "1 of 3 shards")
            wait_until(lambda: read_status(tmp_path).done == 6)
            running = read_status(tmp_path)
            counter.advance(4)
    done = read_status(tmp_path)
    assert (running.state, running.part, running.unit) == ("running", "simulate", "images")
    assert running.total == 10 and running.rate > 0 and running.note == "1 of 3 shards"
    assert running.seconds_left is not None and running.pid == os.getpid()
    assert (done.state, done.done, done.seconds_left) == ("done", 10, 0)
    assert done.updated > running.updated > running.started == done.started


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (RuntimeError("first line\nsecond"), "failed", "first line"),
        (Failed("no room"), "failed", "no room"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(15), "interrupted", "a signal ended the command"),
    ],
)
def test_the_end_is_told_however_it_comes(
    error: BaseException, state: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), watched("train", str(tmp_path)):
        raise error
    assert (read_status(tmp_path).state, read_status(tmp_path).message) == (state, message)


def test_bad_input_leaves_nothing_where_nothing_was_made(tmp_path: Path) -> None:
    for folder, is_left in ((tmp_path / "empty", False), (tmp_path / "full", True)):
        with pytest.raises(InputError), watched("train", str(folder)):
            if is_left:
                (folder / "manifest.json").touch()
            raise InputError("wrong")
        assert (folder / FILE).exists() == is_left


def test_a_signal_ends_the_stage_in_order(tmp_path: Path) -> None:
    source = """
import sys
from bridge.common.watch import watched
with watched("train", sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""
    for number in (signal.SIGTERM, signal.SIGHUP):
        process = subprocess.Popen(
            [sys.executable, "-c", source, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout and process.stdout.readline()
        process.send_signal(number)
        process.communicate()
        assert process.returncode == 128 + number
        assert read_status(tmp_path).state == "interrupted"


def test_what_is_killed_leaves_a_status_that_gets_old(tmp_path: Path) -> None:
    source = """
import os, sys
from bridge.common.watch import watched
with watched("train", sys.argv[1]):
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", source, str(tmp_path)])
    left = read_status(tmp_path)
    assert left.state == "waiting" and left.silent(left.updated) == 0
    assert left.silent(left.updated.replace(year=left.updated.year + 1)) > 0


def test_a_status_that_cannot_be_written_does_no_harm(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def refuse(path: str, value: object) -> None:
        tries.append(path)
        raise OSError(28, "no room", path)

    monkeypatch.setattr(storage, "write_json", refuse)
    with watched("train", str(tmp_path)), progress("train", 2, "steps") as counter:
        counter.advance(1)
        wait_until(lambda: len(tries) > 2)
        counter.advance(1)
    assert not list(tmp_path.iterdir())


def test_nor_do_those_that_are_told_of_it(tmp_path: Path) -> None:
    told: list[Status] = []

    def publish(status: Status) -> None:
        told.append(status)
        raise RuntimeError("no cluster")

    with watched("train", str(tmp_path), size=lambda: 1 / 0, publish=publish):  # type: ignore
        pass
    assert [status.state for status in told] == ["waiting", "done"]


def test_the_cost_adds_up_over_commands_and_keeps_its_run(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    seen = []
    for _ in range(2):
        with expensive(tmp_path, None):
            pass
        seen.append(read_status(tmp_path))
    assert 0 < seen[0].core_hours < seen[1].core_hours and seen[0].gpu_hours == 0
    assert seen[0].run_id == seen[1].run_id and seen[0].run_id.startswith(tmp_path.name[:40])


def test_a_stage_stops_at_its_limit_and_goes_on_with_a_larger_one(
    tmp_path: Path, quick: None
) -> None:
    made: list[int] = []
    with (
        pytest.raises(Stopped, match=r"`max_cost_hours` 40 is reached: .* core-hours"),
        expensive(tmp_path, 40.0),
        progress("simulate", 10**9, "images") as counter,
    ):
        while True:
            made.append(1)
            counter.advance(1)
    stopped = read_status(tmp_path)
    assert stopped.state == "stopped" and "max_cost_hours" in stopped.message
    assert stopped.core_hours >= 40 and stopped.done == len(made)
    with pytest.raises(Stopped), expensive(tmp_path, 40.0):
        raise AssertionError("it works on")
    with expensive(tmp_path, 1e9), progress("simulate", 1, "images") as counter:
        counter.advance(1)
    assert read_status(tmp_path).state == "done"


def test_a_stage_in_a_stage_stops_for_it_too(tmp_path: Path, quick: None) -> None:
    inner = tmp_path / "runs" / "a"
    with pytest.raises(Stopped), expensive(tmp_path, 30.0), watched("train", str(inner)):
        wait_until(lambda: read_status(inner).state == "stopping")
        watch.check()
    assert read_status(inner).state == read_status(tmp_path).state == "stopped"
    assert str(tmp_path) in read_status(inner).message and not watch.is_stopping()


def test_the_end_of_a_command_is_that_of_the_stages_in_its_threads(tmp_path: Path) -> None:
    is_open, may_end = threading.Event(), threading.Event()

    def work() -> None:
        with watched("train", str(tmp_path / "run")):
            is_open.set()
            may_end.wait()

    thread = threading.Thread(target=work)
    with pytest.raises(KeyboardInterrupt), watched("study", str(tmp_path)):
        thread.start()
        is_open.wait()
        raise KeyboardInterrupt
    assert read_status(tmp_path / "run").state == "interrupted"
    may_end.set()
    thread.join()
    assert read_status(tmp_path / "run").state == "interrupted"


def test_a_stage_that_fails_leaves_those_beside_it_alone(tmp_path: Path) -> None:
    is_open, may_end = threading.Event(), threading.Event()

    def work() -> None:
        with watched("train", str(tmp_path / "b")):
            is_open.set()
            may_end.wait()

    thread = threading.Thread(target=work)
    with watched("study", str(tmp_path)):
        with pytest.raises(Failed), watched("train", str(tmp_path / "a")):
            thread.start()
            is_open.wait()
            raise Failed("broken")
        assert read_status(tmp_path / "b").state == "waiting"
        may_end.set()
        thread.join()
    states = {name: read_status(tmp_path / name).state for name in ("a", "b", ".")}
    assert states == {"a": "failed", "b": "done", ".": "done"}


def test_a_stage_of_stages_counts_those(tmp_path: Path) -> None:
    with watched("study", str(tmp_path)) as study:
        study.count("study", 1, 3, "runs")
        with progress("mixed", 50, "queries") as counter:
            counter.advance(50)
        assert json.loads((tmp_path / FILE).read_text())["stage"] == "study"
        assert study.status.unit == "runs" and study.status.done == 1


def test_stages_that_work_elsewhere_have_time_to_stop(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stopped), expensive(tmp_path, 20.0):
        wait_until(watch.is_stopping)
        watch.check_overdue()
        monkeypatch.setattr(watch, "PATIENCE", -1.0)
        watch.check_overdue()
    assert read_status(tmp_path).state == "stopped"
