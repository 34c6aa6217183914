from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.common.errors import InputError
from bridge.common.status import FILE, Status, write_status
from pipelines import status
from pipelines.status import StatusConfig
from tests.children import command
from tests.kills import ROOT


def running(**changes: Any) -> Status:
    """A training that was alive just now."""
    now = datetime.now(UTC)
    status = Status(
        *("train", "running", "bridge-1a2b3c", "train.py --epochs 9", "node7", 4711, now, now),
        part="train",
        unit="steps",
        done=120,
        total=900,
        rate=4.0,
        failures=2,
        seconds_left=195.0,
        note="epoch 2, loss 3.1",
        core_hours=0.25,
    )
    return replace(status, **changes)


DONE = running(state="done", done=900, note="", gpu_hours=2.0)


def put(folder: Path, value: Status) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_status(folder, value)


def test_a_line_has_all_that_people_ask_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, value := running())
    assert status.run(StatusConfig((str(tmp_path),))) == {str(tmp_path): value}
    printed = capsys.readouterr().out
    assert printed.startswith(
        f"{tmp_path}: train running, 120 of 900 steps (13%), 4.0/s, 0:03:15 left, 2 failures, "
        "0.25 core-hours, epoch 2, loss 3.1 (process 4711 on node7 since 20"
    )
    assert printed.count("\n") == 1


def test_an_end_says_how_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "a", DONE)
    put(tmp_path / "b", running(state="failed", message="no room"))
    status.run(StatusConfig((str(tmp_path),)))
    done, failed = capsys.readouterr().out.splitlines()
    assert "train done, 900 of 900 steps (100%)" in done and "2.00 GPU-hours" in done
    assert " left" not in done + failed
    assert "train failed" in failed and "no room" in failed and "loss" not in failed


def test_a_command_that_was_killed_gives_no_sign_of_life(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, running(updated=datetime.now(UTC) - timedelta(minutes=4)))
    status.run(StatusConfig((str(tmp_path),)))
    assert "train running, no sign of life for 4 min, 120 of 900" in capsys.readouterr().out
    status.run(StatusConfig((str(tmp_path),), json=True))
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["folder"] == str(tmp_path) and 239 <= entry["silent_seconds"] < 300
    assert entry["stage"] == "train" and entry["done"] == 120 and entry["pid"] == 4711


def test_folders_of_stages_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs/a", "runs/b", "runs/b/index", "runs/deep/down/here", "data/x"):
        put(tmp_path / name, DONE)
    put(tmp_path / "studies/s", running(stage="study"))
    put(tmp_path / "studies/s/runs/bridge-0", DONE)
    (tmp_path / "runs" / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    found = {*status.run(StatusConfig())}
    assert found == {"data/x", "runs/a", "runs/b", "studies/s"}
    assert {*status.run(StatusConfig(("studies/s",)))} == {"studies/s", "studies/s/runs/bridge-0"}
    assert {*status.run(StatusConfig(("runs/deep", "runs/a")))} == {"runs/deep/down/here", "runs/a"}
    with pytest.raises(InputError, match="There is no status.json in runs/notes"):
        status.run(StatusConfig(("runs/notes",)))


def test_other_storage_is_read_as_well(tmp_path: Path) -> None:
    put(tmp_path / "run", DONE)
    assert {*status.run(StatusConfig((f"file://{tmp_path}",)))} == {f"file://{tmp_path}/run"}


def test_a_damaged_status_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}")
    ended = command("pipelines.status", [str(tmp_path)], tmp_path)
    assert ended.code == 2 and f"{FILE}: stage: is missing" in ended.errors
    assert ended.has("torch", "ray", "numpy", "rich.live") == set()


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_shows_what_changes_until_all_have_ended(tmp_path: Path, as_json: bool) -> None:
    put(tmp_path / "a", DONE)
    put(tmp_path / "b", running())
    process = subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "pipelines/status.py"), str(tmp_path), "--watch"),
            *("--every", "0.1", *(["--json"] if as_json else [])),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout
    seen = process.stdout.readline()
    put(tmp_path / "b", running(done=121))
    while "121" not in (line := process.stdout.readline()):
        seen += line
    put(tmp_path / "b", DONE)
    rest = process.stdout.read()
    assert process.wait() == 0
    if as_json:
        assert [len(json.loads(text)) for text in (seen + line + rest).splitlines()]
        assert json.loads(rest.splitlines()[-1])[1]["state"] == "done"
    else:
        # What did not change is not said again.
        assert len(seen.splitlines()) == 2 and "a: train done" in seen
        assert len(rest.splitlines()) == 1 and "b: train done" in rest


def test_a_terminal_gets_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, running(note="[bold]loss"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    status.run(StatusConfig((str(tmp_path),)))
    printed = capsys.readouterr().out
    assert "120 of 900 steps" in printed and "[bold]loss" in printed and "running" in printed
