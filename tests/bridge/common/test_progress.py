from __future__ import annotations

import pytest

from bridge.common import progress as progress_module
from bridge.common.progress import duration, progress


def test_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("embed", 10, "images") as counter:
        counter.advance(4, "2 shards")
    assert "embed: 4 of 10 images (40%)" in (line := capsys.readouterr().out)
    assert "2 shards" in line and " left" in line


def test_quiet_between_lines_and_sane_without_work(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("embed", 0, "images") as counter:
        counter.advance(0)
    assert capsys.readouterr().out == ""
    assert "0 of 0 images (100%)" in counter.line()


def test_the_rate_counts_new_work_only() -> None:
    with progress("embed", 100, "images", before=90) as counter:
        assert counter.done == 90 and counter.rate == 0
        assert "left" not in counter.line()
        counter.advance(1)
        assert "91 of 100 images (91%)" in counter.line()
        counter._started -= 10
        assert 0 < counter.rate <= 0.1
        assert "0:01:3" in counter.line()


def test_long_times_are_readable() -> None:
    assert duration(5.4) == "0:00:05"
    assert duration(183_845) == "2 days, 3:04:05"


@pytest.mark.parametrize("seconds", [1e300, float("inf"), -float("inf")])
def test_time_spans_beyond_all_bounds_are_written_too(seconds: float) -> None:
    assert "days" in duration(seconds)
