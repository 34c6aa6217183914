from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_too_few_open_files_are_told_before_anything_is_started() -> None:
    source = """
from bridge.common.cli import guarded
from pipelines.stages import cluster
guarded(lambda: cluster.connect(1))
"""
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 100; exec "$0" -c "$1"', sys.executable, source],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == (
        "error: Ray needs 1024 open files, of which this process may have 100: raise the limit "
        "(ulimit -n 1024).\n"
    )
    assert done.returncode == 1
