"""Tests of benchmarks/watched.py with commands that leave processes behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.watched import watch

WORK = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
FAMILY = f"""
import subprocess, sys, time
from pathlib import Path
{WORK}
# A child in a session of its own whose parent ends, as Ray's processes are.
child = '''{WORK}
from pathlib import Path
Path("pid").write_text(str(__import__("os").getpid()))
Path("begun").touch()
time.sleep(600)
'''
start = f"Popen([sys.executable, '-c', {{child!r}}], start_new_session=True)"
subprocess.run([sys.executable, "-c", "import sys; from subprocess import Popen; " + start])
time.sleep(600)
"""


def test_all_that_was_started_is_counted_and_ended(tmp_path: Path) -> None:
    spent = watch(
        [sys.executable, "-c", FAMILY],
        (tmp_path / "begun").exists,
        environment=os.environ,
        folder=tmp_path,
        log=tmp_path / "log",
    )
    assert spent.cpu >= 0.6 and spent.wall > 0
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_without_a_mark_the_end_is_waited_for(tmp_path: Path) -> None:
    spent = watch(
        [sys.executable, "-c", WORK + "print('done')"],
        None,
        environment=os.environ,
        folder=tmp_path,
        log=tmp_path / "log",
    )
    assert spent.cpu >= 0.3 and (tmp_path / "log").read_text() == "done\n"


@pytest.mark.parametrize("code", ["0", "3"])
def test_a_command_that_ends_too_early_is_an_error(tmp_path: Path, code: str) -> None:
    with pytest.raises(RuntimeError, match=f"ended with {code}: why"):
        watch(
            [sys.executable, "-c", f"print('why'); raise SystemExit({code})"],
            lambda: False,
            environment=os.environ,
            folder=tmp_path,
            log=tmp_path / "log",
        )


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with pytest.raises(RuntimeError, match="has taken too long: it said nothing"):
        watch(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            lambda: False,
            environment=os.environ,
            folder=tmp_path,
            log=tmp_path / "log",
            limit=0.05,
        )
    assert set(psutil.Process().children()) <= before
