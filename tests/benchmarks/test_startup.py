"""Tests of benchmarks/startup.py: what is started, measured and left."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from benchmarks.startup import ROOT, Config, Stage, run
from benchmarks.watched import Spent
from bridge.common.errors import InputError

SYNTHESIZE = """
import sys, time
from pathlib import Path

data = Path(sys.argv[-1]) / "data"
data.mkdir(parents=True)
(data / "train.parquet.tmp-1").write_text("unfinished")
(data / "train.parquet").write_text("rows")
time.sleep(600)
"""


def checkout(folder: Path, *, train: str) -> Path:
    """A product of two commands."""
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines/train.py").write_text(train)
    (folder / "pipelines/synthesize.py").write_text(SYNTHESIZE)
    return folder


def test_two_checkouts_are_compared(tmp_path: Path) -> None:
    old = checkout(tmp_path / "old", train="print('help')")
    new = checkout(tmp_path / "new", train="raise SystemExit(1)")
    out = tmp_path / "startup.md"
    stages: tuple[Stage, ...] = ("help", "synthesize")
    run(Config(checkouts=(old, old), stages=stages, repeats=2, out=out))
    for row in json.loads(out.with_suffix(".json").read_text())["stages"]:
        assert len(row["starts"]["before"]) == len(row["starts"]["after"]) == 2
        assert row["ratio"]["wall"] == row["after"]["wall"] / row["before"]["wall"]
        assert f"| {row['stage']}" in out.read_text()
    # One that fails does not keep the others from being measured.
    failed, other = run(Config(checkouts=(old, new), stages=stages, repeats=1, warm_ups=0))
    assert "ended with 1" in failed["note"] and "ratio" in other


def test_a_command_that_takes_less_than_a_tick_has_no_ratio(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.startup.start", lambda *_: Spent(0.02, 0.0))
    old = checkout(tmp_path / "old", train="")
    stages: tuple[Stage, ...] = ("help",)
    (row,) = run(Config(checkouts=(old, old), stages=stages, out=tmp_path / "startup.md"))
    assert row["ratio"] == {"wall": 1.0}
    assert "| 1.00  | 0.00" in (tmp_path / "startup.md").read_text()


@pytest.mark.long
def test_this_checkout_is_measured_and_leaves_nothing_behind() -> None:
    before = set(psutil.Process().children())
    helped, simulated = run(Config(stages=("help", "synthesize"), repeats=1, warm_ups=0))
    # Ray and its workers count too.
    assert simulated["after"]["cpu"] > helped["after"]["cpu"] > 0 and "ratio" not in helped
    assert set(psutil.Process().children()) <= before


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a checkout"):
        Config(checkouts=(tmp_path,))
    with pytest.raises(InputError, match="`checkouts`"):
        Config(checkouts=(ROOT, ROOT, ROOT))
