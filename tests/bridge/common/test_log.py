from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.common import log
from bridge.common import progress as progress_module
from bridge.common.progress import progress
from bridge.common.watch import watched
from tests.children import python


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What makes the output of a test objects, from when it is called on to the test's end."""

    def begin() -> None:
        monkeypatch.setattr(sys, "stdout", sys.stdout)
        log.as_json()

    return begin


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_lines_of_text_are_messages(
    objects: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    objects()
    print("one", 2, end="")
    print(" and more\n\n  three")
    first, second = printed(capsys)
    assert first["event"] == "message" and first["text"] == "one 2 and more"
    assert second["text"] == "  three" and first["time"] <= second["time"]
    assert "stage" not in first


def test_a_stage_tells_of_its_beginning_its_progress_and_its_end(
    objects: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    objects()
    with watched("train", str(tmp_path)), progress("train", 4, "steps") as counter:
        counter.advance(3)
        print("a note")
    lines = printed(capsys)
    assert [line["event"] for line in lines] == ["started", "progress", "message", "done"]
    assert {line["stage"] for line in lines} == {"train"}
    assert len({line["run_id"] for line in lines}) == 1
    assert lines[1]["done"] == 3 and lines[1]["total"] == 4 and lines[1]["unit"] == "steps"
    assert lines[1]["rate"] > 0 and lines[3]["core_hours"] >= 0


def test_threads_do_not_mix_their_lines(
    objects: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    objects()
    print("begun ", end="")
    thread = threading.Thread(target=lambda: print("theirs"))
    thread.start()
    thread.join()
    print("and ended")
    assert [line["text"] for line in printed(capsys)] == ["theirs", "begun and ended"]


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    log.say("step 3 of 4", "step", step=3)
    log.note("started")
    assert capsys.readouterr().out == "step 3 of 4\n"


def test_a_command_logs_as_its_options_say(tmp_path: Path) -> None:
    source = """
import sys
from bridge.common import cli
from bridge.common.errors import Stopped
from pipelines.stages.evaluation_options import EvaluateConfig
def run(config):
    print("hello")
    raise Stopped("`out` costs enough.")
sys.argv = ["evaluate", {}]
cli.main(run, EvaluateConfig, description=None)
"""
    ended = python(source.format("'--log-json'"), tmp_path)
    assert ended.code == 1 and json.loads(ended.output)["text"] == "hello"
    told = json.loads(ended.errors)
    assert (told["event"], told["text"]) == ("stopped", "--out costs enough.")
    plain = python(source.format("'--no-log-json'"), tmp_path)
    assert plain.output == "hello\n" and plain.errors == "stopped: --out costs enough.\n"
