from __future__ import annotations

import json
from pathlib import Path

from benchmarks.published import Config, run


def test_a_run_measures_reading_and_the_driver(tmp_path: Path) -> None:
    out = tmp_path / "published.md"
    run(Config(trajectories=1, members=500, paths=2000, selected=100, out=out))
    figures = json.loads(out.with_suffix(".json").read_text())
    assert [row["images"] for row in figures["reading"]] == [11] * 4
    assert [row["count"] for row in figures["driver"]] == [500, 2000, 100]
    assert "| an archive  | statistics, boxes from alpha |" in out.read_text()
