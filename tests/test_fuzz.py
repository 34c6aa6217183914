"""Damaged artefacts are refused, mended or told; see tests/fuzz.py."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz_damage import _OF_BYTES, _OF_JSON

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("way", [*_OF_BYTES, *_OF_JSON], ids=lambda way: way.__name__)
def test_every_way_changes_something_and_the_same_thing_again(way) -> None:  # type: ignore[no-untyped-def]
    data = b'{"step": 1, "names": ["a", "b"], "inner": {"x": 2.5}}'
    made = [way(data, random.Random(seed)) for seed in range(20)]
    assert any(one != data for one in made)
    assert made == [way(data, random.Random(seed)) for seed in range(20)]


@pytest.mark.long
def test_no_damage_makes_a_reader_crash_or_hang_or_lose_its_nerve() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--tries", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
