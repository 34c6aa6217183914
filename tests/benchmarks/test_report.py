"""Tests of benchmarks/report.py: tables, the files of a run, processes that start together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import Options, Table, fill, in_processes, peak_gb, save
from bridge.common.errors import InputError

TABLE = Table("name | rate | size", "{name} | {rates[fast]:.1f} | {size}")


def test_a_table_has_a_line_for_each_record() -> None:
    text = TABLE.text([{"name": "a", "rates": {"fast": 2}, "size": (240, 320)}, {"name": "b"}])
    assert text.splitlines() == [
        "| name | rate | size    |",
        "| ---- | ---- | ------- |",
        "| a    | 2.0  | 240x320 |",
        "| b    |      |         |",
    ]
    assert len(TABLE.text([]).splitlines()) == 2


def test_a_text_takes_what_a_record_has() -> None:
    assert fill("{size}, {count:,} and {other:.2f}", {"size": [1, 2], "count": 1000}) == (
        "1x2, 1,000 and "
    )


def test_figures_are_beside_what_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "report.md"
    figures = {"array": np.arange(3), "number": np.float32(0.5), "path": tmp_path}
    save(out, ["one", "two"], figures)
    assert out.read_text() == "one\n\ntwo\n"
    assert out.read_text() in capsys.readouterr().out
    written = json.loads(out.with_suffix(".json").read_text())
    assert written["array"] == [0, 1, 2] and written["number"] == 0.5 and written["machine"]


def _ranks(rank: int, start: object, factor: int) -> tuple[int, float | None]:
    start.wait(60)  # type: ignore[attr-defined]
    return rank * factor, peak_gb()


def test_processes_begin_together_and_tell_their_memory() -> None:
    found = in_processes(2, _ranks, 10)
    assert [number for number, _ in found] == [0, 10]
    assert all(peak is None or 0.01 < peak < 2 for _, peak in found)


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="`seed`"):
        Options(seed="one")  # type: ignore[arg-type]
