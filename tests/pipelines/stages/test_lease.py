"""Leases, in a folder that is treated as an object store's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bridge.common.errors import Failed, InputError
from pipelines.stages import lease
from pipelines.stages.lease import LEASE, leased, myself
from tests.kills import ROOT


def write(folder: Path, age: float = 0.0, *, holds: bool = True, claim: str = "5" * 32) -> Path:
    """The claim of another command."""
    other = replace(myself(), host="far", process=1, holds=holds, claim=claim)
    path = folder / f".in-use-{other.claim}.json"
    path.write_text(json.dumps(asdict(other)))
    os.utime(path, (time.time() - age,) * 2)
    return path


def claims(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".in-use-")]


@pytest.mark.parametrize(("age", "is_held"), [(0, True), (LEASE - 9, True), (LEASE + 9, False)])
def test_a_lease_counts_as_long_as_it_is_renewed(tmp_path: Path, age: float, is_held: bool) -> None:
    path = write(tmp_path, age)
    if is_held:
        with pytest.raises(InputError, match="process 1 on far"), leased(f"file://{tmp_path}"):
            pass
    else:
        with leased(f"file://{tmp_path}"):
            assert len(claims(tmp_path)) == 1
    assert claims(tmp_path) == ([path.name] if is_held else [])


def test_a_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pipelines.stages.lease import leased\n"
        "with leased(sys.argv[1]): print('leased', flush=True); time.sleep(600)"
    )
    folder = f"file://{tmp_path}"
    command = [sys.executable, "-c", code, folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "leased\n"
        with pytest.raises(InputError, match=f"process {other.pid} on "), leased(folder):
            pass
        other.kill()
    assert len(claims(tmp_path)) == 1
    with leased(folder):
        assert len(claims(tmp_path)) == 1


def test_of_two_that_come_at_once_the_first_by_name_goes_on(tmp_path: Path) -> None:
    folder = f"file://{tmp_path}"
    write(tmp_path, holds=False, claim="0" * 32)
    with pytest.raises(InputError, match="in use"), leased(folder):
        pass
    (tmp_path / f".in-use-{'0' * 32}.json").unlink()
    other = write(tmp_path, holds=False, claim="f" * 32)
    # The other one sees this one, and goes.
    timer = threading.Timer(0.3, other.unlink)
    timer.start()
    with leased(folder):
        assert len(claims(tmp_path)) == 1
    timer.join()


def test_one_of_many_goes_on(tmp_path: Path) -> None:
    inside = threading.Semaphore(1)
    ended = threading.Barrier(8, timeout=60)

    def work(_: int) -> bool:
        try:
            with leased(f"file://{tmp_path}"):
                alone = inside.acquire(blocking=False)
                ended.wait()
                inside.release()
                assert alone
            return True
        except InputError:
            ended.wait()
            return False

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert sum(pool.map(work, range(8))) == 1
    assert claims(tmp_path) == []


def test_who_loses_a_lease_is_told_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.05)
    with pytest.raises(Failed, match="another one has taken over"), leased(f"file://{tmp_path}"):
        # As a command does that finds it too old.
        (tmp_path / claims(tmp_path)[0]).unlink()
        signal.pause()


def test_a_lease_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.05)
    with leased(f"file://{tmp_path}"):
        [name] = claims(tmp_path)
        os.utime(tmp_path / name, (0, 0))
        while os.stat(tmp_path / name).st_mtime == 0:
            time.sleep(0.01)
