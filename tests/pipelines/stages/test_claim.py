"""One command at a time in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from pipelines.stages.claim import FILE, claimed
from tests.kills import ROOT

HOLD = """
import sys, time
from pipelines.stages.claim import claimed
with claimed(sys.argv[1]):
    print("claimed", flush=True)
    time.sleep(3600)
"""


def hold(folder: str) -> subprocess.Popen[str]:
    """Another process that works in a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "claimed\n"
    return process


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on a disk, or one that is treated as an object store's."""
    return str(tmp_path / "out") if request.param == "disk" else f"file://{tmp_path}/out"


def test_the_second_is_told_who_works_there_and_the_first_goes_on(folder: str) -> None:
    with hold(folder) as other:
        try:
            with pytest.raises(InputError) as refusal, claimed(folder):
                pass
            told = str(refusal.value)
            assert f"process {other.pid} on " in told and "since " in told and "in use" in told
            assert other.poll() is None
        finally:
            other.kill()


def test_a_command_that_ended_leaves_nothing(folder: str, tmp_path: Path) -> None:
    with claimed(folder) as path:
        (tmp_path / "out" / "a").write_text("made")
        assert len(os.listdir(tmp_path / "out")) == 2 and path.endswith("/out")
    assert os.listdir(tmp_path / "out") == ["a"]
    with claimed(folder):
        pass
    assert os.listdir(tmp_path / "out") == ["a"]


def test_a_claim_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with hold(str(tmp_path)) as other:
        other.kill()
    assert (tmp_path / FILE).exists()
    with claimed(tmp_path):
        holder = json.loads((tmp_path / FILE).read_text())
        assert holder["process"] == os.getpid()


def test_what_killed_commands_were_writing_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / "data" / "a.parquet.tmp-0123abcd", tmp_path / ".write-test-0123abcd"]
    kept = [tmp_path / "data" / "a.parquet", tmp_path / "notes.tmp-mine"]
    (tmp_path / "data").mkdir()
    for path in left + kept:
        path.write_text("")
    with claimed(tmp_path):
        assert [path.exists() for path in left + kept] == [False, False, True, True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_a_folder_that_nothing_came_into_is_not_left(
    tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with pytest.raises(error), claimed(tmp_path / "a" / "out") as path:
        Path(path, "b.tmp-0123abcd").write_text("")
        if error is InputError:
            Path(path, "b.tmp-0123abcd").unlink()
        raise error
    assert not (tmp_path / "a" / "out").exists()
