from __future__ import annotations

import pytest

from bridge import progress as progress_module
from bridge.progress import progress


def test_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("embed", 10, "images") as counter:
        counter.advance(4, "2 shards")
    assert "embed: 4 of 10 images (40%)" in (line := capsys.readouterr().out)
    assert "2 shards" in line and "s left" in line


def test_quiet_between_lines_and_sane_without_work(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("embed", 0, "images") as counter:
        counter.advance(0)
    assert capsys.readouterr().out == ""
    assert "0 of 0 images (100%)" in counter.line()
