"""Tests of benchmarks/packages.py: where the folder of packages is found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import packages


@pytest.mark.parametrize("form", ["{0} {1}", "{0}={1}", "--tiny {0} {1} --seed 1"])
def test_the_folder_that_is_named_comes_first(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", ["somewhere"])
    packages.provide(form.format(packages.OPTION, tmp_path).split())
    assert sys.path == [str(tmp_path), "somewhere"]


def test_the_one_beside_the_program_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "BESIDE", tmp_path)
    monkeypatch.setattr(sys, "path", [])
    packages.provide([])
    assert sys.path == [str(tmp_path)]
    monkeypatch.setattr(packages, "BESIDE", tmp_path / "none")
    packages.provide(["--tiny"])
    assert sys.path == [str(tmp_path)]


def test_a_folder_that_is_not_there_ends_the_program(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="There is no folder .*none"):
        packages.provide([f"{packages.OPTION}={tmp_path / 'none'}"])


def test_what_is_carried_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in packages.PINS.read_text().splitlines()}
    assert set(packages.CARRIED) <= pinned
