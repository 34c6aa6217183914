from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("av")
from benchmarks.videos import Config, run


def test_every_video_is_measured_and_reported(tmp_path: Path) -> None:
    found = run(Config(frames=(12, 24), size=(48, 64), out=tmp_path / "out.md"))
    assert [one.frames for one in found] == [12, 24]
    assert all(one.images >= 1 and one.peak >= one.before > 0 for one in found)
    assert "at most, MB" in (tmp_path / "out.md").read_text()
