"""Tests of benchmarks/driver.py."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.driver import Config, run


def test_manifests_are_written_read_and_measured(tmp_path: Path) -> None:
    run(Config(shards=(10, 200), out=tmp_path / "driver.md"))
    few, many = json.loads((tmp_path / "driver.json").read_text())["rows"]
    assert (few["shards"], many["shards"]) == (10, 200)
    assert many["mb"] > 10 * few["mb"] and many["index_mb"] > 10 * few["index_mb"]
    assert min(few["peak_mb"], few["index_peak_mb"]) > 10
