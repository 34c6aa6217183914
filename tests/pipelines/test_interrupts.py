"""Ctrl-C in every command, at every stage of its work: it ends and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipelines import synthesize
from pipelines.stages import claim
from pipelines.synthesize import SynthesizeConfig
from tests.kills import start, workers
from tests.serving import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.long

PHASES: dict[str, str] = {"starts": "gcs_server", "has workers": "ray::", "works": ""}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    folder = tmp_path_factory.mktemp("interrupts") / "data"
    sizes = {"categories": 2, "objects_per_category": 10, "trajectories": 4}
    synthesize.run(SynthesizeConfig(out=str(folder), image_size=(48, 64), **sizes))  # type: ignore[arg-type]
    return folder


def options(command: str, data: Path, index: Path, out: Path) -> list[str]:
    """A command that takes minutes."""
    few = ["--weights", "none", "--data", str(data), "--out", str(out)]
    return {
        "pipelines/synthesize.py": [
            *["--categories", "2", "--objects-per-category", "10", "--trajectories", "500"],
            *["--out", str(out)],
        ],
        "pipelines/train.py": [*few, "--preset", "quick", "--epochs", "500"],
        "tune/search.py": [*few, "--epochs", "500"],
        "pipelines/serve.py": ["--index", str(index), "--port", str(free_port())],
    }[command]


@pytest.mark.parametrize(
    ("command", "phase"),
    [
        ("pipelines/synthesize.py", "starts"),
        ("pipelines/synthesize.py", "works"),
        ("pipelines/train.py", "has workers"),
        ("pipelines/train.py", "works"),
        ("tune/search.py", "works"),
        ("pipelines/serve.py", "works"),
    ],
)
def test_an_interrupted_command_leaves_no_process_and_no_temporary_file(
    command: str, phase: str, data: Path, searchable: Path, tmp_path: Path
) -> None:
    mark = f"interrupted-{tmp_path}"
    process = start(
        command,
        options(command, data, searchable / "index", tmp_path / "out"),
        env=os.environ | {"MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(_reached(command, phase, process, tmp_path / "out"), process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == "interrupted: the same command continues from here.\n"
    wait_until(lambda: not _alive(mark))
    left = [path for path in (tmp_path / "out").rglob("*") if _is_temporary(path)]
    assert left == [] and not (tmp_path / "out" / "best.json").exists()


def _reached(
    command: str, phase: str, process: subprocess.Popen[str], out: Path
) -> Callable[[], object]:
    title = PHASES[phase]
    if title:
        return lambda: workers(process.pid, title)
    pattern = {
        "pipelines/synthesize.py": "data/*.parquet",
        "pipelines/train.py": "metrics.jsonl",
        "tune/search.py": "trials/*/metrics.jsonl",
    }.get(command)
    if pattern is None:
        return lambda: workers(process.pid, "ServeReplica")
    return lambda: any(path.stat().st_size for path in out.glob(pattern))


def _alive(mark: str) -> list[int]:
    """Processes that a command left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARK") == mark and process.status() != "zombie":
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _is_temporary(path: Path) -> bool:
    return path.name == claim.FILE or re.search(r"\.tmp-|\.write-test-", path.name) is not None
