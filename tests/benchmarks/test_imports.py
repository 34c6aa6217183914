"""Tests of benchmarks/imports.py: one round of two programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import imports
from bridge.common.errors import InputError


def test_the_ratio_is_that_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ratios = imports.run(imports.Config(commands=("evaluate",), rounds=1))
    assert set(ratios) == {imports.MAP, "evaluate --help"}
    printed = capsys.readouterr().out
    assert f"| {ratios['evaluate --help']:.3f} |" in printed
    assert f"{max(ratios.values()):.3f}, 0.15 are wanted at most" in printed


def test_work_of_a_program_is_counted() -> None:
    one, many = (
        imports.cpu_seconds(("-c", f"sum(range({number}))"), os.environ)
        for number in (1, 30_000_000)
    )
    assert many > one > 0


def test_unknown_commands_are_refused() -> None:
    with pytest.raises(InputError, match="`commands` has no none"):
        imports.Config(commands=("none",))
