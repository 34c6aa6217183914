from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.common.status import FILE, Status, end_status, read_status, write_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATUS = Status("train", "running", "bridge-1a2b3c", "train.py", "node", 7, NOW, NOW)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    full = replace(STATUS, part="embed", unit="images", done=3, total=9, rate=0.5, gpu_hours=1.5)
    for status in (STATUS, full):
        write_status(tmp_path, status)
        assert read_status(tmp_path) == status
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_damaged_status_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"status\.json does not exist"):
        read_status(tmp_path)
    write_status(tmp_path, STATUS)
    path = tmp_path / FILE
    path.write_text(path.read_text().replace('"running"', '"flying"'))
    with pytest.raises(InputError, match=r"status\.json: state"):
        read_status(tmp_path)


def test_a_command_that_was_killed_is_silent_after_a_while() -> None:
    assert STATUS.silent(NOW + timedelta(seconds=10)) == 0
    assert STATUS.silent(NOW + timedelta(minutes=4)) == 240
    assert replace(STATUS, state="done").silent(NOW + timedelta(days=1)) == 0


def test_the_cost_is_that_of_the_gpus_where_there_are_any() -> None:
    assert replace(STATUS, core_hours=8.0).spent == 8.0
    assert replace(STATUS, core_hours=8.0, gpu_hours=0.5).spent == 0.5


def test_an_end_from_outside_is_noted_once(tmp_path: Path) -> None:
    end_status(tmp_path, "stopped")
    assert not list(tmp_path.iterdir())
    write_status(tmp_path, STATUS)
    end_status(tmp_path, "stopped")
    end_status(tmp_path, "failed")
    assert read_status(tmp_path).state == "stopped"
